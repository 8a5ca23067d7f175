"""`open_arrays`: the named arrays of a file of any format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opdsl.data.arrays.formats import FORMATS
from opdsl.data.arrays.listing import ArrayFile
from opdsl.data.io.data_file import open_data_file
from opdsl.data.io.locate import unopened, unreadable


@contextmanager
def open_arrays(path: Path, source: str) -> Iterator[ArrayFile]:
    """Open a file for the duration of the block.

    Args:
        path: a file, or the folder of a zarr store.
        source: the path as the user wrote it.

    Raises:
        OpError: OP0610 the format is unknown, or the file is damaged; OP0615 it points outside.
    """
    try:
        with open_data_file(path, source) as file:
            form = next((x for x in FORMATS if x.matches(file)), None)
            if form is None:
                known = ", ".join(x.summary for x in FORMATS)
                raise unreadable("the format is unknown", source, f"arrays are read from {known}")
            with form.open(file) as arrays:
                yield arrays
    except OSError as error:
        raise unopened(error, source) from error


def is_store(path: Path) -> bool:
    """Return whether a folder is itself a container of arrays, such as a zarr store."""
    if not path.is_dir():
        return False
    with open_data_file(path, str(path)) as file:
        return any(x.matches(file) for x in FORMATS)
