"""u_t = d Laplace u + u - u^3 on the unit square, no flux at its walls, in two ways.

Functions are sums of c_ij cos(pi i x) cos(pi j y), i, j < modes; c has the shape
(..., modes, modes), and the values belong to cell centres.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate.solvers.exponential import etdrk4

Floats = NDArray[np.float64]


def values(c: Floats) -> Floats:
    """Evaluate cosines (..., n, n) at the centres of n cells along each axis."""
    from scipy.fft import idctn

    return np.asarray(idctn(c * _norms(c.shape[-1]), type=2, axes=(-2, -1)), np.float64)


def cosine_coefficients(v: Floats) -> Floats:
    """Return the coefficients of the values (..., n, n) at the centres of n cells."""
    from scipy.fft import dctn

    return np.asarray(dctn(v, type=2, axes=(-2, -1)) / _norms(v.shape[-1]), np.float64)


def spectral(c: Floats, diffusivity: float, time: float, steps: int) -> Floats:
    """Integrate coefficients by exponential time differencing of fourth order."""
    linear = 1 - diffusivity * _squared_waves(c.shape[-1])

    def nonlinear(c: Floats) -> Floats:
        u = values(c)
        return -cosine_coefficients(u * u * u)  # a power is ten times slower

    return etdrk4(c, linear, nonlinear, time, steps)


def split(c: Floats, diffusivity: float, time: float, steps: int) -> Floats:
    """Integrate coefficients by Strang splitting: exact diffusion between exact reactions.

    The error is of second order in the step.

    Source: Strang 1968, doi:10.1137/0705041.
    """
    dt = time / steps
    diffusion = np.exp(-dt * diffusivity * _squared_waves(c.shape[-1]))
    u = values(c)
    for _ in range(steps):
        u = _react(u, dt / 2)
        u = values(diffusion * cosine_coefficients(u))
        u = _react(u, dt / 2)
    return cosine_coefficients(u)


def _react(u: Floats, duration: float) -> Floats:
    """Solve u' = u - u^3 exactly; u^2 / (1 - u^2) grows by exp(2 duration)."""
    decay = math.exp(-2 * duration)
    return np.asarray(u / np.sqrt(u**2 + (1 - u**2) * decay))


def _squared_waves(modes: int) -> Floats:
    k = np.pi * np.arange(modes)
    return np.asarray(k[:, None] ** 2 + k**2)


def _norms(n: int) -> Floats:
    """Factors between the coefficients of cosines and those of SciPy's transform, (n, n)."""
    one = np.full(n, float(n))
    one[0] = 2.0 * n
    return np.outer(one, one)
