"""Coordinates, periods and weights of the points of a domain, for blocks that pair points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opdsl.ir.block import Refusal
from opdsl.ir.spaces import KINDS, Domain
from opdsl.ir.steps import Extend

if TYPE_CHECKING:
    from torch import nn

    from opdsl.nn.points.integral.gno import Side
    from opdsl.sampling import GridSampling


def coordinate_count(domain: Domain, at: str | None, block: str = "gno") -> int:
    """Return the number of coordinates of the points of a domain.

    Raises:
        Refusal: OP0301, its points have none.
    """
    is_extended = any(isinstance(y, Extend) for part in domain.parts for y in part.steps)
    if domain.scattered and domain.ambient:
        return domain.ambient
    if domain.kind == "sphere":
        return 3
    if domain.regular and not is_extended:
        return domain.dims
    raise Refusal(
        "OP0301",
        f"`{block}` is defined on grids, points and spheres only",
        f"`{domain}` extends a grid" if is_extended else f"this is {KINDS[domain.kind]}",
        at=at or 0,
    )


def periods_of(domain: Domain) -> tuple[float | None, ...] | None:
    """Return the period of each coordinate, None without one; None if the domain declares none."""
    if not domain.regular:
        return domain.period
    ends = zip(domain.axes, domain.periodic, strict=True)
    return tuple(a.hi - a.lo if periodic else None for a, periodic in ends)


def declares_period(*domains: Domain) -> bool:
    """Return whether points of one of the domains declare a period."""
    return any(any(x.period or ()) for x in domains)


def side_of(domain: Domain) -> Side:
    """Return coordinates and quadrature weights of the points of a domain."""
    from opdsl.nn.points.integral import gno

    measure = domain.measure or "uniform"
    return gno.Side(place_of(domain), cells_of(domain), measure, domain.period)


def place_of(domain: Domain) -> nn.Module | None:
    """Return the coordinates of a grid or a sphere as a module; None for points."""
    from opdsl.nn.grid import coords
    from opdsl.nn.sphere import sampling

    if domain.scattered:
        return None
    if domain.kind == "sphere":
        return sampling.UnitVectors(domain.sampling or "gauss_legendre")
    return coords.Coords(*_box(domain))


def cells_of(domain: Domain) -> nn.Module | None:
    """Return the quadrature weights of a grid or a sphere; None for points."""
    from opdsl.nn.points.integral import gno

    if domain.scattered:
        return None
    if domain.kind == "sphere":
        return gno.SphereWeights(domain.sampling or "gauss_legendre")
    return gno.GridWeights(*_box(domain))


def _box(
    domain: Domain,
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[bool, ...], tuple[GridSampling, ...] | None]:
    """Return the ends of the axes of a grid, whether they are periodic, and their samplings."""
    ends = tuple(a.lo for a in domain.axes), tuple(a.hi for a in domain.axes)
    return *ends, domain.periodic, domain.declared_samplings
