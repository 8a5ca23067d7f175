"""Where the points of an axis are: which ends carry a point, or cell centres.

With `n` points on [lo, hi] point j lies at lo + (j + offset) (hi - lo) / spacings.
"""

from __future__ import annotations

from typing import Literal

GridSampling = Literal["both", "lower", "upper", "interior", "centres"]

# the offset of the first point from `lo` in spacings, and the spacings of n points minus n
PLACES: dict[str, tuple[float, int]] = {
    "both": (0.0, -1),
    "lower": (0.0, 0),
    "upper": (1.0, 0),
    "interior": (1.0, 1),
    "centres": (0.5, 0),
}
SAMPLINGS: tuple[GridSampling, ...] = ("both", "lower", "upper", "interior", "centres")
# on a circle both ends are one point, which cannot be there twice or not at all
PERIODIC: tuple[GridSampling, ...] = ("lower", "upper", "centres")


def default_sampling(*, periodic: bool) -> GridSampling:
    """Return the sampling of an axis that declares none."""
    return "lower" if periodic else "both"


def samplings_of(
    periodic: tuple[bool, ...], declared: tuple[GridSampling, ...] | None = None
) -> tuple[GridSampling, ...]:
    """Return the sampling of each axis: the declared ones, or the default ones if None."""
    return declared or tuple(default_sampling(periodic=x) for x in periodic)


def offset(sampling: GridSampling) -> float:
    """Return how many spacings the first point lies above the lower end."""
    return PLACES[sampling][0]


def points_at_ends(sampling: GridSampling) -> tuple[bool, bool]:
    """Return whether a point lies at the lower and at the upper end."""
    return sampling in {"both", "lower"}, sampling in {"both", "upper"}


def spacings(sampling: GridSampling, n: int) -> int:
    """Return how many spacings n points divide the axis into, at least 1."""
    extra = PLACES[sampling][1]
    return n + extra if extra >= 0 else max(n + extra, 1)


def points_of(sampling: GridSampling, count: int) -> int:
    """Return the number of points with `count` spacings; the inverse of `spacings`."""
    return count - PLACES[sampling][1]


def ring(sampling: GridSampling) -> GridSampling:
    """Return the sampling of an axis after it was extended to a ring, whose ends are one point."""
    rings: dict[GridSampling, GridSampling] = {"both": "lower", "interior": "upper"}
    return rings.get(sampling, sampling)


def end_weights(sampling: GridSampling, *, periodic: bool) -> tuple[float, float]:
    """Return the quadrature weights of the first and of the last point, in spacings.

    All others have the weight 1. At an end with a point this is the trapezoidal rule, with cell
    centres the midpoint rule, and at an end without a point the open rule of second order, which
    continues the outermost value to the end and assumes nothing about the value there.

    Source: Press et al. 2007, Numerical Recipes, eqs. (4.1.11), (4.1.16), (4.1.19).
    """
    if periodic or sampling == "centres":
        return 1.0, 1.0
    lower, upper = (0.5 if point else 1.5 for point in points_at_ends(sampling))
    return lower, upper


def line_weights(sampling: GridSampling, n: int, *, periodic: bool) -> list[float]:
    """Return the quadrature weights of n points on an axis of length 1."""
    if n == 1:
        return [1.0]
    first, last = end_weights(sampling, periodic=periodic)
    weights = [first, *[1.0] * (n - 2), last]
    return [x / spacings(sampling, n) for x in weights]


def positions(sampling: GridSampling, n: int) -> tuple[float, ...]:
    """Return where the n points lie, as fractions of the axis from its lower end."""
    first, count = offset(sampling), spacings(sampling, n)
    return tuple((j + first) / count for j in range(n))
