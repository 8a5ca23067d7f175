"""Files that are a plain dictionary of arrays with `x` (input) and `y` (output): .pt and .npz.

A list of dictionaries, one for each sample, is for `dictionaries`.

What comes in: a file as the neuraloperator repository publishes it, saved by torch or by NumPy.
What goes out: `Raw` fields. Nothing is unpickled but tensors, and no array is made that is larger
than what the file stores.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from opdsl.data import dictionaries
from opdsl.data.coarsen import Layout, Resolution, steps
from opdsl.data.memory import room, too_big
from opdsl.data.raw import Raw
from opdsl.data.samples import Role
from opdsl.diagnostics import OpError, fault

ROLES: dict[str, Role] = {"x": "input", "y": "output"}
AXES = ("x", "y", "z", "t")


def read_pt(path: Path, source: str, resolution: Resolution | None, samples: int | None) -> Raw:
    """The tensors of a dictionary saved with `torch.save`.

    Raises:
        OpError: OP0610, OP0614.
    """
    _fits(path, source)
    with _damage(source, "torch"):
        held = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(held, list):
        return dictionaries.read(_listed(held, source), path.stem, source, resolution, samples)
    if not isinstance(held, dict):
        raise _foreign(source, f"it holds a {type(held).__name__}, not a dictionary")
    tensors = _tensors(held, source)
    return _pair(path.stem, tensors, source, resolution, samples)


def _tensors(held: Mapping[Any, Any], source: str) -> dict[str, Tensor]:
    """The tensors of a dictionary by name."""
    tensors = {str(k): v for k, v in held.items() if isinstance(v, Tensor)}
    for name, x in tensors.items():
        _solid(name, x, source)
    return tensors


def _listed(held: Sequence[Any], source: str) -> list[dict[str, Tensor]]:
    """The tensors of each sample."""
    odd = next((x for x in held if not isinstance(x, dict)), None)
    if odd is not None:
        raise _foreign(source, f"it holds a list of {type(odd).__name__}, not of dictionaries")
    return [_tensors(x, source) for x in held]


def read_npz(path: Path, source: str, resolution: Resolution | None, samples: int | None) -> Raw:
    """The arrays of a file saved with `numpy.savez`.

    Raises:
        OpError: OP0610, OP0614.
    """
    _fits(path, source)
    with _damage(source, "NumPy"):
        _promised(path, source)
        with np.load(path, allow_pickle=False) as held:
            arrays = {k: _native(held[k]) for k in held.files}
        tensors = {k: torch.from_numpy(x) for k, x in arrays.items() if x.dtype.kind in "biuf"}
    return _pair(path.stem, tensors, source, resolution, samples)


def _pair(
    name: str,
    tensors: Mapping[str, Tensor],
    source: str,
    resolution: Resolution | None,
    samples: int | None,
) -> Raw:
    """`x`, `y` and whatever else has one entry for each sample.

    A field may have an axis of time between samples and channels; it is merged with the channels.
    """
    absent = [k for k in ROLES if k not in tensors]
    if absent:
        held = ", ".join(f"`{k}`" for k in tensors) or "no tensor"
        raise _foreign(source, f"it lacks `{absent[0]}`; it holds {held}")
    timed = _axes_beside_time(tensors)
    axes = timed or _axes(tensors)
    if timed:
        tensors = {k: x.flatten(1, 2) if x.ndim == axes + 3 else x for k, x in tensors.items()}
    if not 1 <= axes <= len(AXES):
        raise _unlike(tensors, ROLES, source)
    count = len(tensors["x"])
    kept = [k for k, v in tensors.items() if k in ROLES or _alike(v, count, axes)]
    values = {k: _with_channels(tensors[k], axes) for k in kept}
    shapes = {k: (len(v), *v.shape[2:]) for k, v in values.items()}
    if len(set(shapes.values())) > 1:
        raise _unlike(tensors, kept, source)
    have = shapes["x"][1:]
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


def _axes_beside_time(tensors: Mapping[str, Tensor]) -> int | None:
    """Axes of the grid where a field is (samples, times, channels, *grid); None where none is.

    One is, if it has one axis more than the other, which has channels and the same grid.
    """
    few, many = sorted((tensors[k] for k in ROLES), key=lambda x: x.ndim)
    with_time = many.ndim == few.ndim + 1 and few.shape[2:] == many.shape[3:]
    return few.ndim - 2 if with_time and _leads_with_channels(few) else None


def _unlike(tensors: Mapping[str, Tensor], names: Iterable[str], source: str) -> OpError:
    told = ", ".join(f"`{k}` {tuple(tensors[k].shape)}" for k in names)
    return _foreign(source, f"samples or grids differ, or there is no grid: {told}")


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
        for entry in held.infolist():
            with held.open(entry) as file:
                version = np.lib.format.read_magic(file)
                header = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = header(file)
            size = dtype.itemsize
            for n in shape:
                size *= n
            if size > entry.file_size:
                raise _foreign(source, f"`{entry.filename}` declares {size} bytes it lacks")


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
    # torch, zipfile and NumPy raise a dozen types, depending on which byte is broken
    except Exception as error:
        said = str(error).strip().split("\n", 1)[0].split(" (1) ", 1)[0]
        raise fault(
            "OP0610",
            "the file is damaged, or holds more than arrays of numbers",
            notes=(f"{library} says: {said}",) if said else (),
            helps=("save a dictionary of tensors `x` and `y`; other Python objects are not read",),
            file=source,
        ) from error


def _foreign(source: str, why: str) -> OpError:
    return fault(
        "OP0610",
        f"the file is no pair of fields: {why}",
        helps=("it should hold `x` (samples, *grid) and `y` (samples, *grid), or with channels",),
        file=source,
    )
