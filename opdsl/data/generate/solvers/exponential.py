"""Exponential time differencing of fourth order for v' = L v + N(v) with a diagonal, real L."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SpectralState = TypeVar("SpectralState", bound=NDArray[Any])  # real or complex coefficients

CONTOUR = 32  # points of the circle over which the coefficients are averaged


class ExponentialStepper:
    """Steps of equal length for v' = L v + N(v), with coefficients computed once.

    Source: Cox and Matthews 2002, doi:10.1006/jcph.2002.6995; the coefficients by contour
        integrals: Kassam and Trefethen 2005, doi:10.1137/S1064827502410633, sec. 2.
    """

    def __init__(self, linear: Floats, dt: float) -> None:
        """Compute the coefficients.

        Args:
            linear: (*modes), the diagonal of L.
            dt: length of a step.
        """
        self._whole, self._half = np.exp(dt * linear), np.exp(dt * linear / 2)
        self._weights = _weights(linear, dt)

    def advance(
        self, v: SpectralState, nonlinear: Callable[[SpectralState], SpectralState], steps: int
    ) -> SpectralState:
        """Return the coefficients (..., *modes) after some steps.

        Args:
            v: (..., *modes), the coefficients at the start.
            nonlinear: N, from (..., *modes) to this shape.
            steps: number of steps.
        """
        whole, half, (q, f1, f2, f3) = self._whole, self._half, self._weights
        for _ in range(steps):
            n_v = nonlinear(v)
            a: Any = half * v + q * n_v
            n_a = nonlinear(a)
            b: Any = half * v + q * n_a
            n_b = nonlinear(b)
            c: Any = half * a + q * (2 * n_b - n_v)
            after: Any = whole * v + f1 * n_v + f2 * (n_a + n_b) + f3 * nonlinear(c)
            v = after
        return v


def etdrk4(
    v: SpectralState,
    linear: Floats,
    nonlinear: Callable[[SpectralState], SpectralState],
    time: float,
    steps: int,
) -> SpectralState:
    """Integrate v' = L v + N(v) over `time` in equal steps.

    Args:
        v: (..., *modes), the coefficients at the start.
        linear: (*modes), the diagonal of L.
        nonlinear: N, from (..., *modes) to this shape.
        time: duration.
        steps: number of steps.
    """
    return ExponentialStepper(linear, time / steps).advance(v, nonlinear, steps)


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
