"""Coordinates of the axes of a grid, as a file states them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

EndKind = Literal["periodic", "wall", "open"]
EndKinds = tuple[EndKind | None, EndKind | None]

# of the spacing: no solver places its points less exactly, and a shift of this size is harmless
SPACING_TOLERANCE = 1e-4
# of the greatest coordinate: four roundings in float32, in which most files store coordinates
ROUNDING = 2.0**-22


@dataclass(frozen=True, slots=True, eq=False)
class AxisCoordinates:
    """Where the points of an axis are.

    Attributes:
        values: coordinates in the order of the file, (points,), float64.
        boundary: the kind of the first and of the last end of the axis; None where the file does
            not state it.
        unit: the unit of the coordinates as the file writes it; empty without one.
        varying: whether the coordinates differ between samples or times; `values` are the first.
    """

    values: NDArray[np.float64]
    boundary: EndKinds = (None, None)
    unit: str = ""
    varying: bool = False

    def thinned(self, points: slice) -> AxisCoordinates:
        """Select the points that a coarser grid keeps."""
        return replace(self, values=self.values[points])

    @property
    def tolerance(self) -> float:
        """The greatest distance of two coordinates that count as equal."""
        return tolerance(self.values)

    def agrees(self, other: AxisCoordinates) -> bool:
        """Return whether both axes have equal points, ends and units."""
        return (
            (self.boundary, self.unit, self.varying) == (other.boundary, other.unit, other.varying)
            and self.values.shape == other.values.shape
            and bool(np.allclose(self.values, other.values, rtol=0, atol=self.tolerance))
        )

    def __str__(self) -> str:
        """Format the ends and the number of points: `0 .. 200 (33 points)`."""
        if not len(self.values):
            return "no points"
        first, last = self.values[0], self.values[-1]
        return f"{first:.6g} .. {last:.6g} ({len(self.values)} points)"


AxesCoordinates = Mapping[str, AxisCoordinates]


def tolerance(values: NDArray[np.float64]) -> float:
    """Return 1e-4 of the least spacing, or the rounding of float32 where that is more."""
    if not len(values):
        return 0.0
    spacing = float(np.abs(np.diff(values)).min()) if len(values) > 1 else 0.0
    return max(SPACING_TOLERANCE * spacing, ROUNDING * float(np.abs(values).max()))


def thin_coordinates(
    coordinates: AxesCoordinates, axes: Sequence[str], kept: Sequence[slice]
) -> dict[str, AxisCoordinates]:
    """Select the points that a coarser grid keeps.

    Args:
        coordinates: by the name of the axis.
        axes: names of the axes of the grid.
        kept: for each axis the points that stay.
    """
    slices = dict(zip(axes, kept, strict=True))
    return {k: x.thinned(slices[k]) for k, x in coordinates.items() if k in slices}


def coordinate_difference(first: AxesCoordinates, other: AxesCoordinates) -> tuple[str, str] | None:
    """Return the first axis whose coordinates differ, in words of both files; None if all agree."""
    for name in dict.fromkeys((*first, *other)):
        a, b = first.get(name), other.get(name)
        if a is None or b is None:
            return _words(name, a), _words(name, b)
        if not a.agrees(b):
            return _detail(name, a, b)
    return None


def _words(name: str, axis: AxisCoordinates | None) -> str:
    return f"no coordinates of `{name}`" if axis is None else f"{name} = {axis}"


def _detail(name: str, a: AxisCoordinates, b: AxisCoordinates) -> tuple[str, str]:
    """Describe two axes by what differs: their ends and number, else a point, a kind or a unit."""
    pair = _words(name, a), _words(name, b)
    if pair[0] != pair[1]:
        return pair
    for what, x, y in (("ends", a.boundary, b.boundary), ("unit", a.unit, b.unit)):
        if x != y:
            return f"{what} of `{name}` {x}", f"{what} of `{name}` {y}"
    far = int(np.abs(a.values - b.values).argmax())
    return f"{name}[{far}] = {a.values[far]:.9g}", f"{name}[{far}] = {b.values[far]:.9g}"
