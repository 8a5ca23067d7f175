"""Settings and checks of the problems whose solutions are sums of sines in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate.problems.grid_pairs import GridSettings
from opdsl.data.generate.sampling.sine_series import SeriesValues

Floats = NDArray[np.float64]
Distribution = Literal["in", "out"]

MOST_TERMS, MOST_EXPONENT = 512, 4.0
PLACES = np.array([0.1234, 0.3141, 0.4567, 0.6180, 0.8765])  # of the check, on each axis
PARTS = (8, 16, 32)  # of the shortest half wave: the widths of the check
LEAST_ORDER = 1.9  # two in theory


@dataclass(frozen=True, slots=True)
class SineLaw:
    """The number of sines K on each axis, and the exponent r of i^2 + j^2."""

    terms: int
    exponent: float


def sine_law(
    settings: GridSettings,
    laws: dict[str, tuple[int, float]],
    distribution: str,
    terms: int | None,
    exponent: float | None,
    *wrong: tuple[str, bool],
) -> SineLaw:
    """Return the law of a distribution, with what is specified besides.

    Raises:
        OpError: OP0604, a setting does not fit; `wrong` has those of the problem.
    """
    usual = laws.get(distribution, laws["in"])
    k = usual[0] if terms is None else terms
    r = usual[1] if exponent is None else exponent
    settings.refuse_bad(
        (
            f"the distribution `{distribution}`; it is one of {', '.join(laws)}",
            distribution not in laws,
        ),
        (f"{k} terms; it is 1 to {MOST_TERMS}", not 1 <= k <= MOST_TERMS),
        (
            f"the exponent {r:g}; it is -{MOST_EXPONENT:g} to {MOST_EXPONENT:g}",
            not (math.isfinite(r) and abs(r) <= MOST_EXPONENT),
        ),
        *wrong,
    )
    return SineLaw(k, r)


def measured_order(
    settings: GridSettings, law: SineLaw, residual: Callable[[float], Floats]
) -> float:
    """Measure the order in the width h with which a residual of differences vanishes.

    Raises:
        OpError: OP0617, the order is below LEAST_ORDER.
    """
    sizes = [float(np.linalg.norm(residual(1 / (part * law.terms)))) for part in PARTS]
    order = float(np.mean([np.log2(a / b) for a, b in pairwise(sizes)]))
    if not order >= LEAST_ORDER:  # so written that NaN fails
        raise settings.unsound(
            f"second differences satisfy the equation with order {order:.2f}, "
            f"at least {LEAST_ORDER} is expected"
        )
    return order


def second_differences(u: SeriesValues, h: float) -> Floats:
    """Approximate Laplace u at the points of PLACES by a five-point stencil of width h."""
    x = PLACES
    neighbours = u(x - h, x) + u(x + h, x) + u(x, x - h) + u(x, x + h)
    return (neighbours - 4 * u(x, x)) / h**2
