"""Coarse points for fine ones: the centres of the cells of a lattice that the points fall into.

What comes in: the geometry of one sample and the widths of lattices. What goes out: a geometry for
each lattice. A lattice lies where it lies, whatever the points are: as they get denser its centres
and what they stand for have limits. What was found for a geometry is kept for the next call.
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


# what is found by searching is no arithmetic that could be traced
@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch does not type it
def coarsen(
    geometry: Geometry,
    spacings: tuple[float, ...],
    measure: WeightRule | None,
    period: Period | None = None,
) -> Geometries:
    """A coarser geometry for each spacing.

    Args:
        geometry: of one sample.
        spacings: how wide the cells of each lattice are, in the unit of the coordinates.
        measure: how volumes are estimated where none are given; None: they are not asked for.
        period: of space, for each coordinate. A whole number of cells fits into it.

    Returns:
        In the format of the coordinates, without gradients. `weights` are the sums over cells, None
        where the points have none; `shares` are how many points there are in each.

    Raises:
        OpError: as `weights`; OP0612, a coordinate is not finite.
    """
    key = (geometry.measure_key, spacings, measure, period, geometry.points.device)
    return LEVEL_CACHE.get(key, lambda: _levels_of(geometry, spacings, measure, period))


def lattice_cells(
    points: Tensor, spacing: float, period: Period | None = None
) -> tuple[Tensor, int]:
    """The number of the lattice cell of each point, (n,), cells in order, and how many have any.

    Args:
        points: (n, d).
        spacing: how wide they are at most.
        period: for each coordinate; points lie inside of it.
    """
    around = period or (None,) * points.shape[1]
    steps = [spacing if p is None else p / math.ceil(p / spacing) for p in around]
    places = torch.floor(points / points.new_tensor(steps)).long()
    found, numbers = torch.unique(places, dim=0, return_inverse=True)
    return numbers, len(found)


# ------------------------------------------------------------------------ parts


def _levels_of(
    geometry: Geometry,
    spacings: tuple[float, ...],
    measure: WeightRule | None,
    period: Period | None,
) -> Geometries:
    check_finite(geometry.points)
    volumes = None if measure is None else quadrature_weights(geometry, measure, period)
    # what is made in inference mode could never enter a gradient
    with torch.inference_mode(mode=False), torch.no_grad():
        points = wrap_into_period(to_widest_float(geometry.points.detach().clone()), period)
        given = None if volumes is None else to_widest_float(volumes.detach().clone())
        made = (_level(points, given, spacing, period) for spacing in spacings)
        return tuple(_rounded(x, geometry.points.dtype) for x in made)


def _level(points: Tensor, given: Tensor | None, spacing: float, period: Period | None) -> Geometry:
    """The centres of mass of the points in each cell; those of no mass at their mean."""
    numbers, count = lattice_cells(points, spacing, period)
    shares = torch.bincount(numbers, minlength=count).to(points.dtype)
    if given is None:
        return Geometry(_sums(points, numbers, count) / shares[:, None], shares=shares)
    total = _sums(given[:, None], numbers, count)
    mean = _sums(points, numbers, count) / shares[:, None]
    away = (points - mean[numbers]) * given[:, None]  # small, so that nothing cancels
    centres = mean + _sums(away, numbers, count) / total.clamp(min=torch.finfo(total.dtype).tiny)
    return Geometry(centres, weights=total[:, 0], shares=shares)


def _sums(x: Tensor, numbers: Tensor, count: int) -> Tensor:
    return x.new_zeros(count, x.shape[1]).index_add(0, numbers, x)


def _rounded(found: Geometry, dtype: torch.dtype) -> Geometry:
    volumes = None if found.weights is None else found.weights.to(dtype)
    assert found.shares is not None
    return Geometry(found.points.to(dtype), volumes, shares=found.shares.to(dtype))
