"""Apply symmetries to functions on grids: exactly, and at random to the batches of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import gcd

import numpy as np
import torch
from torch import Tensor

from opdsl.nn.points.batch import all_values
from opdsl.train.config.symmetries import ChannelSource, GridMap, Symmetry
from opdsl.train.engine.loader import FieldValues, Transform

STREAM = 1  # of the counter-based generator; the order of samples uses stream 0


@dataclass(frozen=True, slots=True)
class RandomSymmetries:
    """A random element of the group for each step, a function of the seed and the step.

    Each generator in turn is applied a uniformly random number of times: 0 or 1 for reflections and
    exchanges of axes, 0 to 3 for quarter turns, and any number of points for shifts. All samples of
    a batch are transformed alike. A run that is resumed draws the same elements again.

    Attributes:
        symmetries: the generators.
        seed: of the run.
    """

    symmetries: tuple[Symmetry, ...]
    seed: int

    def transform(self, fields: FieldValues, step: int) -> FieldValues:
        """Transform inputs and outputs, (batch, channels, *grid), as at step `step`."""
        draws = random_words(self.seed, step, len(self.symmetries))
        for symmetry, word in zip(self.symmetries, draws, strict=True):
            fields = transformed(symmetry, fields, word * choices(symmetry, fields) >> 64)
        return fields

    def of_step(self, step: int) -> Transform | None:
        """Return the transform of a step's batches; None without symmetries."""
        return partial(self.transform, step=step) if self.symmetries else None


def random_words(seed: int, step: int, count: int) -> list[int]:
    """Draw `count` words of 64 bits by the counter-based Philox, key (seed, step).

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    key = np.array([seed, step], dtype=np.uint64)
    counter = np.array([0, 0, 0, STREAM], dtype=np.uint64)
    return [int(x) for x in np.random.Philox(key=key, counter=counter).random_raw(count)]


def choices(symmetry: Symmetry, fields: Mapping[str, object]) -> int:
    """Return how many powers of a symmetry there are, the identity among them.

    Functions with different numbers of points are shifted by a whole number of points of each.
    """
    if symmetry.order is not None:
        return symmetry.order
    return gcd(*(n for _, n in _shifted_sizes(symmetry, fields)))


def transformed(symmetry: Symmetry, fields: FieldValues, power: int = 1) -> FieldValues:
    """Apply a symmetry `power` times to functions by name.

    Args:
        symmetry: the generator.
        fields: (batch, channels, *grid), or with an axis of time before the channels; those that
            the symmetry does not name stay as they are.
        power: how often; for a shift, in units of the period divided by `choices`.

    Returns:
        New functions of the same shapes and number format; no value is rounded.
    """
    if symmetry.order is None:
        return _shifted(symmetry, fields, power) if power else fields
    for _ in range(power):
        moved = {
            k: _moved(all_values(x), grid) if (grid := symmetry.maps.get(k)) else x
            for k, x in fields.items()
        }
        fields = moved | {
            k: _channels(moved, sources, symmetry)
            for k, sources in symmetry.channels.items()
            if k in moved
        }
    return fields


def _shifted_sizes(symmetry: Symmetry, fields: Mapping[str, object]) -> list[tuple[str, int]]:
    """Return (name, points on the axis that is shifted) of the functions that are there."""
    sizes = []
    for name, grid in symmetry.maps.items():
        x = fields.get(name)
        if grid.shifted is not None and isinstance(x, Tensor):
            sizes.append((name, x.shape[grid.shifted - grid.dims]))
    return sizes


def _shifted(symmetry: Symmetry, fields: FieldValues, power: int) -> FieldValues:
    sizes = _shifted_sizes(symmetry, fields)
    parts = gcd(*(n for _, n in sizes))
    shifted: FieldValues = {}
    for name, n in sizes:
        grid = symmetry.maps[name]
        assert grid.shifted is not None  # these have a size
        x = all_values(fields[name])
        shifted[name] = torch.roll(x, power * (n // parts), grid.shifted - grid.dims)
    return fields | shifted


def _moved(x: Tensor, grid: GridMap) -> Tensor:
    for axis, roll in grid.reversals:
        x = x.flip(axis - grid.dims)
        x = x.roll(roll, axis - grid.dims) if roll else x
    if grid.exchanged:
        first, second = (axis - grid.dims for axis in grid.exchanged)
        x = x.transpose(first, second).contiguous()
    return x


def _channels(fields: FieldValues, sources: Sequence[ChannelSource], symmetry: Symmetry) -> Tensor:
    """Gather the channels of one function from those of others, with their signs."""
    parts = []
    for source in sources:
        grid = symmetry.maps.get(source.name)
        x = all_values(fields[source.name])
        part = x.narrow(-1 - (grid.dims if grid else 0), source.channel, 1)
        parts.append(-part if source.sign < 0 else part)
    first = symmetry.maps.get(sources[0].name)
    return torch.cat(parts, -1 - (first.dims if first else 0))
