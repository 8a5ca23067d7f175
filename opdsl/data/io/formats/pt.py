"""Files saved with `torch.save`: arrays by name, or a list of dictionaries of tensors."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from opdsl.data.arrays.formats.pt import FORMAT as ARRAYS
from opdsl.data.io import dictionaries
from opdsl.data.io.data_file import DataFile
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import Format, Pieces, ReadOptions, RowReader
from opdsl.data.io.memory_budget import data_budget, too_large_for_memory
from opdsl.data.io.pairs import PairRows, not_a_pair, pair, reading, streamable
from opdsl.safe_pt import TENSOR_DATASET, UnsafeFileError, inspect, inspect_zip, load_tensors


def read_pt(file: DataFile, options: ReadOptions) -> FileFields:
    """Read the tensors of a dictionary, or of a list of them, saved with `torch.save`.

    Raises:
        OpError: OP0610 the file is damaged, too large or no pair; OP0614 no such resolution.
    """
    path, source = file.path, file.source
    with reading(source, "torch"), path.open("rb") as handle:
        contents = _load(handle, source)
    if isinstance(contents, list):
        samples = _listed(contents, source)
        return dictionaries.read(samples, path.stem, source, options.resolution, options.samples)
    if not isinstance(contents, dict):
        raise not_a_pair(source, f"it holds a {type(contents).__name__}, not a dictionary")
    tensors = _tensors(contents, source)
    part = options.resolution, options.samples, options.input_axes, options.layout
    return pair(path.stem, tensors, source, *part)


def _load(handle: IO[bytes], source: str) -> Any:
    try:
        return load_tensors(handle, data_budget())
    except UnsafeFileError as error:
        if TENSOR_DATASET.replace(" ", ".") in str(error):
            raise not_a_pair(source, "it holds a TensorDataset, not a dictionary") from error
        raise


def _tensors(held: Mapping[Any, Any], source: str) -> dict[str, Tensor]:
    """Select the tensors of a dictionary by name, and check each."""
    tensors = {str(k): v for k, v in held.items() if isinstance(v, Tensor)}
    for name, x in tensors.items():
        _solid(name, x, source)
    _refuse_repeats(tensors.values(), source)
    return tensors


def _refuse_repeats(tensors: Iterable[Tensor], source: str) -> None:
    """Refuse tensors whose copies do not fit into memory: many may view one storage.

    Raises:
        OpError: OP0610.
    """
    total = sum(x.numel() * x.element_size() for x in tensors)
    if total > (cap := data_budget()):
        raise too_large_for_memory("the tensors of the file", total, cap, source)


def _listed(held: Sequence[Any], source: str) -> list[dict[str, Tensor]]:
    """Select the tensors of each sample of a list of dictionaries."""
    odd = next((type(x).__name__ for x in held if not isinstance(x, dict)), None)
    if odd is not None:
        raise not_a_pair(source, f"it holds a list of {odd}, not of dictionaries")
    _refuse_repeats((y for x in held for y in x.values() if isinstance(y, Tensor)), source)
    return [_tensors(x, source) for x in held]


def stream_pt(file: DataFile, size: int, input_axes: int | None = None) -> Pieces | None:
    """Stream the samples of a memory-mapped file of `torch.save`; None if it must be read whole.

    Raises:
        OpError: OP0610, the file is damaged.
    """
    path, source = file.path, file.source
    with reading(source, "torch"):
        records = _records(path)
        if records is None:
            return None
        with path.open("rb") as handle:
            inspect(handle, path.stat().st_size)
        contents = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(contents, dict):
        return None
    every = _tensors(contents, source)
    storages = (x.untyped_storage() for x in every.values())
    sizes = Counter({x.data_ptr(): x.nbytes() for x in storages}.values())
    tensors = streamable(every, input_axes)
    if tensors is None or not sizes <= records:
        return None
    count = len(tensors["x"])
    rows = (slice(i, i + size) for i in range(0, count, size))
    parts = ({k: x[some] for k, x in tensors.items()} for some in rows)
    return count, (pair(path.stem, x, source, None, None, input_axes) for x in parts)


def _records(path: Path) -> Counter[int] | None:
    """Count the records of each size in a file of torch; None if some cannot be mapped safely.

    Torch maps a record even if it is compressed, too short or damaged, so the whole file is read
    once and checked.
    """
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        inspect_zip(archive, path.stat().st_size)
        if any(x.compress_type != zipfile.ZIP_STORED for x in entries) or archive.testzip():
            return None
    return Counter(x.file_size for x in entries)


def _solid(name: str, x: Tensor, source: str) -> None:
    """Refuse tensors that are not dense and real, or that view more bytes than are stored.

    Raises:
        OpError: OP0610.
    """
    if x.layout != torch.strided or x.is_complex() or x.is_quantized:
        raise not_a_pair(source, f"`{name}` is not a dense tensor of real numbers")
    if x.numel() * x.element_size() > x.untyped_storage().nbytes():
        raise not_a_pair(source, f"`{name}` shows more numbers than are stored")


def _rows(file: DataFile, options: ReadOptions, stack: ExitStack) -> RowReader | None:
    arrays = stack.enter_context(ARRAYS.open(file))
    return PairRows.of(arrays, file.path.stem, options)


def _matches(file: DataFile) -> bool:
    saved = file.container == "zip" and any(x.endswith("data.pkl") for x in file.members())
    return saved or file.container == "pickle"


FORMAT = Format(
    "a dictionary with `x` and `y` saved by torch (.pt) can be read",
    """A file of `torch.save`, of which nothing is unpickled but tensors.

    Either a dictionary of tensors:

        x    input   (samples, *grid) or (samples, channels, *grid)
        y    output  shaped alike; with an axis of times before the channels, the times are channels

    and any other tensor of one entry for each sample on that grid; the others are left out. Axis 1
    is channels if it is shorter than half of every other axis in `x` and in `y`.

    Or a list of dictionaries, one for each sample, whose names and shapes say what they are:

        vertices, points, pos, ...   (n, d), d <= 3: a set of points
        any name                     (n,), (n, c) or (c, n): a function on the set of n points
        areas, weights, ...          (n,): what each point stands for
        cells, faces, ...            (m, k) integers: corners of cells; edges likewise
        any name                     one shape in all samples: a function on a grid, or a vector
    """,
    _matches,
    read_pt,
    stream_pt,
    _rows,
)
