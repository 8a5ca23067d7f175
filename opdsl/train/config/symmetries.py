"""Symmetries of an operator as plain data: axes to reverse or exchange, channels and signs.

The workflow makes these from the setting `symmetries` and the program; the engine applies them. No
torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class GridMap:
    """How one application of a symmetry moves the points of one function.

    Axes are those of the grid, counted from 0. The steps follow each other in the order of the
    attributes.

    Attributes:
        dims: the number of axes of the grid.
        reversals: pairs (axis, roll): the order of the points is reversed and then rolled by so
            many points. A periodic axis with a point at its lower end keeps this point by a roll
            of 1; an axis with two ends has 0.
        exchanged: two axes that are exchanged, or None.
        shifted: a periodic axis along which the function is shifted, or None.
    """

    dims: int
    reversals: tuple[tuple[int, int], ...] = ()
    exchanged: tuple[int, int] | None = None
    shifted: int | None = None


@dataclass(frozen=True, slots=True)
class ChannelSource:
    """The channel that a channel of the transformed function comes from.

    Attributes:
        name: the input or output.
        channel: the index of its channel.
        sign: 1 or -1, by which it is multiplied.
    """

    name: str
    channel: int
    sign: int = 1


@dataclass(frozen=True, slots=True)
class Symmetry:
    """A generator of the symmetry group: a map T with T(solution) = solution.

    Attributes:
        text: the declaration, `reflect(x, odd = [vx])`.
        order: the number of applications after which nothing has changed; None for shifts, where
            it is the number of points of the axis.
        maps: input or output -> how its points move.
        channels: input or output -> the source of each channel, for those whose channels change.
    """

    text: str
    order: int | None
    maps: Mapping[str, GridMap]
    channels: Mapping[str, tuple[ChannelSource, ...]] = field(default_factory=dict)
