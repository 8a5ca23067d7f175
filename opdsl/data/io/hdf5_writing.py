"""HDF5 files that are written whole or not at all.

What comes in: a path. What goes out: an open file under another name, which gets its own when all
is written and on the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from opdsl.diagnostics import fault
from opdsl.files import replacing


@contextmanager
def new_hdf5(path: Path) -> Iterator[Any]:
    """A new file while the block lasts; then it has its name.

    It is written in a new folder beside, brought to the disk and renamed. If the block raises,
    whatever it is, nothing is left.

    Raises:
        OpError: OP0625, the file cannot be written.
    """
    import h5py

    with ExitStack() as stack:
        with write_errors(path):
            part = stack.enter_context(replacing(path))
            file = h5py.File(part, "x")
        try:
            yield file
        finally:
            with write_errors(path):
                file.close()
        with write_errors(path):
            stack.close()


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """What the disk or HDF5 says while writing, as OP0625; the body calls nothing else."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise fault(
            "OP0625",
            f"the data could not be written: {error}",
            helps=("look whether the folder can be written and has room",),
            file=str(path),
        ) from error
