"""Every model in the house, for tests that a statement holds for all of them."""

from functools import cache
from pathlib import Path

from opdsl.compiler import check
from opdsl.resources import root

TESTS = Path(__file__).parent
FOLDERS = (root("specs"), TESTS / "data" / "language", TESTS.parent / "examples")
PROGRAMS = sorted(y for x in FOLDERS for y in x.rglob("*.op"))


@cache
def graphs():
    """The sound ones; a file of blocks has no model. Graphs do not change."""
    checked = {str(x.relative_to(TESTS.parent)): check(x) for x in PROGRAMS}
    return {name: x.graph for name, x in checked.items() if x.graph}
