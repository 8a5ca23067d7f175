"""Bases of the functions on an axis: exponentials on circles, half-waves between two ends.

On an axis with ends, with t from 0 to 1, a family is named by what its functions do at the two
ends. `odd` at an end: they vanish there and continue with the opposite sign; `even`: their slope
vanishes there and they continue with the same sign.

| family | functions | lower end | upper end |
| --- | --- | --- | --- |
| `fourier` | exp(2 pi i k t), abs(k) <= m | periodic | periodic |
| `sine` | sin(pi k t), k = 1 ... m | odd | odd |
| `cosine` | cos(pi k t), k = 0 ... m - 1 | even | even |
| `quarter_sine` | sin(pi (k - 1/2) t), k = 1 ... m | odd | even |
| `quarter_cosine` | cos(pi (k - 1/2) t), k = 1 ... m | even | odd |
"""

from __future__ import annotations

from typing import Literal, cast

from opdsl.sampling import GridSampling, points_at_ends

Family = Literal["fourier", "sine", "cosine", "quarter_sine", "quarter_cosine"]
Basis = Literal[
    "fourier", "auto", "sine", "cosine", "quarter_sine", "quarter_cosine", "sine_cosine"
]
Bases = Basis | tuple[Basis, ...]
EndCondition = Literal["dirichlet", "neumann", "none"]
EndConditions = tuple[EndCondition, EndCondition]
Parity = Literal["odd", "even"]
Term = tuple[Family, ...]  # a family for each axis

PARITIES: dict[Family, tuple[Parity, Parity]] = {
    "sine": ("odd", "odd"),
    "cosine": ("even", "even"),
    "quarter_sine": ("odd", "even"),
    "quarter_cosine": ("even", "odd"),
}
HALF_WAVES: tuple[Family, ...] = tuple(PARITIES)
FAMILY_OF: dict[tuple[Parity, Parity], Family] = {v: k for k, v in PARITIES.items()}

# the number of functions that n points can tell apart, minus n; a family that is missing has
# functions that do not vanish at an end without a point
CAPACITY: dict[str, dict[Family, int]] = {
    "both": {"sine": -2, "cosine": 0, "quarter_sine": -1, "quarter_cosine": -1},
    "centres": dict.fromkeys(HALF_WAVES, 0),
    "interior": {"sine": 0},
    "lower": {"sine": -1, "quarter_cosine": 0},
    "upper": {"sine": -1, "quarter_sine": 0},
}

# whether the lower and the upper end lack a point; at cell centres none is needed there
MISSING: dict[str, tuple[bool, bool]] = {
    "both": (False, False),
    "centres": (False, False),
    "interior": (True, True),
    "lower": (False, True),
    "upper": (True, False),
}


def automatic(ends: EndConditions | None) -> Basis:
    """Return the basis that follows the conditions at the ends of an axis; None: it is periodic.

    Cosines suit an axis with two Neumann ends: pointwise functions of an even function are even.
    Elsewhere sines and cosines together were measured to be best, since the functions inside of a
    network do not vanish where the solution does.
    """
    if ends is None:
        return "fourier"
    return "cosine" if ends == ("neumann", "neumann") else "sine_cosine"


def terms(bases: tuple[Basis, ...], ends: tuple[EndConditions | None, ...]) -> tuple[Term, ...]:
    """Return the terms of a spectral convolution, each with a family for each axis.

    There is one term, or two if an axis has `sine_cosine`: one whose functions are odd at the ends
    of these axes (even at Neumann ends), one with cosines.

    Args:
        bases: the word of each axis.
        ends: the conditions at the ends of each axis; None: it is periodic.
    """
    chosen = [automatic(e) if b == "auto" else b for b, e in zip(bases, ends, strict=True)]
    odd = tuple(_family(b, e, 0) for b, e in zip(chosen, ends, strict=True))
    even = tuple(_family(b, e, 1) for b, e in zip(chosen, ends, strict=True))
    return (odd,) if odd == even else (odd, even)


def _family(basis: Basis, ends: EndConditions | None, term: int) -> Family:
    if basis == "auto":
        raise AssertionError("`auto` is resolved before")
    if basis != "sine_cosine":
        return basis
    if term == 1:
        return "cosine"
    return family_of(ends or ("none", "none"))


def family_of(ends: EndConditions) -> Family:
    """Return the family that is even at Neumann ends and odd at all others."""
    return FAMILY_OF[_parity(ends[0]), _parity(ends[1])]


def _parity(condition: EndCondition) -> Parity:
    return "even" if condition == "neumann" else "odd"


def carried(family: Family, sampling: GridSampling) -> bool:
    """Return whether quadrature on points with this sampling is exact for a family.

    Otherwise a function of the family does not vanish at an end without a point.
    """
    return family == "fourier" or family in CAPACITY[sampling]


def extrapolated(family: Family, sampling: GridSampling) -> tuple[bool, bool]:
    """Return whether a value has to be extrapolated to the lower and to the upper end.

    That is where the functions do not vanish and the sampling has no point; cells need none.
    """
    if carried(family, sampling):
        return (False, False)
    lower, upper = PARITIES[family]
    missing = MISSING[sampling]
    return lower == "even" and missing[0], upper == "even" and missing[1]


def completed(family: Family, sampling: GridSampling) -> GridSampling:
    """Return the sampling of the points together with the ends to which values are extrapolated."""
    lacks = zip(MISSING[sampling], extrapolated(family, sampling), strict=True)
    lower, upper = (missing and not added for missing, added in lacks)
    if sampling == "centres" or (lower and upper):
        return sampling
    if lower or upper:
        return "upper" if lower else "lower"
    return "both"


def capacity(family: Family, sampling: GridSampling, n: int) -> int:
    """Return the greatest number of modes that n points resolve; |k| <= m for `fourier`."""
    if family == "fourier":
        return (n - 1) // 2
    added = sum(extrapolated(family, sampling))
    most = n + added + CAPACITY[completed(family, sampling)][family]
    return max(min(most, n - _zeros(family, sampling)), 0)


def points_needed(family: Family, sampling: GridSampling, modes: int) -> int:
    """Return the least number of points that resolve `modes` modes."""
    if family == "fourier":
        return 2 * modes + 1
    added = sum(extrapolated(family, sampling))
    least = modes - added - CAPACITY[completed(family, sampling)][family]
    return max(least, modes + _zeros(family, sampling), 1)


def _zeros(family: Family, sampling: GridSampling) -> int:
    """Return the number of points at ends where all functions of the family vanish."""
    if sampling == "centres":
        return 0
    pairs = zip(PARITIES[family], MISSING[sampling], strict=True)
    return sum(parity == "odd" and not missing for parity, missing in pairs)


# --- interpolants ------------------------------------------------------------------------------

# the ends whose values a polynomial takes up before the rest is expanded
Lift = Literal["none", "lower", "upper", "both"]
LIFTS: dict[tuple[bool, bool], Lift] = {
    (False, False): "none",
    (True, False): "lower",
    (False, True): "upper",
    (True, True): "both",
}


def interpolant(
    basis: Basis, ends: EndConditions | None, sampling: GridSampling
) -> tuple[Family, Lift] | None:
    """Return how a function on an axis is interpolated between its points.

    `auto` and `sine_cosine` subtract a polynomial with the values at the ends and expand the rest,
    which vanishes there, in functions that are odd at the ends, or even at Neumann ends. Cell
    centres have no values at the ends and take cosines. An end without a point is odd, which only a
    function does that vanishes there.

    Args:
        basis: the word of the axis.
        ends: the conditions at its ends; None: it is periodic.
        sampling: where its points are.

    Returns:
        The family of the rest and the ends whose values are subtracted; None if the points do not
        determine such an interpolant.
    """
    if basis == "fourier" or ends is None:
        return "fourier", "none"
    if basis not in {"auto", "sine_cosine"}:
        family = cast("Family", basis)
        return (family, "none") if carried(family, sampling) else None
    if sampling == "centres":
        return "cosine", "none"
    has_point = points_at_ends(sampling)
    for condition, point in zip(ends, has_point, strict=True):
        if not point and condition != "dirichlet":
            return None
    parities = _parity(ends[0]), _parity(ends[1])
    lower, upper = (p == "odd" and point for p, point in zip(parities, has_point, strict=True))
    return FAMILY_OF[parities], LIFTS[lower, upper]


def vanishing_interpolant(
    ends: EndConditions | None, sampling: GridSampling
) -> tuple[Family, Lift] | None:
    """Return the interpolant of a function that has the declared conditions.

    It differs from `interpolant("auto", ...)` on cell centres, where the conditions replace the
    unknown values at the ends.
    """
    if ends is None or sampling != "centres":
        return interpolant("auto", ends, sampling)
    odd: tuple[Parity, Parity] = ("odd", "even")
    return FAMILY_OF[odd[ends[0] != "dirichlet"], odd[ends[1] != "dirichlet"]], "none"
