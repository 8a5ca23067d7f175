"""Signed distance from a closed surface in space, or from a closed curve in the plane.

The distance is exact but for rounding, below zero inside. The sign is that of the winding number,
which needs closed surfaces but no convex, connected or smooth ones. Memory is bounded by `PAIRS`,
whatever the number of cells and points.

Source: Jacobson, Kavan, Sorkine-Hornung 2013, "Robust inside-outside segmentation using generalized
winding numbers"; the angle of a triangle is van Oosterom, Strackee 1983, doi:10.1109/
TBME.1983.325207.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from opdsl.diagnostics import fault
from opdsl.nn.points.geometry import Geometry

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PAIRS = 1 << 18  # pairs of a point and a face in one batch; about 100 MB
CLASSES = 24  # of faces by size, each half as large as the last: one large face costs no others
BESIDE = 9  # neighbours of a query point that may share its sign


def signed_distance(
    geometry: Geometry, queries: Tensor, *, holes: bool = False, source: str = "geometry"
) -> Tensor:
    """Distance from the surface, below zero inside; (q,) float64.

    Args:
        geometry: (n, d) points, and cells: triangles in space or segments in the plane, or
            tetrahedra or triangles of a body, whose surface is taken.
        queries: (q, d).
        holes: take a surface that is not closed. A point is inside then if more than half of all
            directions are covered, as seen from there.
        source: the name of the geometry in errors.

    Raises:
        OpError: OP0618, there are no cells, or they do not close a surface.
    """
    points, faces = surface(geometry, source)
    if not holes:
        _closed(points, faces, source)
    if not len(queries):
        return torch.zeros(0, dtype=torch.float64)
    coordinates = _numbers(queries)
    away, _ = nearest(points, faces, coordinates)
    inside = _inside(points, faces, coordinates, away, alike=not holes)
    return torch.from_numpy(np.where(inside, -away, away))


def distance(geometry: Geometry, queries: Tensor, *, source: str = "geometry") -> Tensor:
    """Distance from the surface, which may be open, without a sign; (q,) float64."""
    points, faces = surface(geometry, source)
    away, _ = nearest(points, faces, _numbers(queries))
    return torch.from_numpy(away)


def surface(geometry: Geometry, source: str = "geometry") -> tuple[Floats, Ints]:
    """Return points (n, d) and faces (m, d) of a surface, or of the boundary of a body.

    Points with equal coordinates are merged: files often repeat a point for each face.

    Raises:
        OpError: OP0618, the geometry has no cells, or cells that bound nothing.
    """
    points = _numbers(geometry.points)
    d = points.shape[1]
    if geometry.cells is None or not len(geometry.cells) or d not in (2, 3):
        what = "no cells" if d in (2, 3) else f"{d} coordinates"
        helps = ("a surface has triangles in space, or segments in the plane",)
        raise fault("OP0618", f"the geometry has {what}, and no surface", helps=helps, file=source)
    cells = geometry.cells.detach().cpu().numpy().astype(np.int64)
    if not d <= cells.shape[1] <= d + 1:
        message = f"cells of {cells.shape[1]} corners bound nothing in {d} dimensions"
        raise fault("OP0618", message, file=source)
    places, number = np.unique(points, axis=0, return_inverse=True)
    cells = number.reshape(-1)[cells]
    return places, cells if cells.shape[1] == d else _skin(places, cells)


def _numbers(x: Tensor) -> Floats:
    return x.detach().cpu().double().numpy()


# --- distance -----------------------------------------------------------------------------------


def nearest(points: Floats, faces: Ints, queries: Floats) -> tuple[Floats, Floats]:
    """Return the distance to the nearest point of the faces, and that point: (q,), (q, d).

    The face with the nearest centre gives a bound. A nearer face has its centre within that bound
    plus its own radius; a k-d tree of the centres finds all such faces.
    """
    from scipy.spatial import cKDTree

    corners = points[faces]
    centres = corners.mean(1)
    radii = np.sqrt(((corners - centres[:, None]) ** 2).sum(2).max(1))
    _, first = cKDTree(centres).query(queries)
    closest = _closest(queries, corners[first])
    away = np.linalg.norm(queries - closest, axis=1)
    for rows in _by_size(radii):
        tree = cKDTree(centres[rows])
        for some, counts, near in _candidates(tree, queries, away + radii[rows].max()):
            pair_queries = np.repeat(queries[some], counts, axis=0)
            pair_closest = _closest(pair_queries, corners[rows[near]])
            pair_distances = np.linalg.norm(pair_queries - pair_closest, axis=1)
            best = _first_least(pair_distances, counts)
            nearer = pair_distances[best] < away[some]
            away[some[nearer]] = pair_distances[best[nearer]]
            closest[some[nearer]] = pair_closest[best[nearer]]
    return away, closest


def _by_size(radii: Floats) -> Iterator[Ints]:
    """Yield the row numbers of faces of similar size, group by group."""
    largest = radii.max() or 1.0
    with np.errstate(divide="ignore"):
        kind = np.minimum(-np.log2(radii / largest), CLASSES - 1).astype(np.int64)
    for x in np.unique(kind):
        yield np.flatnonzero(kind == x)


def _candidates(tree: Any, queries: Floats, reach: Floats) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Yield query points with faces in reach, their numbers of faces, and the faces; in batches.

    A batch has at most PAIRS faces, unless one point alone has more.
    """
    # slightly larger, so that rounding excludes no face
    reach = reach * (1 + 1e-12)
    counts = tree.query_ball_point(queries, reach, return_length=True)
    some = np.flatnonzero(counts)
    for part in _parts(some, counts[some]):
        lists = tree.query_ball_point(queries[part], reach[part])
        yield part, counts[part], np.concatenate([np.asarray(x, np.int64) for x in lists])


def _parts(rows: Ints, counts: Ints) -> Iterator[Ints]:
    """Split rows into groups whose counts sum to at most PAIRS; a larger row is a group alone."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(rows):
        offset = ends[start - 1] if start else 0
        end = max(int(np.searchsorted(ends, offset + PAIRS, "right")), start + 1)
        yield rows[start:end]
        start = end


def _first_least(x: Floats, counts: Ints) -> Ints:
    """Return the index of the first minimum of each group; group i has `counts[i]` numbers."""
    starts = np.cumsum(counts) - counts
    least = np.repeat(np.minimum.reduceat(x, starts), counts)
    places = np.flatnonzero(x == least)
    group = np.repeat(np.arange(len(counts)), counts)[places]
    return np.asarray(places[np.unique(group, return_index=True)[1]])


def _closest(p: Floats, corners: Floats) -> Floats:
    """Return the point of each segment (pairs, 2, d) or triangle (pairs, 3, 3) nearest to its p."""
    if corners.shape[1] == 2:
        return _on_segment(p, corners[:, 0], corners[:, 1])
    a, b, c = corners.transpose(1, 0, 2)
    sides = np.stack([_on_segment(p, x, y) for x, y in ((a, b), (b, c), (c, a))])
    best = ((sides - p) ** 2).sum(2).argmin(0)
    closest: Floats = sides[best, np.arange(len(p))]
    weights, flat = _barycentric(p, a, b, c)
    within = ~flat & (weights >= 0).all(1)
    closest[within] = np.einsum("nk,nkd->nd", weights, corners)[within]
    return closest


def _on_segment(p: Floats, a: Floats, b: Floats) -> Floats:
    along = b - a
    length = (along**2).sum(1)
    t = ((p - a) * along).sum(1) / np.where(length > 0, length, 1)
    return np.asarray(a + np.clip(t, 0, 1)[:, None] * along)


def _barycentric(p: Floats, a: Floats, b: Floats, c: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Barycentric coordinates (n, 3) of p projected onto the plane; a mask of flat triangles."""
    normal = np.cross(b - a, c - a)
    square = (normal**2).sum(1)
    flat = square == 0
    offset = p - a
    third = (np.cross(b - a, offset) * normal).sum(1) / np.where(flat, 1, square)
    second = (np.cross(offset, c - a) * normal).sum(1) / np.where(flat, 1, square)
    return np.stack([1 - second - third, second, third], 1), flat


# --- sign ---------------------------------------------------------------------------------------


def _inside(
    points: Floats, faces: Ints, queries: Floats, away: Floats, *, alike: bool
) -> NDArray[np.bool_]:
    """Whether the surface winds around each point; (q,) bool.

    No surface passes through the ball around a point that reaches to the surface, so all points of
    the ball have one winding number. With `alike`, which is valid for closed surfaces only, it is
    computed once for all points that are linked by such balls.
    """
    kin = _kin(queries, away) if alike else np.arange(len(queries))
    _, first, back = np.unique(kin, return_index=True, return_inverse=True)
    around = winding(points, faces, queries[first])
    return np.asarray((np.abs(around) > 0.5)[back])


def _kin(queries: Floats, away: Floats) -> Ints:
    """Label the points (q,): those linked by balls that no surface crosses have one label."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    many = min(BESIDE, len(queries))
    far, near = cKDTree(queries).query(queries, k=np.arange(1, many + 1))
    rows = np.repeat(np.arange(len(queries)), many)
    near, far = np.ravel(near), np.ravel(far)
    linked = far < np.maximum(away[rows], away[near]) * (1 - 1e-9)
    pairs = (np.ones(int(linked.sum()), np.int8), (rows[linked], near[linked]))
    links = coo_array(pairs, shape=(len(queries),) * 2)
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def winding(points: Floats, faces: Ints, queries: Floats) -> Floats:
    """Winding number of the surface around each point: its angle over the full angle; (q,)."""
    angles = _turns if points.shape[1] == 2 else _solid_angles
    step = max(PAIRS // len(faces), 1)
    corners = points[faces]
    parts = [
        angles(corners - queries[i : i + step, None, None]) for i in range(0, len(queries), step)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _turns(corners: Floats) -> Floats:
    """Sum the angles of segments (q, m, 2, 2) seen from the origin, over 2 pi; (q,)."""
    a, b = corners[:, :, 0], corners[:, :, 1]
    cross = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return np.asarray(np.arctan2(cross, (a * b).sum(2)).sum(1) / (2 * np.pi))


def _solid_angles(corners: Floats) -> Floats:
    """Sum the solid angles of triangles (q, m, 3, 3) seen from the origin, over 4 pi; (q,)."""
    a, b, c = corners.transpose(2, 0, 1, 3)
    r, s, t = (np.linalg.norm(x, axis=2) for x in (a, b, c))
    volume = (a * np.cross(b, c)).sum(2)
    flat = r * s * t + (a * b).sum(2) * t + (b * c).sum(2) * r + (c * a).sum(2) * s
    return np.asarray(2 * np.arctan2(volume, flat).sum(1) / (4 * np.pi))


# --- surfaces -----------------------------------------------------------------------------------


def _skin(points: Floats, cells: Ints) -> Ints:
    """Return the boundary faces (m, d) of simplices, oriented outwards."""
    d = points.shape[1]
    edges = points[cells[:, 1:]] - points[cells[:, :1]]
    cells = np.where((np.linalg.det(edges) < 0)[:, None], cells[:, [1, 0, *range(2, d + 1)]], cells)
    sides = [[0, 1], [1, 2], [2, 0]] if d == 2 else [[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]
    faces = np.concatenate([cells[:, x] for x in sides])
    _, first, counts = np.unique(np.sort(faces, 1), axis=0, return_index=True, return_counts=True)
    return np.asarray(faces[np.sort(first[counts == 1])])


def _closed(points: Floats, faces: Ints, source: str) -> None:
    """Refuse a surface with an edge (in the plane: a point) whose faces do not cancel there.

    Raises:
        OpError: OP0618, the surface is open, or its faces are not oriented alike.
    """
    loose, turned = _unpaired(faces)
    if not loose:
        return
    what = "edges" if points.shape[1] == 3 else "points"
    if turned:
        message = f"the faces of the surface do not turn alike: at {loose} {what} they meet head on"
        helps: tuple[str, ...] = ("turn all faces outwards", "or ask for the unsigned distance")
    else:
        message = f"the surface is not closed: {loose} {what} have a face on one side only"
        helps = ("close it", "allow holes, if they are small", "or ask for the unsigned distance")
    raise fault("OP0618", message, helps=helps, file=source)


def _unpaired(faces: Ints) -> tuple[int, bool]:
    """Count edges not passed equally often each way; say if all have an even number of faces."""
    if faces.shape[1] == 2:
        ends, sign = faces.reshape(-1, 1), np.tile([1, -1], len(faces))
    else:
        ways = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        ends, sign = np.sort(ways, 1), np.where(ways[:, 0] < ways[:, 1], 1, -1)
    _, place, counts = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
    balance = np.bincount(place.reshape(-1), sign)
    return int((balance != 0).sum()), bool((counts % 2 == 0).all())
