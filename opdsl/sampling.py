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


def offset(sampling: GridSampling) -> float:
    """Return how many spacings the first point lies above the lower end."""
    return PLACES[sampling][0]


def spacings(sampling: GridSampling, n: int) -> int:
    """Return how many spacings n points divide the axis into, at least 1."""
    return max(n + PLACES[sampling][1], 1)


def points_of(sampling: GridSampling, count: int) -> int:
    """Return the number of points with `count` spacings; the inverse of `spacings`."""
    return count - PLACES[sampling][1]


def positions(sampling: GridSampling, n: int) -> tuple[float, ...]:
    """Return where the n points lie, as fractions of the axis from its lower end."""
    first, count = offset(sampling), spacings(sampling, n)
    return tuple((j + first) / count for j in range(n))
