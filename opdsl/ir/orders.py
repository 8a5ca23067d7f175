"""Orders of convergence of integrals over the points of a grid, by the Euler-Maclaurin formula.

The trapezoidal and the midpoint rule of a smooth f on an interval have the error
sum_k c_k h^(2 k) (f^(2 k - 1)(hi) - f^(2 k - 1)(lo)): only odd derivatives at the ends count. They
vanish where f is even, so there the error falls faster than every power of h (`SPECTRAL`); where
only the slope vanishes the order is 4, and else 2. On a circle there are no ends.

Source: Trefethen and Weideman 2014, doi:10.1137/130932132.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from opdsl.bases import HALF_WAVES, PARITIES, Family, Lift, Parity, Term, carried, extrapolated
from opdsl.ir.axes import Axis
from opdsl.ir.ends import AxisBehaviour, Behaviour, End, Seam, product
from opdsl.ir.spaces import Domain
from opdsl.records import value

SPECTRAL = math.inf
EXTRAPOLATED = 3  # a value at an end, from a line, is wrong by h^2 and has a weight of h


@value
class Order:
    """The error falls as h^value with the spacing h; `why` is the reason for a finite order."""

    value: float
    why: str = ""

    def __str__(self) -> str:
        return order_text(self.value)


EXACT = Order(SPECTRAL)  # of a block that has no error of discretisation


def order_text(order: float) -> str:
    """Write an order: `spectral`, `2`."""
    return "spectral" if order == SPECTRAL else f"{order:g}"


def least(*orders: Order | None) -> Order | None:
    """Return the least order; None, an unknown one, counts as less than all."""
    known = [x for x in orders if x is not None]
    return min(known, key=lambda x: x.value, default=EXACT) if len(known) == len(orders) else None


# ------------------------------------------------------------------------- coefficients


def coefficients(domain: Domain, v: Behaviour, *terms: Term) -> Order:
    """Return the order of the coefficients of v in bases, one family for each axis and term.

    Args:
        domain: the grid.
        v: what is known about v.
        terms: the families of each term; none: `fourier` on every axis.
    """
    circles: list[Family] = ["fourier"] * domain.dims
    families = terms or (tuple(circles),)
    orders = [Order(v.smoothness, "an activation makes kinks")]
    for term in families:
        orders += _along_axes(domain, v, term)
    return min(orders, key=lambda x: x.value)


def _along_axes(domain: Domain, v: Behaviour, term: Term) -> Iterator[Order]:
    for axis, closed, at, family in zip(domain.axes, domain.periodic, v.axes, term, strict=True):
        if axis.pinned:  # it is never refined
            continue
        if family != "fourier":
            yield half_waves(axis, at, family)
        else:
            yield _on_circle(axis, at) if closed else _closed_up(axis, at)


def _on_circle(axis: Axis, at: AxisBehaviour) -> Order:
    """Return the order of exponentials on a periodic axis, whose breaks lie on its seam."""
    if at.seam == Seam.SMOOTH:
        return EXACT
    if at.seam == Seam.KINK:
        return Order(2, f"exponentials of a function with a kink on {axis.name}")
    order = 2 if axis.points == "centres" else 1
    return Order(order, f"exponentials of a function with a jump on {axis.name}")


def _closed_up(axis: Axis, at: AxisBehaviour) -> Order:
    """Return the order of exponentials on an axis with two ends, which close it to a circle.

    With both ends, or neither, n points have the period of n spacings instead of the length, so
    that the modes themselves move. With one end the jump counts with a whole weight, not a half.
    """
    vanishes = End.VANISHES in at.lower & at.upper
    smooth = axis.points == "centres" or (axis.points in ("lower", "upper") and vanishes)
    return Order(2 if smooth else 1, f"exponentials close the ends of {axis.name}")


def half_waves(axis: Axis, at: AxisBehaviour, family: Family) -> Order:
    """Return the order of sines or cosines: that of f phi at its worse end."""
    pairs = list(zip(at.ends, PARITIES[family], strict=True))
    orders = [_times_wave(end, parity) for end, parity in pairs]
    for i, missing in enumerate(extrapolated(family, axis.points)):
        orders[i] = min(orders[i], EXTRAPOLATED) if missing else orders[i]
    worst = min(range(2), key=lambda i: orders[i])
    end, where = at.ends[worst], ("lower", "upper")[worst]
    shape = {"odd": "vanish", "even": "are even"}[PARITIES[family][worst]]
    function = "a free function" if not end else f"a function that {end}"
    return Order(
        orders[worst], f"waves that {shape} at the {where} end of {axis.name}, of {function} there"
    )


def best_half_waves(axis: Axis, at: AxisBehaviour, word: Family) -> Family:
    """Return the half-waves of the highest order, `word` unless others are better."""
    possible = [word, *(x for x in HALF_WAVES if carried(x, axis.points))]
    return max(possible, key=lambda x: half_waves(axis, at, x).value)


def _times_wave(end: End, parity: Parity) -> float:
    """Return the order at an end where the wave is odd or even."""
    full, part = (End.ODD, End.VANISHES) if parity == "odd" else (End.EVEN, End.FLAT)
    if full in end:
        return SPECTRAL
    return 4 if part in end else 2


# ------------------------------------------------------------------------- interpolants


def interpolant(domain: Domain, v: Behaviour, chosen: tuple[tuple[Family, Lift], ...]) -> Order:
    """Return the order, in the mean square, of an interpolant of v on each axis.

    Its error is that of the functions that are left out, whose coefficients fall as fast as the
    continuation of v is smooth: as k^-1 with a jump, k^-2 with a kink, and so on; their mean square
    beyond k is a power k^(1/2) larger.

    Args:
        domain: the grid.
        v: what is known about v.
        chosen: for each axis the family, and the ends whose values a polynomial takes up.
    """
    result = [Order(v.smoothness, "an activation makes kinks")]
    axes = zip(domain.axes, domain.periodic, v.axes, chosen, strict=True)
    for axis, closed, at, (family, lift) in axes:
        if axis.pinned:
            continue
        if family == "fourier":
            result.append(_on_circle(axis, at) if closed else _closed_up(axis, at))
            continue
        lifted = (lift in {"lower", "both"}, lift in {"upper", "both"})
        rows = zip(at.ends, PARITIES[family], lifted, strict=True)
        falls = [_left_out(end, parity, lifted=x) for end, parity, x in rows]
        side = ("lower", "upper")[falls.index(min(falls))]
        result.append(Order(min(falls), f"`{family}` at the {side} end of {axis.name}"))
    return min(result, key=lambda x: x.value)


def _left_out(end: End, parity: Parity, *, lifted: bool) -> float:
    """Return the order of the functions that an interpolant leaves out, at one end."""
    if (End.ODD if parity == "odd" else End.EVEN) in end:
        return SPECTRAL
    if parity == "even":
        return 3.5 if End.FLAT in end else 1.5
    return 2.5 if lifted or End.VANISHES in end else 0.5


# ------------------------------------------------------------------- integrals and means


def integral(domain: Domain, v: Behaviour) -> Order | None:
    """Return the order of the integral by the trapezoidal or midpoint rule; None on points."""
    if any(x.scattered for x in domain.parts):
        return None
    orders = [Order(v.smoothness, "an activation makes kinks")]
    for axis, closed, at in zip(domain.axes, domain.periodic, v.axes, strict=True):
        if axis.pinned:
            continue
        if closed or not domain.regular:
            orders.append(_on_circle(axis, at))
        else:
            order = min(_times_wave(end, "even") for end in at.ends)
            if axis.points not in ("both", "centres"):
                order = min(order, EXTRAPOLATED)
            orders.append(Order(order, f"the trapezoidal rule on {axis.name}"))
    return min(orders, key=lambda x: x.value)


def mean(domain: Domain, v: Behaviour) -> Order | None:
    """Return the order of a mean in which all points count the same; None on points.

    Where an end carries a point, it should count one half.
    """
    whole = integral(domain, v)
    if whole is None:
        return None
    orders = [whole]
    for axis, closed in zip(domain.axes, domain.periodic, strict=True):
        if axis.pinned:
            continue
        if domain.regular and not closed and axis.points != "centres":
            orders.append(Order(1, f"points at the ends of {axis.name} count as much as others"))
        elif not domain.regular:
            orders.append(Order(1, "all points of a sphere count the same"))
    return min(orders, key=lambda x: x.value)


def squares(v: Behaviour) -> Behaviour:
    """Return the behaviour of v^2, and so of products of channels of v."""
    return product(v, v)
