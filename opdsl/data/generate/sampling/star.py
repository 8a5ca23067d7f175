"""Random smooth star-shaped domains in the plane, and triangle meshes of them.

r(angle) = exp(sum c_k cos k angle + s_k sin k angle), scaled so that the shape touches the unit
circle from within. It depends on the random numbers alone, not on the mesh width.

Source: the mesh is made as by Persson, Strang 2004, "A simple mesh generator in MATLAB": points of
a lattice are moved to the middle of their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opdsl.data.derive.distance import winding

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WAVES = 6  # of the boundary
NUMBERS = 2 * WAVES  # random numbers of a shape
SPREAD, DECAY = 0.25, 1.5  # deviations SPREAD k^-DECAY of the coefficients
FINE = 4096  # points of the boundary where its length is measured
APART = 0.6  # of the width between the boundary and the nearest lattice point
MOVES = 12  # of the lattice points


@dataclass(frozen=True, slots=True)
class Star:
    """A shape around the origin.

    Attributes:
        waves: (2, WAVES), c and s.
        scale: factor of the radius.
    """

    waves: Floats
    scale: float = 1.0

    @classmethod
    def of(cls, numbers: Floats) -> Star:
        """Make a shape from NUMBERS normal numbers; its farthest point is at distance 1."""
        k = np.arange(1, WAVES + 1)
        shape = cls(numbers.reshape(2, WAVES) * SPREAD * k**-DECAY)
        return cls(shape.waves, 1 / float(shape.radius(_angles(FINE)).max()))

    def radius(self, angle: Floats) -> Floats:
        """Distance of the boundary from the origin at angles of any shape."""
        turn = np.arange(1, WAVES + 1) * angle[..., None]
        log = np.cos(turn) @ self.waves[0] + np.sin(turn) @ self.waves[1]
        return np.asarray(self.scale * np.exp(log))

    def boundary(self, angle: Floats) -> Floats:
        """Points of the boundary at these angles; (*, 2)."""
        directions = np.stack([np.cos(angle), np.sin(angle)], -1)
        return np.asarray(self.radius(angle)[..., None] * directions)


@dataclass(frozen=True, slots=True)
class Triangles:
    """A mesh in the plane.

    Attributes:
        points: (n, 2); the first `edge` of them lie on the boundary, in their order around it.
        cells: (m, 3), oriented counterclockwise.
        edge: number of points on the boundary.
    """

    points: Floats
    cells: Ints
    edge: int


def triangulate(star: Star, width: float) -> Triangles:
    """Mesh a shape with sides of about `width`; boundary points are at equal distances."""
    edge = star.boundary(_even(star, width))
    inner = _lattice(edge, width)
    for _ in range(MOVES):
        cells = _delaunay(edge, inner)
        inner = _moved(np.concatenate([edge, inner]), cells, len(edge))
    return Triangles(np.concatenate([edge, inner]), _delaunay(edge, inner), len(edge))


def smallest_angle(mesh: Triangles) -> float:
    """Smallest angle of all triangles, in degrees; negative if one is oriented clockwise."""
    corners = mesh.points[mesh.cells]
    a, b = np.roll(corners, -1, 1) - corners, np.roll(corners, 1, 1) - corners
    turn = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return float(np.degrees(np.arctan2(turn, (a * b).sum(-1))).min())


def fills(mesh: Triangles) -> bool:
    """Whether the triangles cover the polygon of the boundary exactly once."""
    a, b, c = mesh.points[mesh.cells].transpose(1, 2, 0)
    own = ((b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0]) / 2
    x, y = mesh.points[: mesh.edge].T
    whole = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2
    return bool((own > 0).all() and abs(own.sum() - whole) < 1e-9 * whole)


def _angles(count: int) -> Floats:
    return np.linspace(0, 2 * np.pi, count, endpoint=False)


def _even(star: Star, width: float) -> Floats:
    """Angles of boundary points at equal arc lengths of about `width`; (count,)."""
    angle = np.append(_angles(FINE), 2 * np.pi)
    steps = np.linalg.norm(np.diff(star.boundary(angle), axis=0), axis=1)
    length = np.append(0, np.cumsum(steps))
    count = max(int(np.ceil(length[-1] / width)), 8)
    return np.asarray(np.interp(np.arange(count) / count * length[-1], length, angle))


def _lattice(edge: Floats, width: float) -> Floats:
    """Points (n, 2) of a triangular lattice inside the boundary and not too near to it."""
    from scipy.spatial import cKDTree

    many = int(np.ceil(1 / width)) + 2
    i, j = np.meshgrid(np.arange(-2 * many, 2 * many + 1), np.arange(-many, many + 1))
    rows = j * np.sqrt(3) / 2
    points = width * np.stack([i + 0.5 * (j % 2), rows], -1).reshape(-1, 2)
    points = points[np.linalg.norm(points, axis=1) < 1]
    # the distance to boundary points overestimates that to the boundary between them
    away, _ = cKDTree(edge).query(points)
    return np.asarray(points[(away > APART * width) & _within(edge, points)])


def _within(edge: Floats, points: Floats) -> NDArray[np.bool_]:
    number = np.arange(len(edge))
    around = np.stack([number, np.roll(number, -1)], 1)
    return np.asarray(winding(edge, around, points) > 0.5)


def _delaunay(edge: Floats, inner: Floats) -> Ints:
    """Delaunay triangles (m, 3) inside the boundary, oriented counterclockwise."""
    from scipy.spatial import Delaunay

    points = np.concatenate([edge, inner])
    cells = Delaunay(points).simplices.astype(np.int64)
    cells = cells[_within(edge, points[cells].mean(1))]
    a, b, c = points[cells].transpose(1, 2, 0)
    turned = (b - a)[0] * (c - a)[1] < (b - a)[1] * (c - a)[0]
    return np.where(turned[:, None], cells[:, ::-1], cells)


def _moved(points: Floats, cells: Ints, edge: int) -> Floats:
    """Move each inner point (those after the first `edge`) to the mean of its neighbours."""
    sums, count = np.zeros_like(points), np.zeros(len(points))
    for a, b in ((0, 1), (1, 2), (2, 0)):  # each neighbour counts twice, once from either side
        for one, other in ((a, b), (b, a)):
            np.add.at(sums, cells[:, one], points[cells[:, other]])
            np.add.at(count, cells[:, one], 1)
    return np.asarray(sums[edge:] / count[edge:, None])
