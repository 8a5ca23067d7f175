"""Quadrature weights of points: the length, area or volume that each point represents.

The weights of a geometry come first, then its cells, then the estimate that the program declares.
Results are cached by geometry.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from opdsl.diagnostics import OpError, fault
from opdsl.nn.byte_lru_cache import ByteLRUCache
from opdsl.nn.points.geometry import Geometry
from opdsl.nn.points.neighbours.cell_list import CellList
from opdsl.nn.points.neighbours.kd_tree import KdTree
from opdsl.nn.points.neighbours.pairs import (
    NeighbourSearch,
    Period,
    to_widest_float,
    wrap_into_period,
)
from opdsl.nn.points.neighbours.search import check_finite
from opdsl.nn.points.voronoi import voronoi_volumes

WeightRule = Literal["given", "voronoi", "density", "uniform"]
WeightOrigin = Literal["weights", "cells", "voronoi", "density", "uniform"]

DENSITY_NEIGHBOURS = (
    16  # neighbours from which a density is estimated: its error is about 1 / sqrt(16)
)
FIRST_NEIGHBOUR = 3  # the nearest neighbour from which a dimension is estimated
# the simplices of a hexahedron, around the diagonal from its first corner to the seventh
HEXAHEDRON_SIMPLICES = (
    (0, 1, 2, 6),
    (0, 2, 3, 6),
    (0, 3, 7, 6),
    (0, 7, 4, 6),
    (0, 4, 5, 6),
    (0, 5, 1, 6),
)
# each quadrilateral cut along both diagonals, so that no corner is preferred
QUADRILATERAL_SIMPLICES = ((0, 1, 2), (0, 2, 3), (0, 1, 3), (1, 2, 3))

WEIGHT_CACHE = ByteLRUCache[Tensor](lambda x: (x,))


# searches depend on the data, so they cannot be traced
@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch does not type it
def quadrature_weights(
    geometry: Geometry, measure: WeightRule, period: Period | None = None
) -> Tensor | None:
    """Compute the quadrature weight of each point, (n,); None where all points count the same.

    Args:
        geometry: of one sample.
        measure: as the domain of the points declares it.
        period: as the domain declares it.

    Returns:
        In the dtype of the coordinates, without a gradient; weights of the geometry are returned as
        they are.

    Raises:
        OpError: OP0910, there are no weights to be found; OP0612, a number is not finite.
    """
    result = weight_source(geometry, measure)
    if result == "uniform":
        return None
    key = (result, geometry.measure_key, period, geometry.points.device)
    weights = WEIGHT_CACHE.get(key, lambda: _compute(geometry, result, period))
    return geometry.weights if result == "weights" else weights


def weight_source(geometry: Geometry, measure: WeightRule) -> WeightOrigin:
    """Return the source of the quadrature weights of a geometry.

    Raises:
        OpError: OP0910, the geometry has none, and the domain declares that they are given.
    """
    if geometry.weights is not None:
        return "weights"
    if geometry.cells is not None:
        return "cells"
    if measure == "given":
        raise _no_weights(
            "the points bring neither weights nor cells",
            "give them: `Geometry(points, weights = ...)` or `Geometry(points, cells = ...)`",
            "or estimate them: `measure = voronoi`, `density` or `uniform` where they are declared",
        )
    return measure


def cell_weights(points: Tensor, cells: Tensor) -> Tensor:
    """Distribute the length, area or volume of each cell evenly to its corners.

    Args:
        points: (n, d), in any dimension, so that cells may lie on a surface.
        cells: (m, k), segments, triangles, quadrilaterals (in the plane), tetrahedra (in space) or
            hexahedra, corners in the order of VTK.

    Returns:
        (n,).

    Raises:
        OpError: OP0910, cells of this kind are not supported, or corners are out of range.
    """
    sizes = _cell_volumes(to_widest_float(points), _check_cells(cells, points)) / cells.shape[1]
    result = sizes.new_zeros(len(points))
    return result.index_add(0, cells.flatten(), sizes.repeat_interleave(cells.shape[1]))


def voronoi_weights(points: Tensor, period: Period | None = None) -> Tensor:
    """Compute the volume of each point's Voronoi cell within the bounding box of all points.

    Args:
        points: (n, d), d = 1, 2, 3.
        period: on an axis with a period, cells go around and there is no box.

    Raises:
        OpError: OP0910, two points coincide, or all points have one coordinate in common.
    """
    places = wrap_into_period(to_widest_float(points), period).cpu()
    lo, hi = places.amin(0), places.amax(0)
    around = period or (None,) * len(lo)
    lo = torch.stack([x if p is None else x * 0 for x, p in zip(lo, around, strict=True)])
    _check_apart(places, lo, hi, around)
    result = torch.from_numpy(voronoi_volumes(places.numpy(), lo.numpy(), hi.numpy(), period))
    _check_positive(result)
    return result.to(points.device)


def density_weights(points: Tensor, period: Period | None = None) -> Tensor:
    """Divide the volume of the ball to the k-th neighbour by k = 16: (n, d) -> (n,).

    Unbiased where points are scattered at random; at the boundary of their domain, where part of
    the ball is empty, too large. Points that lie on a surface get areas: the distances of the
    neighbours show its dimension, d or d - 1.

    Raises:
        OpError: OP0910, there is one point only, or there are too many at one place.

    Source: Loftsgaarden and Quesenberry 1965, doi:10.1214/aoms/1177700079.
    """
    n, d = points.shape
    if n < 2:
        raise _no_weights("one point has no neighbours to tell its weight", "give it: `weights`")
    k = min(DENSITY_NEIGHBOURS, n - 1)
    result: NeighbourSearch = (KdTree if points.device.type == "cpu" else CellList)(points, period)
    distances = result.nearest(points, k + 1)[1].sort(1).values[:, 1:]
    _check_positive(distances[:, -1])
    dims = _dimension(distances, d)
    volume: Tensor = distances[:, -1] ** dims * (math.pi ** (dims / 2) / math.gamma(dims / 2 + 1))
    return volume / k


# --- parts -------------------------------------------------------------------------------------


def _compute(geometry: Geometry, found: WeightOrigin, period: Period | None) -> Tensor:
    points = geometry.points
    check_finite(points)
    # inference tensors could never enter a gradient
    with torch.inference_mode(mode=False), torch.no_grad():
        points = points.detach().clone()
        if not len(points):
            return points.new_zeros(0)
        if found == "weights":
            assert geometry.weights is not None
            return _check_weights(geometry.weights)
        if found == "cells":
            assert geometry.cells is not None
            return cell_weights(points, geometry.cells.detach().clone()).to(points.dtype)
        estimate = voronoi_weights if found == "voronoi" else density_weights
        return estimate(points, period).to(points.dtype)


def _check_weights(given: Tensor) -> Tensor:
    """Check that weights are finite, none negative and not all zero; return nothing to cache."""
    count = int((~(torch.isfinite(given) & (given >= 0))).sum())
    if count or not (given > 0).any():
        message = f"{count} of {len(given)} weights are negative or no numbers"
        raise _no_weights(
            message if count else f"all {len(given)} weights are zero",
            "a weight is the length, area or volume that a point stands for",
        )
    return given.new_zeros(0)


def _check_cells(cells: Tensor, points: Tensor) -> Tensor:
    outside = cells[(cells < 0) | (cells >= len(points))]
    if len(outside):
        raise _no_weights(
            f"a cell has the corner {int(outside[0])}, and there are {len(points)} points",
            "corners are numbers of points, from 0 on",
        )
    return cells


def _cell_volumes(points: Tensor, cells: Tensor) -> Tensor:
    """Compute the length, area or volume of each cell, (cells,)."""
    corners, d = points[cells], points.shape[1]
    k = cells.shape[1]
    if k == 8 and d == 3:
        result = _sum_of_simplices(corners, HEXAHEDRON_SIMPLICES)
    elif k == 4 and d == 2:
        result = _sum_of_simplices(corners, QUADRILATERAL_SIMPLICES) / 2
    elif k in {2, 3, 4} and k <= d + 1:
        result = _simplex_volume(corners)
    else:
        raise _no_weights(
            f"cells of {k} corners in {d} dimensions are not known",
            "split them into segments, triangles or tetrahedra",
        )
    if not (result > 0).any():
        cause = "four corners in space are a tetrahedron, and all of these are flat"
        raise _no_weights(
            cause if (k, d) == (4, 3) else f"all {len(cells)} cells are empty",
            "split quadrilaterals on a surface into triangles",
        )
    return result


def _sum_of_simplices(corners: Tensor, simplices: tuple[tuple[int, ...], ...]) -> Tensor:
    return torch.stack([_simplex_volume(corners[:, x]) for x in simplices]).sum(0)


def _simplex_volume(corners: Tensor) -> Tensor:
    """Compute sqrt(det(E E^T)) / k!, E the k edges from corner 0: (m, k + 1, d) -> (m,)."""
    edges = corners[:, 1:] - corners[:, :1]
    k, d = edges.shape[1:]
    if k == d:
        determinant: Tensor = torch.linalg.det(edges).abs()
    else:
        # by the triangular QR factor, whose entries are lengths: E E^T would lose half the digits
        upper = torch.linalg.qr(edges.transpose(1, 2), mode="r").R
        determinant = upper.diagonal(dim1=1, dim2=2).prod(1).abs()
    return determinant / math.factorial(k)


def _dimension(far: Tensor, ambient: int) -> int:
    """Estimate the dimension of the point set: `ambient`, or one less for points on a surface.

    The mean of log r_i, the distance to the i-th neighbour, grows like (1/1 + ... + 1/(i-1)) / D:
    of points at random exactly (Levina and Bickel 2004).

    Args:
        far: (n, k), the distances to the neighbours, in order.
    """
    if ambient == 1 or far.shape[1] < 2 * FIRST_NEIGHBOUR:
        return ambient
    apart = far[far[:, 0] > 0]
    if not len(apart):
        return ambient
    steps = torch.tensor([1 / i for i in range(1, far.shape[1])], dtype=torch.float64)
    x = torch.cat((steps.new_zeros(1), steps.cumsum(0)))[FIRST_NEIGHBOUR:]
    y = apart.double().log().mean(0).cpu()[FIRST_NEIGHBOUR:]
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    return ambient if slope < 1 / (ambient - 0.5) else ambient - 1


def _check_apart(points: Tensor, lo: Tensor, hi: Tensor, period: Period) -> None:
    """Raise OP0910 where two points coincide, or all points have one coordinate in common."""
    copies = len(points) - len(torch.unique(points, dim=0))
    if copies:
        raise _coincident(copies, len(points))
    ends = zip(lo.tolist(), hi.tolist(), period, strict=True)
    flat = [i for i, (a, b, p) in enumerate(ends) if p is None and a == b]
    if flat:
        raise _no_weights(
            f"all points have the same coordinate {flat[0]}, so their Voronoi cells have no volume",
            "give their cells, or estimate their weights by `measure = density`",
        )


def _check_positive(found: Tensor) -> None:
    empty = int((found <= 0).sum())
    if empty:
        raise _coincident(empty, len(found))


def _coincident(count: int, n: int) -> OpError:
    return _no_weights(
        f"{count} of {n} points lie where another one does, and stand for nothing",
        "leave out the copies: `torch.unique(xyz, dim=0)`",
        "or give their weights: `Geometry(points, weights = ...)`",
    )


def _no_weights(message: str, *helps: str) -> OpError:
    return fault("OP0910", message, helps=helps, file="points")
