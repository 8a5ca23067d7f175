"""Files saved with `torch.save`: arrays by name, or a list of dictionaries of tensors."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opdsl.data.io import dictionaries
from opdsl.data.io.data_file import DataFile
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import Format, Pieces, ReadOptions
from opdsl.data.io.memory_budget import data_budget, too_large_for_memory
from opdsl.data.io.pairs import not_a_pair, pair, reading, streamable
from opdsl.safe_pt import inspect, inspect_zip, load_tensors


def read_pt(file: DataFile, options: ReadOptions) -> FileFields:
    """The tensors of a dictionary saved with `torch.save`.

    Raises:
        OpError: OP0610, OP0614.
    """
    path, source = file.path, file.source
    with reading(source, "torch"), path.open("rb") as opened:
        held = load_tensors(opened, data_budget())
    if isinstance(held, list):
        samples = _listed(held, source)
        return dictionaries.read(samples, path.stem, source, options.resolution, options.samples)
    if not isinstance(held, dict):
        raise not_a_pair(source, f"it holds a {type(held).__name__}, not a dictionary")
    tensors = _tensors(held, source)
    return pair(path.stem, tensors, source, options.resolution, options.samples, options.input_axes)


def _tensors(held: Mapping[Any, Any], source: str) -> dict[str, Tensor]:
    """The tensors of a dictionary by name."""
    tensors = {str(k): v for k, v in held.items() if isinstance(v, Tensor)}
    for name, x in tensors.items():
        _solid(name, x, source)
    _refuse_repeats(tensors.values(), source)
    return tensors


def _refuse_repeats(tensors: Iterable[Tensor], source: str) -> None:
    """OP0610 where one storage is shown so often that copies of all tensors do not fit."""
    total = sum(x.numel() * x.element_size() for x in tensors)
    if total > (cap := data_budget()):
        raise too_large_for_memory("the tensors of the file", total, cap, source)


def _listed(held: Sequence[Any], source: str) -> list[dict[str, Tensor]]:
    """The tensors of each sample."""
    odd = next((type(x).__name__ for x in held if not isinstance(x, dict)), None)
    if odd is not None:
        raise not_a_pair(source, f"it holds a list of {odd}, not of dictionaries")
    _refuse_repeats((y for x in held for y in x.values() if isinstance(y, Tensor)), source)
    return [_tensors(x, source) for x in held]


def stream_pt(file: DataFile, size: int, input_axes: int | None = None) -> Pieces | None:
    """The samples of a dictionary saved with `torch.save`, mapped and not read; None: not so.

    Raises:
        OpError: OP0610.
    """
    path, source = file.path, file.source
    with reading(source, "torch"):
        records = _records(path)
        if records is None:
            return None
        with path.open("rb") as opened:
            inspect(opened, path.stat().st_size)
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(held, dict):
        return None
    every = _tensors(held, source)
    storages = (x.untyped_storage() for x in every.values())
    stored = Counter({x.data_ptr(): x.nbytes() for x in storages}.values())
    tensors = streamable(every, input_axes)
    if tensors is None or not stored <= records:
        return None
    count = len(tensors["x"])
    rows = (slice(i, i + size) for i in range(0, count, size))
    parts = ({k: x[some] for k, x in tensors.items()} for some in rows)
    return count, (pair(path.stem, x, source, None, None, input_axes) for x in parts)


def _records(path: Path) -> Counter[int] | None:
    """How many records of each size a file of torch has; None if some cannot be mapped safely.

    Torch maps what a record should be, whether it is compressed, too short, or not what was
    written; the file is read once to know.
    """
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as held:
        entries = held.infolist()
        inspect_zip(held, path.stat().st_size)
        if any(x.compress_type != zipfile.ZIP_STORED for x in entries) or held.testzip():
            return None
    return Counter(x.file_size for x in entries)


def _solid(name: str, x: Tensor, source: str) -> None:
    """A tensor of numbers that owns all the bytes it shows."""
    if x.layout != torch.strided or x.is_complex() or x.is_quantized:
        raise not_a_pair(source, f"`{name}` is not a dense tensor of real numbers")
    if x.numel() * x.element_size() > x.untyped_storage().nbytes():
        raise not_a_pair(source, f"`{name}` shows more numbers than are stored")


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
)
