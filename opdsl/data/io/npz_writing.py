"""Write files of arrays (.npz) piece by piece, atomically; no more than a piece is in memory."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opdsl.data.io.hdf5.hdf5_writing import write_errors
from opdsl.files import sync, sync_folder

Append = Callable[[str, NDArray[Any]], None]


@contextmanager
def new_npz(path: Path, rows: int | None = None) -> Iterator[Append]:
    """Open a new file for the block and yield `append(name, values)`, which writes rows.

    Each array grows in a file of its own in a temporary folder. At the end of the block they become
    one file, which is renamed to `path`; if the block raises, nothing is left.

    Args:
        path: the file to write.
        rows: number of rows of each array in the end; None if each is appended in one piece.

    Raises:
        OpError: OP0625, the file cannot be written.
    """
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=".tmp-", dir=path.parent))
    try:
        parts: dict[str, Path] = {}
        yield lambda name, values: _append(path, folder, parts, name, values, rows)
        with write_errors(path):
            _zip(path, folder / "all", parts)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _append(
    path: Path,
    folder: Path,
    parts: dict[str, Path],
    name: str,
    values: NDArray[Any],
    rows: int | None,
) -> None:
    begun = name in parts
    part = parts.setdefault(name, folder / str(len(parts)))
    with write_errors(path), part.open("ab") as file:
        if not begun:
            shape = (len(values) if rows is None else rows, *values.shape[1:])
            kind = np.lib.format.dtype_to_descr(values.dtype)
            head = {"descr": kind, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, head)
        file.write(np.ascontiguousarray(values).data)


def _zip(path: Path, made: Path, parts: Mapping[str, Path]) -> None:
    """Combine the arrays into one file, sync it and rename it to `path`."""
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, part in parts.items():
            archive.write(part, f"{name}.npy")
            part.unlink()
    sync(made, os.O_RDWR)
    made.replace(path)
    sync_folder(path.parent)
