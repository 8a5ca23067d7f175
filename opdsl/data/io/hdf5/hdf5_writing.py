"""Write HDF5 files atomically: under a temporary name, renamed when all is on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from opdsl.diagnostics import fault
from opdsl.files import replacing


@contextmanager
def new_hdf5(path: Path) -> Iterator[Any]:
    """Open a new HDF5 file for the block, and rename it to `path` at the end.

    It is written in a temporary folder next to `path`, synced and renamed. If the block raises,
    nothing is left.

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
    """Turn errors of the disk and of HDF5 into OP0625; the block may only write."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise fault(
            "OP0625",
            f"the data could not be written: {error}",
            helps=("look whether the folder can be written and has room",),
            file=str(path),
        ) from error
