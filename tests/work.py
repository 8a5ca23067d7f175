"""Work counted in calls, which a busy machine does not change."""

import sys
from collections.abc import Callable


def calls(action: Callable[[], object]) -> int:
    """Run `action` and return how many functions it called, those written in C included."""
    count = 0

    def seen(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count
