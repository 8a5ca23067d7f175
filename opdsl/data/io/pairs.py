"""Plain arrays by name with `x` (input) and `y` (output), as neuraloperator publishes its data.

The formats `pt` and `npz` share this: which axes are channels, times and grid, and what is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from opdsl.data.arrays.listing import ArrayFile, in_a_row
from opdsl.data.bind.samples import Role
from opdsl.data.derive.coarsen import Layout, Resolution, every_kth
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import ReadOptions
from opdsl.data.io.memory_budget import is_out_of_memory, out_of_memory
from opdsl.data.io.unknown_layout import unknown_layout
from opdsl.diagnostics import OpError, fault
from opdsl.safe_pt import UnsafeFileError

ROLES: dict[str, Role] = {"x": "input", "y": "output"}
AXES = ("x", "y", "z", "t")
LAST = "the channels seem to stand last: save `numpy.moveaxis(x, -1, 1)`, channels before the grid"


def pair(
    name: str,
    tensors: Mapping[str, Tensor],
    source: str,
    resolution: Resolution | None,
    samples: int | None,
    input_axes: int | None,
    layout: Layout | None = None,
) -> FileFields:
    """Make fields of `x`, `y` and all other tensors with one entry for each sample on that grid.

    A field may have an axis of time between samples and channels; it is merged with the channels.

    Args:
        input_axes: number of grid axes of `x`, for files that need not have `y`.
        layout: where the points are; None: unknown.
    """
    layout = layout or "periodic"
    roles = _present(tensors, input_axes)
    absent = [k for k in roles if k not in tensors]
    if absent:
        available = ", ".join(f"`{k}`" for k in tensors) or "no tensor"
        raise not_a_pair(source, f"it lacks `{absent[0]}`; it holds {available}")
    timed = input_axes if roles == ("x",) else _axes_beside_time(tensors)
    axes = timed or _axes(tensors)
    steps = {k: x.shape[1] for k, x in tensors.items() if timed and x.ndim == axes + 3}
    if timed:
        tensors = {k: x.flatten(1, 2) if x.ndim == axes + 3 else x for k, x in tensors.items()}
    if not 1 <= axes <= len(AXES) or tensors["x"].ndim not in {axes + 1, axes + 2}:
        raise _unlike(tensors, roles, source)
    count = len(tensors["x"])
    names = [k for k, v in tensors.items() if k in roles or _alike(v, count, axes)]
    values = {k: _with_channels(tensors[k], axes) for k in names}
    shapes = {k: (len(v), *v.shape[2:]) for k, v in values.items()}
    if len(set(shapes.values())) > 1:
        raise _unlike(tensors, names, source)
    have = shapes["x"][1:]
    if len(have) > 1 and have[-1] == 1:
        message = f"the last axis of `x` {tuple(tensors['x'].shape)} has one point"
        raise not_a_pair(source, message, LAST)
    want = have if resolution is None else resolution
    thin = (slice(samples), slice(None), *every_kth(have, want, layout, source=source))
    return FileFields(
        name=name,
        values={k: v[thin].contiguous() for k, v in values.items()},
        roles={k: ROLES.get(k, "unknown") for k in values},
        axes=AXES[:axes],
        layout=layout,
        times={k: np.arange(float(n)) for k, n in steps.items() if k in values and n > 1},
    )


class PairRows:
    """The samples of a pair of arrays in an open file, which are read in any order."""

    def __init__(
        self, arrays: ArrayFile, names: Sequence[str], stem: str, options: ReadOptions
    ) -> None:
        self._arrays, self._names, self._stem, self._options = arrays, names, stem, options

    @classmethod
    def of(cls, arrays: ArrayFile, stem: str, options: ReadOptions) -> PairRows | None:
        """Return the pair of a file; None if it has none, or it must be read whole."""
        plain = {k: x for k, x in arrays.arrays.items() if x.dtype.kind in "biuf" and "/" not in k}
        shapes = {k: torch.empty(x.shape, device="meta") for k, x in plain.items()}
        names = streamable(shapes, options.input_axes)
        if names is None or not all(plain[k].by_rows for k in names):
            return None
        return cls(arrays, list(names), stem, options)

    def __len__(self) -> int:
        return self._arrays.arrays["x"].shape[0]

    def read(self, rows: Sequence[int], names: Collection[str] | None = None) -> FileFields:
        """Read samples; see `opdsl.data.io.formats.RowReader`."""
        options = self._options
        wanted = [k for k in self._names if k in ROLES or names is None or k in names]
        tensors = {k: self._some(k, rows) for k in wanted}
        part = options.resolution, None, options.input_axes, options.layout
        fields = pair(self._stem, tensors, self._arrays.source, *part)
        if names is None:
            return fields
        return replace(fields, values={k: x for k, x in fields.values.items() if k in names})

    def _some(self, name: str, rows: Sequence[int]) -> Tensor:
        parts = [self._arrays.read(name, [slice(x.start, x.stop)]) for x in in_a_row(rows)]
        return torch.from_numpy(parts[0] if len(parts) == 1 else np.concatenate(parts))


def streamable(tensors: Mapping[str, Tensor], input_axes: int | None) -> dict[str, Tensor] | None:
    """Select `x`, `y` and all tensors with as many samples; None if `x` and `y` differ."""
    roles = _present(tensors, input_axes)
    if any(k not in tensors or not tensors[k].ndim for k in roles):
        return None
    count = len(tensors["x"])
    if not count or any(len(tensors[k]) != count for k in roles):
        return None
    return {k: x for k, x in tensors.items() if x.ndim and len(x) == count}


def _present(tensors: Mapping[str, Tensor], input_axes: int | None) -> tuple[str, ...]:
    """Names of the required fields: `y` is optional with `input_axes`."""
    return ("x",) if input_axes is not None and "y" not in tensors else tuple(ROLES)


def _axes_beside_time(tensors: Mapping[str, Tensor]) -> int | None:
    """Number of grid axes if a field is (samples, times, channels, *grid); None if none is.

    A field is, if it has one axis more than the other field, which has channels and the same grid.
    """
    few, many = sorted((tensors[k] for k in ROLES), key=lambda x: x.ndim)
    with_time = many.ndim == few.ndim + 1 and few.shape[2:] == many.shape[3:]
    return few.ndim - 2 if with_time and _leads_with_channels(few) else None


def _unlike(tensors: Mapping[str, Tensor], names: Iterable[str], source: str) -> OpError:
    shapes = ", ".join(f"`{k}` {tuple(tensors[k].shape)}" for k in names)
    last = all(_ends_with_channels(tensors[k]) for k in names)
    message = f"samples or grids differ, or there is no grid: {shapes}"
    return not_a_pair(source, message, *([LAST] if last else []))


def _axes(tensors: Mapping[str, Tensor]) -> int:
    """Number of grid axes of x and y, which are (samples, *grid) or (samples, channels, *grid).

    If one has an axis more than the other, that is its channels. If both have as many, axis 1 is
    channels if it is shorter than half of every later one: (1000, 3, 64, 64) is on two axes, and so
    is (1000, 64, 64).
    """
    dims = [tensors[k].ndim - 1 for k in ROLES]
    leads = all(_leads_with_channels(tensors[k]) for k in ROLES)
    return min(dims) - (dims[0] == dims[1] and leads)


def _leads_with_channels(x: Tensor) -> bool:
    sizes = x.shape[1:]
    return len(sizes) > 1 and 2 * sizes[0] < min(sizes[1:])


def _ends_with_channels(x: Tensor) -> bool:
    sizes = x.shape[1:]
    return len(sizes) > 1 and 2 * sizes[-1] < min(sizes[:-1])


def _alike(x: Tensor, count: int, axes: int) -> bool:
    return x.ndim in (axes + 1, axes + 2) and len(x) == count


def _with_channels(x: Tensor, axes: int) -> Tensor:
    return x if x.ndim == axes + 2 else x.unsqueeze(1)


@contextmanager
def reading(source: str, library: str) -> Iterator[None]:
    """Turn whatever the library raises into OP0610; the block may call nothing else."""
    try:
        yield
    except OpError:
        raise
    except UnsafeFileError as error:
        raise _damaged(source, str(error)) from error
    # torch, zipfile and NumPy raise a dozen types, depending on which byte is broken
    except Exception as error:
        if is_out_of_memory(error):
            raise out_of_memory(source) from error
        text = str(error).strip().split("\n", 1)[0].split(" (1) ", 1)[0]
        raise _damaged(source, "", (f"{library} says: {text}",) if text else ()) from error


def _damaged(source: str, what: str, notes: tuple[str, ...] = ()) -> OpError:
    message = "the file is damaged, or holds more than arrays of numbers"
    return fault(
        "OP0610",
        f"{message}: {what}" if what else message,
        notes=notes,
        helps=(
            (
                "save a dictionary of tensors with `torch.save`, or arrays with `numpy.savez`; "
                "other Python objects are not read, since that can run code"
            ),
        ),
        file=source,
    )


def not_a_pair(source: str, why: str, *helps: str) -> OpError:
    """Make OP0610 about a file whose arrays are no pair of input and output."""
    layout = "without it, `x` and `y` are read: (samples, *grid) or (samples, channels, *grid)"
    message = f"the file is no pair of fields: {why}"
    return unknown_layout(message, source, *helps, layout)
