"""Exponential time differencing of fourth order for v' = L v + N(v) with a diagonal L."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONTOUR = 32  # points of the circle over which the coefficients are averaged


def etdrk4(
    v: Floats, linear: Floats, nonlinear: Callable[[Floats], Floats], time: float, steps: int
) -> Floats:
    """Integrate v' = L v + N(v) over `time` in equal steps.

    Args:
        v: (..., *modes), the coefficients at the start.
        linear: (*modes), the diagonal of L.
        nonlinear: N, from (..., *modes) to this shape.
        time: duration.
        steps: number of steps.

    Source: Cox and Matthews 2002, doi:10.1006/jcph.2002.6995; the coefficients by contour
        integrals: Kassam and Trefethen 2005, doi:10.1137/S1064827502410633, sec. 2.
    """
    dt = time / steps
    whole, half = np.exp(dt * linear), np.exp(dt * linear / 2)
    q, f1, f2, f3 = _weights(linear, dt)
    for _ in range(steps):
        n_v = nonlinear(v)
        a = half * v + q * n_v
        n_a = nonlinear(a)
        b = half * v + q * n_a
        n_b = nonlinear(b)
        c = half * a + q * (2 * n_b - n_v)
        v = whole * v + f1 * n_v + f2 * (n_a + n_b) + f3 * nonlinear(c)
    return v


def _weights(linear: Floats, dt: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Weights of N(v), averaged over circles around dt L: the formulas cancel near 0."""
    circle = np.exp(1j * np.pi * (np.arange(CONTOUR) + 0.5) / CONTOUR)
    z = dt * linear[..., None] + circle  # the upper half; the lower one is its conjugate
    e = np.exp(z)
    means = (
        (np.exp(z / 2) - 1) / z,
        (-4 - z + e * (4 - 3 * z + z**2)) / z**3,
        2 * (2 + z + e * (z - 2)) / z**3,
        (-4 - 3 * z - z**2 + e * (4 - z)) / z**3,
    )
    q, f1, f2, f3 = (dt * x.mean(-1).real for x in means)
    return q, f1, f2, f3
