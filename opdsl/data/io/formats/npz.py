"""Arrays by name, saved with `numpy.savez`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from opdsl.data.arrays.formats.npz import FORMAT as ARRAYS
from opdsl.data.io.data_file import DataFile
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import Format, Pieces, ReadOptions, RowReader
from opdsl.data.io.memory_budget import BY_ROWS, data_budget, too_large_for_memory
from opdsl.data.io.npy_header import read_header, refuse_short
from opdsl.data.io.pairs import PairRows, pair, reading, streamable
from opdsl.safe_pt import inspect_zip


def read_npz(file: DataFile, options: ReadOptions) -> FileFields:
    """Read the arrays of a file saved with `numpy.savez`.

    Raises:
        OpError: OP0610 the file is damaged, too large or no pair; OP0614 no such resolution.
    """
    path, source = file.path, file.source
    _fits(path, source)
    with reading(source, "NumPy"):
        _promised(path)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {k: _native(archive[k]) for k in archive.files}
        tensors = {k: torch.from_numpy(x) for k, x in arrays.items() if x.dtype.kind in "biuf"}
    part = options.resolution, options.samples, options.input_axes, options.layout
    return pair(path.stem, tensors, source, *part)


def stream_npz(file: DataFile, size: int, input_axes: int | None = None) -> Pieces | None:
    """Stream the samples of a file of `numpy.savez`; None if it must be read whole.

    Raises:
        OpError: OP0610, the file is damaged or a piece is too large.
    """
    path, source = file.path, file.source
    with reading(source, "NumPy"):
        _promised(path)
        with zipfile.ZipFile(path) as held:
            heads = {x.removesuffix(".npy"): _header(held, x) for x in held.namelist()}
    solid = {k: shape for k, (shape, fortran, kind) in heads.items() if kind in "biuf"}
    arrays = streamable({k: torch.empty(x, device="meta") for k, x in solid.items()}, input_axes)
    if arrays is None or any(heads[k][1] for k in arrays):
        return None
    piece = sum(8 * x[:size].numel() for x in arrays.values())  # no number is longer
    if piece > (cap := data_budget()):
        raise too_large_for_memory(f"a batch of {size} samples", piece, cap, source)
    pieces = _from_zip(path, source, list(arrays), len(arrays["x"]), size)
    return len(arrays["x"]), (pair(path.stem, x, source, None, None, input_axes) for x in pieces)


def _from_zip(
    path: Path, source: str, names: Sequence[str], count: int, size: int
) -> Iterator[dict[str, Tensor]]:
    """Yield `size` samples at a time of all arrays."""
    with ExitStack() as stack:
        with reading(source, "NumPy"):
            held = stack.enter_context(zipfile.ZipFile(path))
            files = {k: stack.enter_context(held.open(f"{k}.npy")) for k in names}
            heads = {k: read_header(x) for k, x in files.items()}
        for first in range(0, count, size):
            rows = min(size, count - first)
            with reading(source, "NumPy"):
                parts = {k: _next(files[k], rows, *heads[k]) for k in names}
            yield parts


def _next(file: IO[bytes], rows: int, shape: tuple[int, ...], _: bool, dtype: Any) -> Tensor:
    """Read the next rows of an array in C order."""
    data = file.read(rows * prod(shape[1:]) * dtype.itemsize)
    return torch.from_numpy(
        _native(np.frombuffer(bytearray(data), dtype)).reshape(rows, *shape[1:])
    )


def _header(held: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], bool, str]:
    with held.open(name) as file:
        shape, fortran, dtype = read_header(file)
    return shape, fortran, dtype.kind


def _native(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Convert to a contiguous array in native byte order, which torch requires."""
    return np.ascontiguousarray(x, x.dtype.newbyteorder("="))


def _fits(path: Path, source: str) -> None:
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with reading(source, "zip"), zipfile.ZipFile(path) as archive:
            size = sum(x.file_size for x in archive.infolist())
    if size > (cap := data_budget()):
        raise too_large_for_memory("the file", size, cap, source, BY_ROWS)


def _promised(path: Path) -> None:
    """Refuse arrays that are smaller than their headers declare: NumPy allocates before reading."""
    with zipfile.ZipFile(path) as archive:
        inspect_zip(archive, path.stat().st_size)
        for entry in archive.infolist():
            with archive.open(entry) as file:
                shape, _, dtype = read_header(file)
            refuse_short(f"`{entry.filename}`", shape, dtype, entry.file_size)


def _rows(file: DataFile, options: ReadOptions, stack: ExitStack) -> RowReader | None:
    arrays = stack.enter_context(ARRAYS.open(file))
    return PairRows.of(arrays, file.path.stem, options)


def _matches(file: DataFile) -> bool:
    names = file.members() if file.container == "zip" else ()
    return bool(names) and all(x.endswith(".npy") for x in names)


FORMAT = Format(
    "arrays `x` and `y` saved with numpy.savez (.npz) can be read",
    """A file of `numpy.savez` or `numpy.savez_compressed`:

        x    input   (samples, *grid) or (samples, channels, *grid)
        y    output  shaped alike; with an axis of times before the channels, the times are channels

    and any other array of one entry for each sample on that grid; the others are left out. Axis 1
    is channels if it is shorter than half of every other axis in `x` and in `y`. For functions on a
    sphere the grid is (latitudes, longitudes).
    """,
    _matches,
    read_npz,
    stream_npz,
    _rows,
)
