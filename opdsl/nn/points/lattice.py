"""Coarsening of point sets: one point for each occupied cell of a lattice.

A lattice is fixed in space. So as points get denser, its centres and their weights have limits.
Results are cached by geometry.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from opdsl.nn.byte_lru_cache import ByteLRUCache
from opdsl.nn.points.geometry import Geometries, Geometry
from opdsl.nn.points.measure import WeightRule, quadrature_weights
from opdsl.nn.points.neighbours.pairs import Period, to_widest_float, wrap_into_period
from opdsl.nn.points.neighbours.search import check_finite

LEVEL_CACHE = ByteLRUCache[Geometries](
    lambda x: tuple(y for g in x for y in (g.points, g.weights, g.shares))
)


# the number of cells depends on the data, so it cannot be traced
@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch does not type it
def coarsen(
    geometry: Geometry,
    spacings: tuple[float, ...],
    measure: WeightRule | None,
    period: Period | None = None,
) -> Geometries:
    """Coarsen a geometry, once for each spacing.

    Args:
        geometry: of one sample.
        spacings: cell widths of the lattices, in the unit of the coordinates.
        measure: how quadrature weights are found where the geometry has none; None: without them.
        period: the length after which space repeats, for each coordinate. Cells are shrunk so that
            a whole number fits into it.

    Returns:
        In the dtype of the coordinates, without gradients. `weights` are the sums over cells, None
        where the points have none; `shares` are the numbers of points in each cell.

    Raises:
        OpError: OP0910, there are no weights to be found; OP0612, a number is not finite.
    """
    key = (geometry.measure_key, spacings, measure, period, geometry.points.device)
    return LEVEL_CACHE.get(key, lambda: _levels_of(geometry, spacings, measure, period))


def lattice_cells(
    points: Tensor, spacing: float, period: Period | None = None
) -> tuple[Tensor, int]:
    """Return the index of the lattice cell of each point, (n,), and the number of occupied cells.

    Args:
        points: (n, d).
        spacing: greatest cell width.
        period: for each coordinate; points lie inside of it.
    """
    around = period or (None,) * points.shape[1]
    steps = [spacing if p is None else p / math.ceil(p / spacing) for p in around]
    places = torch.floor(points / points.new_tensor(steps)).long()
    result, numbers = torch.unique(places, dim=0, return_inverse=True)
    return numbers, len(result)


# --- parts -------------------------------------------------------------------------------------


def _levels_of(
    geometry: Geometry,
    spacings: tuple[float, ...],
    measure: WeightRule | None,
    period: Period | None,
) -> Geometries:
    check_finite(geometry.points)
    volumes = None if measure is None else quadrature_weights(geometry, measure, period)
    # inference tensors could never enter a gradient
    with torch.inference_mode(mode=False), torch.no_grad():
        points = wrap_into_period(to_widest_float(geometry.points.detach().clone()), period)
        masses = None if volumes is None else to_widest_float(volumes.detach().clone())
        result = (_level(points, masses, spacing, period) for spacing in spacings)
        return tuple(_rounded(x, geometry.points.dtype) for x in result)


def _level(points: Tensor, given: Tensor | None, spacing: float, period: Period | None) -> Geometry:
    """Compute the centre of mass of each cell; the mean of its points where the mass is zero."""
    numbers, count = lattice_cells(points, spacing, period)
    shares = torch.bincount(numbers, minlength=count).to(points.dtype)
    if given is None:
        return Geometry(_sums(points, numbers, count) / shares[:, None], shares=shares)
    total = _sums(given[:, None], numbers, count)
    mean = _sums(points, numbers, count) / shares[:, None]
    # weighted differences from the mean, which are small, so that no digits cancel
    away = (points - mean[numbers]) * given[:, None]
    centres = mean + _sums(away, numbers, count) / total.clamp(min=torch.finfo(total.dtype).tiny)
    return Geometry(centres, weights=total[:, 0], shares=shares)


def _sums(x: Tensor, numbers: Tensor, count: int) -> Tensor:
    return x.new_zeros(count, x.shape[1]).index_add(0, numbers, x)


def _rounded(found: Geometry, dtype: torch.dtype) -> Geometry:
    volumes = None if found.weights is None else found.weights.to(dtype)
    assert found.shares is not None
    return Geometry(found.points.to(dtype), volumes, shares=found.shares.to(dtype))
