"""Operations on batches of functions, whether samples have equally many points or not.

A batch is a tensor (samples, channels, ...) or `Packed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from opdsl.nn.points.geometry import Geometries, Geometry
from opdsl.nn.points.packed import Packed

Values = Tensor | Packed
SampleIndices = Sequence[int] | Tensor


def count_samples(values: Mapping[str, Values], places: Mapping[str, Geometries]) -> int:
    """Count the samples of functions, or of the sets of points where there are no functions."""
    some = next(iter(values.values()), None)
    return max(map(len, places.values()), default=0) if some is None else len(some)


def select(x: Values, rows: SampleIndices) -> Values:
    """Select samples, in the order of `rows`."""
    if isinstance(x, Packed):
        return x.take(rows)
    index = rows if isinstance(rows, Tensor) else torch.tensor(rows, dtype=torch.long)
    return x.index_select(0, index.to(x.device))


def select_geometries(placed: Geometries, rows: SampleIndices) -> Geometries:
    """Select the geometries of some samples; one that all samples share stays one."""
    return placed if len(placed) == 1 else tuple(placed[int(i)] for i in rows)


def as_call_argument(placed: Geometries) -> Geometry | Geometries:
    """Return geometries as a model's call takes them: a single one where all samples share it."""
    return placed[0] if len(placed) == 1 else placed


def map_values(x: Values, change: Callable[[Tensor], Tensor]) -> Values:
    """Apply `change`, which acts at each point on its own, to the values of all samples."""
    return x.map(change) if isinstance(x, Packed) else change(x)


def all_values(x: Values) -> Tensor:
    """Return all values as one tensor, (samples or 1, channels, ...)."""
    return x.values if isinstance(x, Packed) else x


def split_samples(x: Values) -> tuple[Tensor, ...]:
    """Split into samples, (channels, ...) each."""
    return x.parts if isinstance(x, Packed) else x.unbind(0)


def concat_samples(parts: Sequence[Values]) -> Values:
    """Concatenate batches along their samples; the result is packed if one of them is."""
    if any(isinstance(x, Packed) for x in parts):
        return Packed.of(y for x in parts for y in split_samples(x))
    dense = [x for x in parts if isinstance(x, Tensor)]
    return dense[0] if len(dense) == 1 else torch.cat(dense)


def match_packing(x: Values, like: Values) -> Values:
    """Pack or unpack `x` so that it is packed exactly if `like` is."""
    if isinstance(like, Packed):
        return x if isinstance(x, Packed) else Packed.of(x.unbind(0))
    return torch.stack(x.parts) if isinstance(x, Packed) else x


def concat_channels(parts: Sequence[Values]) -> Values:
    """Concatenate functions on the same points along their channels."""
    if len(parts) == 1:
        return parts[0]
    values = torch.cat([all_values(x) for x in parts], 1)
    first = parts[0]
    return Packed(values, first.sizes) if isinstance(first, Packed) else values
