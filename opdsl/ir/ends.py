"""Facts about functions at the ends of their axes: a small lattice, and its rules.

Near an end a smooth function is a0 + a1 d + a2 d^2 + ... with the distance d from the end. `End`
says which of these coefficients are zero; each block maps what is known about its inputs to what
is known about its result. Sine and cosine coefficients, and the error of the trapezoidal rule,
fall as fast as these zeros allow (`opdsl.ir.orders`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from enum import Flag, IntEnum
from functools import reduce
from typing import Literal

from opdsl.bases import PARITIES, Parity, Term
from opdsl.ir.spaces import Domain
from opdsl.records import value

SMOOTH = math.inf  # the smoothness of a function with all derivatives
EndWord = Literal["none", "dirichlet", "neumann", "odd", "even"]
# for each axis the words of the lower and the upper end; None: the axis is periodic
PortEnds = tuple[tuple[EndWord, EndWord] | None, ...]


class End(Flag):
    """Facts at one end of an axis; a function without a fact may still have the property.

    Attributes:
        VANISHES: a0 = 0.
        FLAT: a1 = 0, the slope vanishes.
        ODD: a0 = a2 = a4 = ... = 0, so the odd continuation is smooth.
        EVEN: a1 = a3 = a5 = ... = 0, so the even continuation is smooth.
    """

    NOTHING = 0
    VANISHES = 1
    FLAT = 2
    ODD = 4 | VANISHES
    EVEN = 8 | FLAT

    def __str__(self) -> str:
        return TEXTS[self]


NULL = End.ODD | End.EVEN  # all derivatives vanish
TEXTS: dict[End, str] = {
    End.NOTHING: "is free",
    End.VANISHES: "vanishes",
    End.FLAT: "has slope zero",
    End.VANISHES | End.FLAT: "vanishes with its slope",
    End.ODD: "is odd",
    End.ODD | End.FLAT: "is odd with slope zero",
    End.EVEN: "is even",
    End.EVEN | End.VANISHES: "is even and vanishes",
    NULL: "vanishes with all derivatives",
}
WORDS: dict[EndWord, End] = {
    "none": End.NOTHING,
    "dirichlet": End.VANISHES,
    "neumann": End.FLAT,
    "odd": End.ODD,
    "even": End.EVEN,
}
PARITY: dict[Parity, End] = {"odd": End.ODD, "even": End.EVEN}


class Seam(IntEnum):
    """How a function continues where a periodic axis closes, the roughest first."""

    JUMP = 0
    KINK = 1
    SMOOTH = 2


@value
class AxisBehaviour:
    """Facts about a function on one axis.

    Attributes:
        lower, upper: the facts at the ends; nothing on a periodic axis.
        seam: how the function continues across the ends of a periodic axis.
    """

    lower: End
    upper: End
    seam: Seam

    @property
    def ends(self) -> tuple[End, End]:
        """The facts at the lower and the upper end."""
        return self.lower, self.upper


@value
class Behaviour:
    """Facts about a function at the ends of each axis, and its smoothness inside.

    Attributes:
        axes: one entry for each axis of its domain.
        smoothness: the order of the trapezoidal rule that kinks inside of the domain allow:
            infinite without kinks, 2 for a kink, 3 for a jump of the second derivative.
        coordinates: whether the channels are the coordinates of the points of its grid.
    """

    axes: tuple[AxisBehaviour, ...]
    smoothness: float = SMOOTH
    coordinates: bool = False


EndRule = Callable[[End], End]


# ------------------------------------------------------------------- functions by their source


def free(domain: Domain) -> Behaviour:
    """Return the behaviour of a smooth function about which nothing is known at the ends."""
    return _everywhere(domain, End.NOTHING, Seam.SMOOTH)


def constant(domain: Domain) -> Behaviour:
    """Return the behaviour of a constant."""
    return _everywhere(domain, End.EVEN, Seam.SMOOTH)


def unknown(domain: Domain) -> Behaviour:
    """Return the behaviour of a function about which nothing is known, on periodic axes either."""
    return _everywhere(domain, End.NOTHING, Seam.JUMP)


def declared(domain: Domain, words: Iterable[tuple[EndWord, EndWord] | None]) -> Behaviour:
    """Return the behaviour that a program declares.

    Args:
        domain: the domain of the function.
        words: for each axis the words of both ends; None: it is periodic.
    """
    axes = zip(free(domain).axes, words, strict=True)
    return Behaviour(
        tuple(
            AxisBehaviour(WORDS[pair[0]], WORDS[pair[1]], axis.seam) if pair else axis
            for axis, pair in axes
        )
    )


def waves(domain: Domain, *terms: Term) -> Behaviour:
    """Return the behaviour of sums of functions of bases; without terms all are exponentials."""
    parts = [_waves(domain, term) for term in terms]
    return join(*parts) if parts else free(domain)


def _waves(domain: Domain, term: Term) -> Behaviour:
    axes = []
    for axis, family in zip(free(domain).axes, term, strict=True):
        parities = PARITIES.get(family)
        lower, upper = (PARITY[x] for x in parities) if parities else axis.ends
        axes.append(AxisBehaviour(lower, upper, axis.seam))
    return Behaviour(tuple(axes))


def _everywhere(domain: Domain, end: End, seam: Seam) -> Behaviour:
    # points and spheres have no ends
    closed = (periodic or not domain.regular for periodic in domain.periodic)
    return Behaviour(
        tuple(
            AxisBehaviour(End.NOTHING, End.NOTHING, seam)
            if x
            else AxisBehaviour(end, end, Seam.JUMP)
            for x in closed
        )
    )


# --------------------------------------------------------------------------------- rules


def map_ends(v: Behaviour, rule: EndRule, smoothness: float = SMOOTH) -> Behaviour:
    """Apply a rule to every end; kinks may make the function less smooth."""
    axes = (AxisBehaviour(rule(a.lower), rule(a.upper), a.seam) for a in v.axes)
    return Behaviour(tuple(axes), min(v.smoothness, smoothness))


def add_constant(v: Behaviour) -> Behaviour:
    """Return the behaviour of W v + b, or of any smooth function of the values of v."""
    return map_ends(v, _only_even)


def _only_even(end: End) -> End:
    return end & End.EVEN


def activation(v: Behaviour, *, zero: bool, odd: bool, smoothness: float = SMOOTH) -> Behaviour:
    """Return the behaviour of sigma(v).

    Args:
        v: the behaviour of v.
        zero: whether sigma(0) = 0.
        odd: whether sigma(-x) = -sigma(x).
        smoothness: of sigma, see `Behaviour`.
    """

    def rule(end: End) -> End:
        if end == NULL and zero:
            return NULL
        kept = End.ODD if odd else End.VANISHES if zero else End.NOTHING
        return end & (kept | End.EVEN)

    return map_ends(v, rule, smoothness)


def join(first: Behaviour, *more: Behaviour) -> Behaviour:
    """Return what is known about a sum, or about the channels of several functions together."""
    return reduce(_join, more, first)


def _join(u: Behaviour, v: Behaviour) -> Behaviour:
    return _combined(u, v, lambda a, b: a & b)


def product(u: Behaviour, v: Behaviour) -> Behaviour:
    """Return the behaviour of u v."""
    return _combined(u, v, _product_at_end)


def _product_at_end(a: End, b: End) -> End:
    if NULL in (a, b):
        return NULL
    result = (a | b) & End.VANISHES
    double_zero = End.VANISHES | End.FLAT
    if End.FLAT in a & b or End.VANISHES in a & b or double_zero in a or double_zero in b:
        result |= End.FLAT
    for x, y, parity in (
        (End.ODD, End.ODD, End.EVEN),
        (End.EVEN, End.EVEN, End.EVEN),
        (End.ODD, End.EVEN, End.ODD),
        (End.EVEN, End.ODD, End.ODD),
    ):
        if x in a and y in b:
            result |= parity
    return result


def _combined(u: Behaviour, v: Behaviour, rule: Callable[[End, End], End]) -> Behaviour:
    axes = (
        AxisBehaviour(rule(a.lower, b.lower), rule(a.upper, b.upper), min(a.seam, b.seam))
        for a, b in zip(u.axes, v.axes, strict=True)
    )
    return Behaviour(tuple(axes), min(u.smoothness, v.smoothness))


def smooth_values(inputs: tuple[Behaviour, ...], smoothness: float = SMOOTH) -> Behaviour:
    """Return the behaviour of a function of the values of functions on one domain.

    Args:
        inputs: the behaviour of the functions.
        smoothness: of the function of their values, see `Behaviour`.
    """
    return map_ends(join(*inputs), _only_even, smoothness)


# ------------------------------------------------------------------------------ in words


def describe(domain: Domain, v: Behaviour) -> tuple[str, ...]:
    """Write what is known at the ends: `is odd at both ends of x`; axes without facts are left out.

    Axes with equal facts at all of their ends are written together.
    """
    facts: dict[str, list[str]] = {}
    for axis, at in zip(domain.axes, v.axes, strict=True):
        for end, where in _places(at):
            if end:
                facts.setdefault(f"{end} at {where} of", []).append(axis.name)
    return tuple(f"{text} {' and '.join(names)}" for text, names in facts.items())


def _places(at: AxisBehaviour) -> tuple[tuple[End, str], ...]:
    if at.lower == at.upper:
        return ((at.lower, "both ends"),)
    return ((at.lower, "the lower end"), (at.upper, "the upper end"))


def ends_text(ends: PortEnds) -> str:
    """Write ends as a program does: `odd`, `(odd, even..none)`."""
    pairs = [x and (x[0] if x[0] == x[1] else "..".join(x)) for x in ends]
    open_ones = {x for x in pairs if x}
    if len(open_ones) == 1:
        return open_ones.pop()
    return f"({', '.join(x or 'periodic' for x in pairs)})"
