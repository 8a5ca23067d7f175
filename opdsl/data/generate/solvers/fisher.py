"""u_t = nu u_xx + rho u (1 - u) on a circle of length 1, in two independent ways.

Functions are Fourier series with the coefficients c (..., K + 1), see
`opdsl.data.generate.sampling.fourier`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate.sampling.fourier import Coefficients, coefficients_of, on_grid
from opdsl.data.generate.solvers.exponential import ExponentialStepper

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FisherEquation:
    """The numbers of the equation: nu, rho."""

    diffusivity: float
    rate: float

    def spectral(
        self, c: Coefficients, interval: float, count: int, steps: int
    ) -> Iterator[Coefficients]:
        """Yield the coefficients after each of `count` intervals, by exponential differencing.

        The method is of fourth order; u^2 is computed without aliasing.

        Args:
            c: (..., K + 1), the coefficients at the start.
            interval: of time.
            count: the number of intervals.
            steps: of each interval.
        """
        from scipy.fft import next_fast_len

        modes = c.shape[-1] - 1
        points = next_fast_len(3 * modes + 1, real=True)
        stepper = ExponentialStepper(self.rate - self._decay(modes), interval / steps)

        def nonlinear(c: Coefficients) -> Coefficients:
            u = on_grid(c, points, 1)
            return np.asarray(-self.rate * coefficients_of(u * u, modes, 1), np.complex128)

        for _ in range(count):
            c = stepper.advance(c, nonlinear, steps)
            yield c

    def split(self, c: Coefficients, time: float, steps: int) -> Coefficients:
        """Integrate coefficients by Strang splitting: exact diffusion between exact reactions.

        The error is of second order in the step.

        Source: Strang 1968, doi:10.1137/0705041.
        """
        dt = time / steps
        modes = c.shape[-1] - 1
        points = 4 * modes
        diffusion = np.exp(-dt * self._decay(modes))
        u = on_grid(c, points, 1)
        for _ in range(steps):
            u = self._react(u, dt / 2)
            u = on_grid(diffusion * coefficients_of(u, modes, 1), points, 1)
            u = self._react(u, dt / 2)
        return coefficients_of(u, modes, 1)

    def _react(self, u: Floats, duration: float) -> Floats:
        """Solve u' = rho u (1 - u) exactly; u / (1 - u) grows by exp(rho duration)."""
        growth = math.exp(self.rate * duration)
        return np.asarray(u * growth / (1 + u * (growth - 1)))

    def _decay(self, modes: int) -> Floats:
        return np.asarray(self.diffusivity * (2 * np.pi * np.arange(modes + 1)) ** 2)
