"""Random smooth closed surfaces in space, star-shaped around the origin, and triangles on them.

r(direction) = exp(a random wave), scaled so that the surface touches the unit sphere from within.
The surface depends on the random numbers alone, not on the mesh width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opdsl.data.derive.simplices import sizes
from opdsl.data.generate.sampling.wave import count, wave

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WAVES, SPREAD, STRETCH = 2, 0.35, 1.2
NUMBERS = count(WAVES, 3)
COARSE = 4000  # points on which the area and the largest radius are measured
GOLDEN = np.pi * (1 + 5**0.5)  # angle between successive points of the spiral


@dataclass(frozen=True, slots=True)
class Blob:
    """A surface around the origin.

    Attributes:
        numbers: (NUMBERS,) amplitudes of the wave; none for a sphere.
        scale: factor of the radius.
    """

    numbers: Floats
    scale: float = 1.0

    @classmethod
    def of(cls, numbers: Floats) -> Blob:
        """Make a surface from NUMBERS normal numbers; its farthest point is at distance 1."""
        far = cls(numbers).radius(spiral(COARSE)).max()
        return cls(numbers, 1 / float(far))

    def radius(self, direction: Floats) -> Floats:
        """Distance of the surface from the origin in each direction (n, 3); (n,)."""
        if not len(self.numbers):
            return np.full(len(direction), self.scale)
        return self.scale * np.exp(SPREAD * wave(self.numbers, STRETCH * direction, WAVES))

    def triangulate(self, width: float) -> tuple[Floats, Ints]:
        """Mesh the surface: points (n, 3) and triangles (m, 3) with sides of about `width`."""
        area = sizes(*self._on(COARSE)).sum()
        # an equilateral triangle has the area sqrt(3) / 4 width^2; each point has two triangles
        return self._on(max(int(np.ceil(area / (width**2 * 3**0.5 / 2))), 12))

    def _on(self, points: int) -> tuple[Floats, Ints]:
        directions = spiral(points)
        return self.radius(directions)[:, None] * directions, _hull(directions)


def spiral(points: int) -> Floats:
    """Unit vectors at nearly equal distances on the sphere; (n, 3).

    Source: Swinbank, Purser 2006, doi:10.1256/qj.05.227, the Fibonacci lattice.
    """
    k = np.arange(points) + 0.5
    z = 1 - 2 * k / points
    angle, ring = GOLDEN * k, np.sqrt(1 - z**2)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], 1)


def _hull(directions: Floats) -> Ints:
    """Triangles (m, 3) of the convex hull of points on a sphere, oriented outwards."""
    from scipy.spatial import ConvexHull

    cells = ConvexHull(directions).simplices.astype(np.int64)
    a, b, c = directions[cells].transpose(1, 0, 2)
    inwards = (np.cross(b - a, c - a) * a).sum(1) < 0
    return np.where(inwards[:, None], cells[:, ::-1], cells)
