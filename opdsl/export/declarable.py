"""Whether a program can declare a domain that a graph file describes."""

from __future__ import annotations

import math
import re

from opdsl.export.document import NAME
from opdsl.ir.axes import Axis
from opdsl.ir.spaces import REGULAR, VECTOR, Domain
from opdsl.ir.steps import Coarsen, Extend

BALL = ((-90.0, 90.0, "none"), (0.0, 360.0, "periodic"))  # the axes of a sphere


def can_be_declared(domain: Domain) -> bool:
    """Return whether a program can declare the domain."""
    match domain.kind:
        case "vector":
            return domain == VECTOR
        case "product":
            parts = domain.factors
            names = [y.name for x in parts for y in x.declared]
            distinct = len(set(names)) == len(names) >= 2
            return distinct and domain == Domain.product(parts) and all(map(can_be_declared, parts))
        case "spectrum":
            return _is_spectrum(domain)
        case "any":
            return False
    pairs = zip(domain.steps, (None, *domain.steps), strict=False)
    return _is_declared(domain) and all(_is_step(x, y, len(domain.axes)) for x, y in pairs)


def _is_spectrum(domain: Domain) -> bool:
    base, modes = domain.factors, domain.modes
    if len(base) != 1 or modes is None or len(modes) != base[0].dims or min(modes) < 0:
        return False
    spectrum = base[0].spectrum(modes, halved=domain.halved)
    return domain == spectrum and base[0].regular and can_be_declared(base[0])


def _is_declared(domain: Domain) -> bool:
    names = [x.name for x in domain.axes]
    well_named = re.fullmatch(NAME, domain.name) and all(re.fullmatch(NAME, x) for x in names)
    plain = not domain.factors and domain.modes is None and domain.halved
    return bool(well_named and plain and all(map(_is_axis, domain.axes))) and _of_kind(domain)


def _of_kind(domain: Domain) -> bool:
    count, scattered = len({x.name for x in domain.axes}), domain.scattered
    if (domain.ambient is not None) != scattered or count != len(domain.axes):
        return False
    if (domain.sampling is not None) != (domain.kind == "sphere"):
        return False
    if domain.kind not in REGULAR and any(x.sampling for x in domain.axes):
        return False
    if (domain.measure is not None) != scattered:
        return False
    if not scattered and (domain.geometry != "shared" or domain.period):
        return False
    if not _is_period(domain.period, domain.ambient or 0):
        return False
    if domain.kind == "sphere":
        return tuple((x.lo, x.hi, x.boundary) for x in domain.axes) == BALL
    return count == 1 if scattered or domain.kind == "interval" else count >= 1


def _is_period(period: tuple[float | None, ...] | None, dims: int) -> bool:
    if period is None:
        return True
    lengths = [p for p in period if p is not None]
    return (
        len(period) == dims and bool(lengths) and all(math.isfinite(p) and p > 0 for p in lengths)
    )


def _is_axis(axis: Axis) -> bool:
    numbers = (axis.min, axis.max, axis.multiple_of, axis.fixed, axis.size)
    finite = math.isfinite(axis.lo) and math.isfinite(axis.hi) and axis.lo < axis.hi
    counts = all(x is None or x >= 1 for x in numbers)
    return finite and counts and (axis.max is None or axis.max >= axis.least)


def _is_step(step: Coarsen | Extend, before: Coarsen | Extend | None, dims: int) -> bool:
    if isinstance(step, Coarsen):
        return step.factor > 1 and not isinstance(before, Coarsen)
    part = bool(re.fullmatch(NAME, step.name)) and step.denominator > 0
    several = isinstance(step.numerator, tuple)
    numerators = step.numerator if isinstance(step.numerator, tuple) else (step.numerator,)
    inside = all(0 <= x <= 8 * step.denominator for x in numerators)
    return part and inside and any(numerators) and (not several or len(numerators) == dims)
