"""Samples of functions, picked, joined and changed, whether they have as many points each or not.

What comes in: functions as tensors (samples, channels, ...) or `Packed`, and where their points
are. What goes out: the same of other samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from opdsl.nn.points.geometry import Geometries, Geometry
from opdsl.nn.points.packed import Packed

Values = Tensor | Packed
SampleIndices = Sequence[int] | Tensor


def select(x: Values, rows: SampleIndices) -> Values:
    """Some of the samples, in this order."""
    if isinstance(x, Packed):
        return x.take(rows)
    index = rows if isinstance(rows, Tensor) else torch.tensor(rows, dtype=torch.long)
    return x.index_select(0, index.to(x.device))


def select_geometries(placed: Geometries, rows: SampleIndices) -> Geometries:
    """Where the points of some of the samples are; what all share stays one."""
    return placed if len(placed) == 1 else tuple(placed[int(i)] for i in rows)


def as_call_argument(placed: Geometries) -> Geometry | Geometries:
    """As a call of a model takes it: one geometry for all samples, or one for each."""
    return placed[0] if len(placed) == 1 else placed


def map_values(x: Values, change: Callable[[Tensor], Tensor]) -> Values:
    """The same samples with other values; `change` acts at each point on its own."""
    return x.map(change) if isinstance(x, Packed) else change(x)


def all_values(x: Values) -> Tensor:
    """All values, (samples or 1, channels, ...)."""
    return x.values if isinstance(x, Packed) else x


def split_samples(x: Values) -> tuple[Tensor, ...]:
    """The samples, (channels, ...) each."""
    return x.parts if isinstance(x, Packed) else x.unbind(0)


def concat_samples(parts: Sequence[Values]) -> Values:
    """The samples of the first, then those of the next; packed if one of them is."""
    if any(isinstance(x, Packed) for x in parts):
        return Packed.of(y for x in parts for y in split_samples(x))
    dense = [x for x in parts if isinstance(x, Tensor)]
    return dense[0] if len(dense) == 1 else torch.cat(dense)


def match_packing(x: Values, like: Values) -> Values:
    """The same functions, packed or not as `like` is."""
    if isinstance(like, Packed):
        return x if isinstance(x, Packed) else Packed.of(x.unbind(0))
    return torch.stack(x.parts) if isinstance(x, Packed) else x


def concat_channels(parts: Sequence[Values]) -> Values:
    """The channels of the first, then those of the next, at the same points."""
    if len(parts) == 1:
        return parts[0]
    whole = torch.cat([all_values(x) for x in parts], 1)
    first = parts[0]
    return Packed(whole, first.sizes) if isinstance(first, Packed) else whole
