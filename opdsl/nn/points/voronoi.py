"""The volumes of Voronoi cells in a box or a periodic space of one to three dimensions.

Qhull finds the cells (Barber, Dobkin and Huhdanpaa 1996, doi:10.1145/235815.235821). A cell inside
of the box is the sum of the pyramids from its point to its faces. A cell that leaves the box is the
intersection of the half-spaces of its neighbours and of the box.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, product

import numpy as np
from numpy.typing import NDArray

from opdsl.nn.points.neighbours.pairs import Period

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]

CORNER_DISTANCE = (
    10.0  # boxes away, points that close the cells; none of them is nearest to a place in the box
)
ROUNDING = 1e-9  # of the longest side: how far a cell may leave the box by rounding
FIRST_REACH = 4.0  # mean spacings from the ends of a period up to which images are taken at first


def voronoi_volumes(
    points: _Floats, lo: _Floats, hi: _Floats, period: Period | None = None
) -> _Floats:
    """Compute the length, area or volume of each cell: (n, d), (d,), (d,) -> (n,).

    Args:
        points: pairwise different; in [lo, hi], on axes with a period in [lo, lo + period).
        lo, hi: the ends of the box; of axes with a period only `lo` counts.
        period: for each axis, the length after which space repeats.
    """
    around = np.array([p or np.inf for p in period or (None,) * points.shape[1]])
    bounded = np.isinf(around)
    size = np.where(bounded, hi - lo, around)
    scale = size.max()
    inside = (points - lo) / scale
    cell = _volumes_1d if points.shape[1] == 1 else _volumes_nd
    shares = cell(inside, size / scale, bounded)
    result: _Floats = shares * scale ** points.shape[1]
    return result


def _volumes_1d(points: _Floats, size: _Floats, closed: NDArray[np.bool_]) -> _Floats:
    """Compute the lengths between the midpoints of neighbouring points."""
    order = np.argsort(points[:, 0])
    x, length = points[order, 0], size[0]
    left, right = (-x[0], 2 * length - x[-1]) if closed[0] else (x[-1] - length, x[0] + length)
    extended = np.concatenate(([left], x, [right]))
    result: _Floats = np.zeros(len(x))
    result[order] = (extended[2:] - extended[:-2]) / 2
    return result


def _volumes_nd(points: _Floats, size: _Floats, closed: NDArray[np.bool_]) -> _Floats:
    """Compute areas or volumes, with as many periodic images as the largest cell requires."""
    n, d = points.shape
    reach = FIRST_REACH * float(np.prod(size) / n) ** (1 / d)
    while True:
        cells = _Cells(points, _images(points, size, closed, reach), size, closed)
        result, radius = cells.volumes_and_radius()
        # a point farther away than twice the radius of a cell cannot cut it
        if closed.all() or 2 * radius <= reach:
            return result
        reach = min(2 * reach, 2.02 * radius)


def _images(points: _Floats, size: _Floats, closed: NDArray[np.bool_], reach: float) -> _Floats:
    """Make the periodic images of the points, up to `reach` from the box."""
    steps = [
        range(1) if c else range(-(k := int(np.ceil(reach / s))), k + 1)
        for s, c in zip(size, closed, strict=True)
    ]
    shifts = [np.array(m) * size for m in product(*steps) if any(m)]
    result = [points[:0]]
    for shift in shifts:
        images = points + shift
        near = closed | ((images >= -reach) & (images <= size + reach))
        result.append(images[near.all(1)])
    return np.concatenate(result)


@dataclass(frozen=True, slots=True)
class _Cells:
    """Cells of `points` in the diagram of `points` and `others`."""

    points: _Floats
    others: _Floats
    size: _Floats
    closed: NDArray[np.bool_]

    def volumes_and_radius(self) -> tuple[_Floats, float]:
        """Compute the volume of each cell, and the radius of the largest."""
        from scipy.spatial import Voronoi

        n, (_, d) = len(self.points), self.points.shape
        ends = np.array(list(product((-CORNER_DISTANCE, 1 + CORNER_DISTANCE), repeat=d)))
        sites = np.concatenate((self.points, self.others, ends * max(1.0, self.size.max())))
        diagram = Voronoi(sites)
        own = np.flatnonzero((diagram.ridge_points < n).any(1))
        pairs = diagram.ridge_points[own].astype(np.int64)
        faces = _Faces.of([diagram.ridge_vertices[i] for i in own])
        distances = _lengths(sites[pairs[:, 0]] - sites[pairs[:, 1]])
        pyramids = faces.areas(diagram.vertices) * distances / (2 * d)
        result = _sum_over_faces(pairs, pyramids, n)
        leaves = _sum_over_faces(pairs, ~faces.all(self._contains(diagram.vertices)), n) > 0
        largest = _largest_radius(self.points, pairs, faces, diagram.vertices, ~leaves)
        adjacent = _neighbours(pairs, n)
        for i in np.flatnonzero(leaves):
            result[i], radius = self._cut(self.points[i], sites[adjacent[i]])
            largest = max(largest, radius)
        return result, largest

    def _contains(self, places: _Floats) -> NDArray[np.bool_]:
        inside = (places >= -ROUNDING) & (places <= self.size + ROUNDING) | ~self.closed
        result: NDArray[np.bool_] = np.logical_and.reduce(inside, axis=1)
        return result

    def _cut(self, point: _Floats, near: _Floats) -> tuple[float, float]:
        """Intersect half-spaces to a cell within the box, and return its volume and radius."""
        from scipy.spatial import ConvexHull, HalfspaceIntersection

        offsets = near - point
        lengths = _lengths(offsets)
        unit, axes = np.eye(len(point))[self.closed], self.closed
        rows = np.concatenate((offsets / lengths[:, None], unit, -unit))
        ends = np.concatenate((-lengths / 2, (point - self.size)[axes], -point[axes]))
        # an interior point: towards the middle of the box, less than halfway to any neighbour
        inward = np.where(axes, self.size / 2 - point, 0.0)
        far = float(np.linalg.norm(inward))
        step = min(0.5, 0.1 * lengths.min() / far) if far else 0.0
        spaces = np.concatenate((rows, ends[:, None]), 1)
        corners = HalfspaceIntersection(spaces, inward * step).intersections
        radius = float(_lengths(corners).max())
        return float(ConvexHull(corners).volume), radius


@dataclass(frozen=True, slots=True)
class _Faces:
    """Polygons, or segments in the plane: the indices of their corners, face by face."""

    corners: _Ints
    sizes: _Ints

    @classmethod
    def of(cls, faces: list[list[int]]) -> _Faces:
        sizes = np.fromiter(map(len, faces), np.int64, len(faces))
        return cls(np.fromiter(chain.from_iterable(faces), np.int64, int(sizes.sum())), sizes)

    @property
    def starts(self) -> _Ints:
        return np.cumsum(self.sizes) - self.sizes

    def all(self, of_corner: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return whether a condition holds at all corners of each face."""
        return np.logical_and.reduceat(of_corner[self.corners], self.starts)

    def areas(self, places: _Floats) -> _Floats:
        """Compute the area of each face, whose corners are in order around it."""
        first = places[self.corners[self.starts]]
        if places.shape[1] == 2:
            second = places[self.corners[self.starts + 1]]
            return _lengths(second - first)
        # a fan of triangles, added up as vectors
        count = np.maximum(self.sizes - 2, 0)
        face = np.repeat(np.arange(len(count)), count)
        at = np.arange(len(face)) - (np.cumsum(count) - count)[face] + self.starts[face] + 1
        a, b = (places[self.corners[at + i]] - first[face] for i in (0, 1))
        cross = np.cross(a, b)
        sums = [np.bincount(face, cross[:, i], len(count)) for i in range(3)]
        return _lengths(np.stack(sums, 1)) / 2


def _sum_over_faces(pairs: _Ints, values: NDArray[np.generic], n: int) -> _Floats:
    """Sum values of faces over the faces of each of the first n cells."""
    count = int(pairs.max(initial=n - 1)) + 1
    result = np.zeros(count)
    for i in (0, 1):
        result += np.bincount(pairs[:, i], values, count)
    return result[:n]


def _lengths(vectors: _Floats) -> _Floats:
    """Compute the Euclidean lengths of vectors: (m, d) -> (m,)."""
    result: _Floats = np.sqrt(np.square(vectors).sum(1))
    return result


def _largest_radius(
    points: _Floats, pairs: _Ints, faces: _Faces, places: _Floats, whole: NDArray[np.bool_]
) -> float:
    """Return the largest distance of a point to a corner of its cell, if that is in the box."""
    face, result = np.repeat(np.arange(len(faces.sizes)), faces.sizes), 0.0
    for i in (0, 1):
        owner = pairs[face, i]
        selected = owner < len(points)
        selected[selected] = whole[owner[selected]]
        offsets = places[faces.corners[selected]] - points[owner[selected]]
        result = max(result, float(_lengths(offsets).max(initial=0.0)))
    return result


def _neighbours(pairs: _Ints, n: int) -> list[_Ints]:
    """List the indices of the neighbours of each of the first n cells."""
    directed = np.concatenate((pairs, pairs[:, ::-1]))
    directed = directed[directed[:, 0] < n]
    directed = directed[np.argsort(directed[:, 0], kind="stable")]
    return np.split(directed[:, 1], np.cumsum(np.bincount(directed[:, 0], minlength=n))[:-1])
