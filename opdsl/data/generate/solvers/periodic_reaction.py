"""u_t = Laplace u + R (u - u^3) on the unit torus in two dimensions, in two ways.

Functions are Fourier series with the coefficients c (2K + 1, K + 1), see
`opdsl.data.generate.sampling.fourier`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate.sampling.fourier import (
    Coefficients,
    coefficients_of,
    frequencies,
    on_grid,
)
from opdsl.data.generate.solvers.exponential import etdrk4

Floats = NDArray[np.float64]


def grid_points(modes: int) -> int:
    """Return the points on each axis on which u^3 is computed.

    Three halves of the least grid: products alias into frequencies that nearly vanish.
    """
    from scipy.fft import next_fast_len

    return int(next_fast_len(3 * modes + 1, real=True))


def spectral(c: Coefficients, rate: float, time: float, steps: int) -> Coefficients:
    """Integrate coefficients by exponential time differencing of fourth order.

    Args:
        c: (2K + 1, K + 1), the coefficients at the start.
        rate: R.
        time: duration.
        steps: number of steps.
    """
    modes = c.shape[-1] - 1
    points = grid_points(modes)

    def nonlinear(c: Coefficients) -> Coefficients:
        u = on_grid(c, points, 2)
        return np.asarray(-rate * coefficients_of(u * u * u, modes, 2), np.complex128)

    return etdrk4(c, rate - _squared_waves(modes), nonlinear, time, steps)


def split(c: Coefficients, rate: float, time: float, steps: int) -> Coefficients:
    """Integrate coefficients by Strang splitting: exact diffusion between exact reactions.

    The error is of second order in the step.

    Source: Strang 1968, doi:10.1137/0705041.
    """
    dt = time / steps
    modes = c.shape[-1] - 1
    points = grid_points(modes)
    diffusion = np.exp(-dt * _squared_waves(modes))
    u = on_grid(c, points, 2)
    for _ in range(steps):
        u = _react(u, rate * dt / 2)
        u = on_grid(diffusion * coefficients_of(u, modes, 2), points, 2)
        u = _react(u, rate * dt / 2)
    return coefficients_of(u, modes, 2)


def _react(u: Floats, duration: float) -> Floats:
    """Solve u' = u - u^3 exactly; u^2 / (1 - u^2) grows by exp(2 duration)."""
    decay = math.exp(-2 * duration)
    return np.asarray(u / np.sqrt(u**2 + (1 - u**2) * decay))


def _squared_waves(modes: int) -> Floats:
    kx, ky = frequencies(modes, 2)
    return np.asarray(4 * np.pi**2 * (kx**2 + ky**2))
