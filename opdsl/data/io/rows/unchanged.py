"""`Unchanged`: files that are read for hours must stay as they were when they were opened."""

from __future__ import annotations

from pathlib import Path

from opdsl.data.io.locate import unopened
from opdsl.diagnostics import fault


class Unchanged:
    """Sizes and times of files when they were first seen.

    HDF5 reads zeros where a file has been cut short after it was opened.
    """

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[int, int]] = {}

    def refuse_changed(self, path: Path, source: str) -> None:
        """Refuse a file that is not as it was when it was first seen.

        Raises:
            OpError: OP0610, it has changed, or is gone.
        """
        try:
            state = path.stat()
        except OSError as error:
            raise unopened(error, source) from error
        now = state.st_size, state.st_mtime_ns
        if self._seen.setdefault(path, now) != now:
            message = "the file was changed while samples were read from it"
            helps = ("leave files as they are while a run uses them, and begin it anew",)
            raise fault("OP0610", message, helps=helps, file=source)
