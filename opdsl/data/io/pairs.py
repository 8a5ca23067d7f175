"""Files that are a plain dictionary of arrays with `x` (input) and `y` (output): .pt and .npz.

A list of dictionaries, one for each sample, is for `dictionaries`.

What comes in: a file as the neuraloperator repository publishes it, saved by torch or by NumPy.
What goes out: `Raw` fields. Nothing is unpickled but tensors, and no array is made that is larger
than what the file stores.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from opdsl.data.bind.samples import Role
from opdsl.data.derive.coarsen import Layout, Resolution, steps
from opdsl.data.io import dictionaries
from opdsl.data.io.file_fields import Raw
from opdsl.data.io.memory_budget import room, too_big
from opdsl.diagnostics import OpError, fault
from opdsl.safe_pt import UnsafeFileError, inspect, inspect_zip, load_tensors

ROLES: dict[str, Role] = {"x": "input", "y": "output"}
AXES = ("x", "y", "z", "t")
LAST = "the channels seem to stand last: save `numpy.moveaxis(x, -1, 1)`, channels before the grid"


def read_pt(
    path: Path,
    source: str,
    resolution: Resolution | None,
    samples: int | None,
    alone: int | None = None,
) -> Raw:
    """The tensors of a dictionary saved with `torch.save`.

    Args:
        alone: axes of the grid of inputs, for a file that need not have outputs.

    Raises:
        OpError: OP0610, OP0614.
    """
    with _damage(source, "torch"), path.open("rb") as file:
        held = load_tensors(file, room())
    if isinstance(held, list):
        return dictionaries.read(_listed(held, source), path.stem, source, resolution, samples)
    if not isinstance(held, dict):
        raise _foreign(source, f"it holds a {type(held).__name__}, not a dictionary")
    tensors = _tensors(held, source)
    return _pair(path.stem, tensors, source, resolution, samples, alone)


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
    if total > (cap := room()):
        raise too_big("the tensors of the file", total, cap, source)


def _listed(held: Sequence[Any], source: str) -> list[dict[str, Tensor]]:
    """The tensors of each sample."""
    odd = next((type(x).__name__ for x in held if not isinstance(x, dict)), None)
    if odd is not None:
        raise _foreign(source, f"it holds a list of {odd}, not of dictionaries")
    _refuse_repeats((y for x in held for y in x.values() if isinstance(y, Tensor)), source)
    return [_tensors(x, source) for x in held]


def read_npz(
    path: Path,
    source: str,
    resolution: Resolution | None,
    samples: int | None,
    alone: int | None = None,
) -> Raw:
    """The arrays of a file saved with `numpy.savez`.

    Args:
        alone: axes of the grid of inputs, for a file that need not have outputs.

    Raises:
        OpError: OP0610, OP0614.
    """
    _fits(path, source)
    with _damage(source, "NumPy"):
        _promised(path, source)
        with np.load(path, allow_pickle=False) as held:
            arrays = {k: _native(held[k]) for k in held.files}
        tensors = {k: torch.from_numpy(x) for k, x in arrays.items() if x.dtype.kind in "biuf"}
    return _pair(path.stem, tensors, source, resolution, samples, alone)


# -------------------------------------------------------------------------------- piece by piece

Pieces = tuple[int, Iterator[Raw]]  # how many samples, then so many at a time


def stream_pt(path: Path, source: str, size: int, alone: int | None = None) -> Pieces | None:
    """The samples of a dictionary saved with `torch.save`, mapped and not read; None: not so.

    Raises:
        OpError: OP0610.
    """
    with _damage(source, "torch"):
        records = _records(path)
        if records is None:
            return None
        with path.open("rb") as file:
            inspect(file, path.stat().st_size)
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(held, dict):
        return None
    every = _tensors(held, source)
    storages = (x.untyped_storage() for x in every.values())
    stored = Counter({x.data_ptr(): x.nbytes() for x in storages}.values())
    tensors = _together(every, alone)
    if tensors is None or not stored <= records:
        return None
    count = len(tensors["x"])
    rows = (slice(i, i + size) for i in range(0, count, size))
    parts = ({k: x[some] for k, x in tensors.items()} for some in rows)
    return count, (_pair(path.stem, x, source, None, None, alone) for x in parts)


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


def stream_npz(path: Path, source: str, size: int, alone: int | None = None) -> Pieces | None:
    """The samples of a file saved with `numpy.savez`, which may be compressed; None: not so.

    Raises:
        OpError: OP0610.
    """
    with _damage(source, "NumPy"):
        _promised(path, source)
        with zipfile.ZipFile(path) as held:
            heads = {x.removesuffix(".npy"): _header(held, x) for x in held.namelist()}
    solid = {k: shape for k, (shape, fortran, kind) in heads.items() if kind in "biuf"}
    known = _together({k: torch.empty(x, device="meta") for k, x in solid.items()}, alone)
    if known is None or any(heads[k][1] for k in known):
        return None
    piece = sum(8 * x[:size].numel() for x in known.values())  # no number is longer
    if piece > (cap := room()):
        raise too_big(f"a batch of {size} samples", piece, cap, source)
    pieces = _from_zip(path, source, list(known), len(known["x"]), size)
    return len(known["x"]), (_pair(path.stem, x, source, None, None, alone) for x in pieces)


def _from_zip(
    path: Path, source: str, names: Sequence[str], count: int, size: int
) -> Iterator[dict[str, Tensor]]:
    """So many samples at a time, all arrays side by side."""
    with ExitStack() as stack:
        with _damage(source, "NumPy"):
            held = stack.enter_context(zipfile.ZipFile(path))
            files = {k: stack.enter_context(held.open(f"{k}.npy")) for k in names}
            heads = {k: _read_header(x) for k, x in files.items()}
        for first in range(0, count, size):
            rows = min(size, count - first)
            with _damage(source, "NumPy"):
                parts = {k: _next(files[k], rows, *heads[k]) for k in names}
            yield parts


def _next(file: IO[bytes], rows: int, shape: tuple[int, ...], _: bool, dtype: Any) -> Tensor:
    """The next rows of an array in the order of C."""
    held = file.read(rows * prod(shape[1:]) * dtype.itemsize)
    return torch.from_numpy(
        _native(np.frombuffer(bytearray(held), dtype)).reshape(rows, *shape[1:])
    )


def _header(held: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], bool, str]:
    with held.open(name) as file:
        shape, fortran, dtype = _read_header(file)
    return shape, fortran, dtype.kind


def _together(tensors: Mapping[str, Tensor], alone: int | None) -> dict[str, Tensor] | None:
    """`x`, `y` and what has as many entries; None if these two do not."""
    roles = _present(tensors, alone)
    if any(k not in tensors or not tensors[k].ndim for k in roles):
        return None
    count = len(tensors["x"])
    if not count or any(len(tensors[k]) != count for k in roles):
        return None
    return {k: x for k, x in tensors.items() if x.ndim and len(x) == count}


# ------------------------------------------------------------------------------------------------


def _pair(
    name: str,
    tensors: Mapping[str, Tensor],
    source: str,
    resolution: Resolution | None,
    samples: int | None,
    alone: int | None,
) -> Raw:
    """`x`, `y` and whatever else has one entry for each sample.

    A field may have an axis of time between samples and channels; it is merged with the channels.

    Args:
        alone: axes of the grid of `x`, where `y` need not be there.
    """
    roles = _present(tensors, alone)
    absent = [k for k in roles if k not in tensors]
    if absent:
        held = ", ".join(f"`{k}`" for k in tensors) or "no tensor"
        raise _foreign(source, f"it lacks `{absent[0]}`; it holds {held}")
    timed = alone if roles == ("x",) else _axes_beside_time(tensors)
    axes = timed or _axes(tensors)
    if timed:
        tensors = {k: x.flatten(1, 2) if x.ndim == axes + 3 else x for k, x in tensors.items()}
    if not 1 <= axes <= len(AXES) or tensors["x"].ndim not in {axes + 1, axes + 2}:
        raise _unlike(tensors, roles, source)
    count = len(tensors["x"])
    kept = [k for k, v in tensors.items() if k in roles or _alike(v, count, axes)]
    values = {k: _with_channels(tensors[k], axes) for k in kept}
    shapes = {k: (len(v), *v.shape[2:]) for k, v in values.items()}
    if len(set(shapes.values())) > 1:
        raise _unlike(tensors, kept, source)
    have = shapes["x"][1:]
    if len(have) > 1 and have[-1] == 1:
        told = f"the last axis of `x` {tuple(tensors['x'].shape)} has one point"
        raise _foreign(source, told, LAST)
    layout: Layout = "periodic"
    k = steps(have, have if resolution is None else resolution, layout, source=source)
    thin = (slice(samples), slice(None), *(slice(None, None, s) for s in k))
    return Raw(
        name=name,
        values={k: v[thin].contiguous() for k, v in values.items()},
        roles={k: ROLES.get(k, "unknown") for k in values},
        axes=AXES[:axes],
        layout=layout,
    )


def _present(tensors: Mapping[str, Tensor], alone: int | None) -> tuple[str, ...]:
    """The fields that must be there: with `alone`, `y` only if it is."""
    return ("x",) if alone is not None and "y" not in tensors else tuple(ROLES)


def _axes_beside_time(tensors: Mapping[str, Tensor]) -> int | None:
    """Axes of the grid where a field is (samples, times, channels, *grid); None where none is.

    One is, if it has one axis more than the other, which has channels and the same grid.
    """
    few, many = sorted((tensors[k] for k in ROLES), key=lambda x: x.ndim)
    with_time = many.ndim == few.ndim + 1 and few.shape[2:] == many.shape[3:]
    return few.ndim - 2 if with_time and _leads_with_channels(few) else None


def _unlike(tensors: Mapping[str, Tensor], names: Iterable[str], source: str) -> OpError:
    told = ", ".join(f"`{k}` {tuple(tensors[k].shape)}" for k in names)
    last = all(_ends_with_channels(tensors[k]) for k in names)
    message = f"samples or grids differ, or there is no grid: {told}"
    return _foreign(source, message, *([LAST] if last else []))


def _axes(tensors: Mapping[str, Tensor]) -> int:
    """Axes of the grid: x and y are (samples, *grid) or (samples, channels, *grid).

    Where one has an axis more than the other, that is its channels. Where both have as many, the
    first is channels if it is shorter than half of any other: (1000, 3, 64, 64) is on two axes,
    (1000, 64, 64) too.
    """
    dims = [tensors[k].ndim - 1 for k in ROLES]
    leads = all(_leads_with_channels(tensors[k]) for k in ROLES)
    return min(dims) - (dims[0] == dims[1] and leads)


def _leads_with_channels(x: Tensor) -> bool:
    rest = x.shape[1:]
    return len(rest) > 1 and 2 * rest[0] < min(rest[1:])


def _ends_with_channels(x: Tensor) -> bool:
    rest = x.shape[1:]
    return len(rest) > 1 and 2 * rest[-1] < min(rest[:-1])


def _alike(x: Tensor, count: int, axes: int) -> bool:
    return x.ndim in (axes + 1, axes + 2) and len(x) == count


def _with_channels(x: Tensor, axes: int) -> Tensor:
    return x if x.ndim == axes + 2 else x.unsqueeze(1)


def _native(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """In this machine's byte order, which torch asks for."""
    return np.ascontiguousarray(x, x.dtype.newbyteorder("="))


def _fits(path: Path, source: str) -> None:
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with _damage(source, "zip"), zipfile.ZipFile(path) as held:
            size = sum(x.file_size for x in held.infolist())
    if size > (cap := room()):
        raise too_big("the file", size, cap, source)


def _promised(path: Path, source: str) -> None:
    """Each array of an .npz is as large as its header says: NumPy would make it before reading."""
    with zipfile.ZipFile(path) as held:
        inspect_zip(held, path.stat().st_size)
        for entry in held.infolist():
            with held.open(entry) as file:
                shape, _, dtype = _read_header(file)
            size = dtype.itemsize
            for n in shape:
                size *= n
            if size > entry.file_size:
                raise _foreign(source, f"`{entry.filename}` declares {size} bytes it lacks")


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, Any]:
    """Shape, whether the first index runs fastest, and number format of an array in a file."""
    version = np.lib.format.read_magic(file)
    header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    return header(file)


def _solid(name: str, x: Tensor, source: str) -> None:
    """A tensor of numbers that owns all the bytes it shows."""
    if x.layout != torch.strided or x.is_complex() or x.is_quantized:
        raise _foreign(source, f"`{name}` is not a dense tensor of real numbers")
    if x.numel() * x.element_size() > x.untyped_storage().nbytes():
        raise _foreign(source, f"`{name}` shows more numbers than are stored")


@contextmanager
def _damage(source: str, library: str) -> Iterator[None]:
    """Whatever the library raises becomes OP0610; the body calls nothing else."""
    try:
        yield
    except OpError:
        raise
    except UnsafeFileError as error:
        raise _damaged(source, str(error)) from error
    # torch, zipfile and NumPy raise a dozen types, depending on which byte is broken
    except Exception as error:
        said = str(error).strip().split("\n", 1)[0].split(" (1) ", 1)[0]
        raise _damaged(source, "", (f"{library} says: {said}",) if said else ()) from error


def _damaged(source: str, what: str, notes: tuple[str, ...] = ()) -> OpError:
    message = "the file is damaged, or holds more than arrays of numbers"
    return fault(
        "OP0610",
        f"{message}: {what}" if what else message,
        notes=notes,
        helps=("save a dictionary of tensors `x` and `y`; other Python objects are not read",),
        file=source,
    )


def _foreign(source: str, why: str, *helps: str) -> OpError:
    layout = "it should hold `x` (samples, *grid) and `y` (samples, *grid), or with channels"
    message = f"the file is no pair of fields: {why}"
    return fault("OP0610", message, helps=(*helps, layout), file=source)
