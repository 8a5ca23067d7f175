"""HDF5 files that are written whole or not at all.

What comes in: a path. What goes out: an open file under another name, which gets its own when all
is written and on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opdsl.diagnostics import fault
from opdsl.files import sync, sync_folder


@contextmanager
def whole(path: Path) -> Iterator[Any]:
    """A new file while the block lasts; then it has its name.

    It is written as `NAME.part` beside it, brought to the disk and renamed. If the block raises,
    whatever it is, nothing is left. A `.part` of an earlier attempt is thrown away.

    Raises:
        OpError: OP0625, the file cannot be written.
    """
    part = path.with_name(path.name + ".part")
    with unwritable(path):
        file = _begun(part)
    try:
        try:
            yield file
        finally:
            with unwritable(path):
                file.close()
        with unwritable(path):
            _keep(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
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


def _begun(part: Path) -> Any:
    """A new file, whatever was there; a link in its place is removed, not followed."""
    import h5py

    part.parent.mkdir(parents=True, exist_ok=True)
    part.unlink(missing_ok=True)
    return h5py.File(part, "x")


def _keep(part: Path, path: Path) -> None:
    """The finished file gets its name, on the disk and not only in the cache."""
    sync(part, os.O_RDWR)
    part.replace(path)
    sync_folder(path.parent)
