"""u_t + u u_x = nu u_xx on a circle of length 1, in two independent ways.

Functions without mean are Fourier series with the coefficients c (..., K + 1), see
`opdsl.data.generate.sampling.fourier`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate.sampling.fourier import Coefficients, coefficients_of, on_grid
from opdsl.data.generate.solvers.exponential import etdrk4
from opdsl.data.generate.solvers.viscous_burgers import DECAY, PER_WIDTH, hopf_means

Floats = NDArray[np.float64]


def spectral(c: Coefficients, viscosity: float, time: float, steps: int) -> Coefficients:
    """Integrate coefficients by exponential time differencing; u^2 is computed without aliasing."""
    from scipy.fft import next_fast_len

    modes = c.shape[-1] - 1
    waves = 2 * np.pi * np.arange(modes + 1.0)
    points = next_fast_len(3 * modes + 1, real=True)

    def nonlinear(c: Coefficients) -> Coefficients:
        u = on_grid(c, points, 1)
        return np.asarray(-0.5j * waves * coefficients_of(u * u, modes, 1), np.complex128)

    return etdrk4(c, -viscosity * waves**2, nonlinear, time, steps)


def hopf(c: Coefficients, viscosity: float, time: float, x: Floats) -> Floats:
    """Return u(x, t) (n,) by quadrature of the formula of Hopf, see `ColeHopf`."""
    modes = len(c) - 1
    waves = 2 * np.pi * np.arange(1, modes + 1)
    fine = on_grid(c, 8 * modes, 1)
    slope = float(np.abs(np.diff(fine)).max()) * 8 * modes
    width = np.sqrt(2 * viscosity / (1 / time + slope))
    parts = max(int(np.ceil(PER_WIDTH / width)), 4 * modes)
    integral = np.concatenate([[0], c[1:] / (1j * waves)])  # of u, so U(y) up to a constant
    potential = on_grid(integral, parts, 1)
    height = float(np.ptp(potential))
    turns = int(np.ceil(np.sqrt(2 * time * (height + 2 * viscosity * DECAY)))) + 1
    y = np.arange(-turns * parts, (turns + 1) * parts) / parts
    return hopf_means(x, y, np.tile(potential, 2 * turns + 1), viscosity, time)
