"""The patches of a grid: where each begins, its overlap, and the windows of its coarser levels.

    points    0 . . . . . . . . . . . . . . . n
    own             [  patch  ]                     pasted into the result
    level 0       [p|  patch  |p]                   p: overlap
    level 1   [ .   .   .   .   .   ]               as many points, at twice the spacing

All patches of an axis have equally many points. Where these do not divide the axis, some neighbours
share a point, which is pasted from the later one.

Source: Kossaifi et al. 2023, arXiv:2310.00120, section 3.3.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from opdsl.ir.spaces import Domain
from opdsl.sampling import GridSampling, spacings

Padding = Literal["edge", "zero", "circular"]
PatchPosition = tuple[int, ...]  # of a patch, its number on each axis


@dataclass(frozen=True, slots=True)
class Decomposition:
    """How a grid is divided, at every resolution.

    Attributes:
        parts: patches on each axis.
        levels: coarser levels around each patch.
        overlap: what a patch has of its neighbours on each side, as a part of its length.
        padding: values beyond the ends of an axis that is not periodic.
    """

    parts: tuple[int, ...]
    levels: int
    overlap: float
    padding: Padding

    @property
    def patches(self) -> int:
        """The number of patches."""
        result = 1
        for x in self.parts:
            result *= x
        return result

    def positions(self) -> tuple[PatchPosition, ...]:
        """List all patches, the last axis fastest."""
        return tuple(itertools.product(*map(range, self.parts)))

    def stretch(self, axis: int) -> float:
        """Return the length of a patch with its overlap, as a part of the axis."""
        parts = self.parts[axis]
        return 1.0 if parts == 1 else (1 + 2 * self.overlap) / parts

    def axes(self, domain: Domain, size: Sequence[int]) -> tuple[AxisPatches, ...]:
        """Divide the axes of a grid of `size` points."""
        given = zip(size, self.parts, domain.samplings, domain.periodic, strict=True)
        return tuple(self._axis(*x) for x in given)

    def sizes(
        self, domain: Domain, roots: Mapping[str, tuple[int, ...]]
    ) -> dict[str, tuple[int, ...]]:
        """Return the points of a patch with its overlap on each axis of each declared domain.

        Args:
            domain: the grid.
            roots: points on each axis of each declared domain, whole.
        """
        widths, result = [x.width for x in self.axes(domain, domain.at(roots))], {}
        for part in domain.parts:
            result[part.name], widths = tuple(widths[: part.dims]), widths[part.dims :]
        return result

    def lengths(self, domain: Domain, size: Sequence[int]) -> dict[str, tuple[float, ...]]:
        """Return the lengths of the axes of a patch with its overlap, by the name of the factor.

        The points of a patch then have the spacings of a grid of `size` points. They differ from
        those of the `stretch` by less than two spacings.
        """
        rows = zip(domain.axes, domain.samplings, self.axes(domain, size), strict=True)
        lengths = [(axis.hi - axis.lo) * x.part_of_axis(sampling) for axis, sampling, x in rows]
        result = {}
        for part in domain.parts:
            result[part.name], lengths = tuple(lengths[: part.dims]), lengths[part.dims :]
        return result

    def _axis(self, points: int, parts: int, sampling: GridSampling, periodic: bool) -> AxisPatches:
        own = -(-points // parts)
        halo = 0 if parts == 1 else round(self.overlap * spacings(patch_sampling(sampling), own))
        return AxisPatches(points, parts, own, halo, "circular" if periodic else self.padding)


@dataclass(frozen=True, slots=True)
class PatchWindow:
    """Points `start`, `start + stride`, ... of an axis; some may lie beyond its ends."""

    start: int
    stride: int
    width: int

    def points(self) -> Iterator[int]:
        """Yield the points."""
        yield from (self.start + i * self.stride for i in range(self.width))


@dataclass(frozen=True, slots=True)
class AxisPatches:
    """The patches of an axis of `points` points.

    Attributes:
        points: of the axis.
        parts: the number of patches.
        own: points of a patch without overlap.
        halo: points of the overlap on each side.
        padding: values beyond the ends.
    """

    points: int
    parts: int
    own: int
    halo: int
    padding: Padding

    @property
    def width(self) -> int:
        """Points of a patch with its overlap."""
        return self.own + 2 * self.halo

    def part_of_axis(self, sampling: GridSampling) -> float:
        """Return the length of a patch with its overlap, as a part of the axis."""
        if self.parts == 1:
            return 1.0
        return spacings(patch_sampling(sampling), self.width) / spacings(sampling, self.points)

    def begin(self, number: int) -> int:
        """Return the first point of a patch, without overlap."""
        return number * self.points // self.parts

    def count(self, number: int) -> int:
        """Return how many points of a patch are pasted; they come first in it."""
        return self.begin(number + 1) - self.begin(number)

    def window(self, number: int, level: int) -> PatchWindow:
        """Return the window of a patch on a level, 0 for the patch itself.

        It has the middle of the patch in its middle, rounded down to its own spacing: the points of
        a level are then those of one coarser grid, if its spacing divides the points of a patch. An
        axis with one patch has no coarser levels.
        """
        if self.parts == 1:
            return PatchWindow(0, 1, self.points)
        stride = 2**level
        before = -(-self.own * (stride - 1) // (2 * stride)) + self.halo
        return PatchWindow(self.begin(number) - stride * before, stride, self.width)


def patch_sampling(sampling: GridSampling) -> GridSampling:
    """Return where the points of a patch are on its own interval.

    Without points at both ends of the axis, a patch of n points is n spacings long.
    """
    return "centres" if sampling == "interior" else sampling
