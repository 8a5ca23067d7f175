"""The axes of an array: as the program or the file states them, or the only reading that fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

SAMPLE, TIME, CHANNEL, POINT, COORDINATE = "sample", "time", "channel", "point", "coordinate"
QUERY = "query"  # each row is one point of a sample; rows with equal inputs are one sample
# an axis of a grid has the name that it has in the program
WORDS = (SAMPLE, TIME, CHANNEL, POINT, COORDINATE, QUERY)

# names of axes in files, in lower case
SYNONYMS = {
    "samples": SAMPLE,
    "batch": SAMPLE,
    "trajectory": SAMPLE,
    "trajectories": SAMPLE,
    "member": SAMPLE,
    "t": TIME,
    "times": TIME,
    "channels": CHANNEL,
    "component": CHANNEL,
    "components": CHANNEL,
    "points": POINT,
    "node": POINT,
    "nodes": POINT,
    "coordinates": COORDINATE,
    "latitude": "lat",
    "longitude": "lon",
}

Kind = Literal["grid", "points", "vector", "coordinates"]


@dataclass(frozen=True, slots=True)
class Target:
    """An input or output of a model, or the coordinates of a domain of points.

    Attributes:
        name: the name in the program.
        kind: what its values are functions of; `vector` is a few numbers for each sample.
        channels: their number; that of the coordinates of a point.
        components: names of the channels, where the program gives them.
        grid: names of the axes of the grid, in order.
        output: whether it is an output.
        timed: whether it has a value at each step in time: an output of a rollout, and an input
            that does not come back.
        mask: whether the array says which values of an input or output count; the name is then
            `masks.NAME`.
    """

    name: str
    kind: Kind
    channels: int
    components: tuple[str, ...] = ()
    grid: tuple[str, ...] = ()
    output: bool = False
    timed: bool = False
    mask: bool = False

    @property
    def places(self) -> tuple[str, ...]:
        """The axes that are not samples, times or channels."""
        return self.grid if self.kind == "grid" else () if self.kind == "vector" else (POINT,)


AxisNames = tuple[str, ...]


def stated(names: Sequence[str | None], target: Target) -> AxisNames | None:
    """Return the axes that a file states; None if one of them is unknown to the program."""
    axes = tuple(_word(x, target) for x in names)
    return None if not axes or None in axes else tuple(x for x in axes if x is not None)


def _word(name: str | None, target: Target) -> str | None:
    if name is None:
        return None
    low = SYNONYMS.get(name.lower(), name.lower())
    words = {x.lower(): x for x in (*target.grid, *WORDS)}
    return words.get(low) or next((x for x in target.grid if SYNONYMS.get(x, x) == low), None)


@dataclass(frozen=True, slots=True)
class Timing:
    """How the times of trajectories become samples and channels.

    Attributes:
        history: times that an input has as channels; None: all that the array has.
        steps: times that an output has; None: all that the array has.
        rollout: whether outputs, and inputs that do not come back, have a value at each step.
        possible: whether an array may have an axis of times that nothing states.
    """

    history: int | None = None
    steps: int | None = None
    rollout: bool = False
    possible: bool = False

    def channels(self, target: Target, times: int | None) -> int | None:
        """Return the channels at one time of an array with so many times; None: no such number."""
        if times is None or (self.rollout and target.timed):
            return target.channels
        merged = (self.steps if target.output else self.history) or times
        return target.channels // merged if target.channels % merged == 0 else None


def readings(shape: Sequence[int], target: Target, arrays: int, timing: Timing) -> list[AxisNames]:
    """List the meanings that the axes of an array can have, if nothing states them.

    Args:
        shape: entries on each axis.
        target: what the array is for.
        arrays: number of arrays that share the channels of the target equally.
        timing: what axes of times mean.
    """
    return [x for x in _arrangements(target, timing) if _fits(shape, x, target, arrays, timing)]


def _arrangements(target: Target, timing: Timing) -> Iterator[AxisNames]:
    for samples in ((SAMPLE,), ()):
        for moments in ((), (TIME,)) if timing.possible else ((),):
            lead = (*samples, *moments)
            yield (*lead, *target.places)
            yield (*lead, CHANNEL, *target.places)
            if target.places:
                yield (*lead, *target.places, CHANNEL)


def _fits(
    shape: Sequence[int], axes: AxisNames, target: Target, arrays: int, timing: Timing
) -> bool:
    if len(axes) != len(shape):
        return False
    sizes = dict(zip(axes, shape, strict=True))
    return timing.channels(target, sizes.get(TIME)) == arrays * sizes.get(CHANNEL, 1)


def described(axes: Sequence[str]) -> str:
    """Write axes as a program does: `(sample, time, x, y)`."""
    return f"({', '.join(axes)}{',' if len(axes) == 1 else ''})"
