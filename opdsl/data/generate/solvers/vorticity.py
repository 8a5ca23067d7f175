"""Incompressible flow on a torus in two dimensions, for the vorticity w, by a Fourier method.

    w_t + u . grad w = L w + f,    u = (psi_y, -psi_x),    -Laplace psi = w

L is diagonal in Fourier coefficients: viscosity and drag. Functions are series with the
coefficients c (..., 2K + 1, K + 1), see `opdsl.data.generate.sampling.fourier`, of the variables
x / length, y / length; they have no mean, and neither has the velocity.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate.sampling.fourier import (
    Coefficients,
    coefficients_of,
    frequencies,
    on_grid,
)
from opdsl.data.generate.solvers.exponential import ExponentialStepper

Floats = NDArray[np.float64]

COURANT = 0.7  # cells of the solver's grid that a step crosses, at most
PER_TIME = 16  # steps for each unit of time, at least
CONSTANT = 0.25  # time for which steps are equal, at most


class Torus:
    """The square torus and the frequencies |k| <= K on each axis that a solution has.

    Attributes:
        modes: K.
        length: of both axes.
    """

    def __init__(self, modes: int, length: float = 1.0) -> None:
        """Compute the wave numbers."""
        from scipy.fft import next_fast_len

        self.modes, self.length = modes, length
        self.points = next_fast_len(3 * modes + 1, real=True)  # products are free of aliasing
        self.kx, self.ky = (2 * np.pi / length * k for k in frequencies(modes, 2))
        self.squared = self.kx**2 + self.ky**2

    @cached_property
    def _inverse(self) -> Floats:
        squared = self.squared.copy()
        squared[0, 0] = 1.0
        inverse = 1 / squared
        inverse[0, 0] = 0.0
        return np.asarray(inverse)

    @cached_property
    def _to_velocity(self) -> Coefficients:
        return np.stack([1j * self.ky * self._inverse, -1j * self.kx * self._inverse])

    @cached_property
    def _curl_of_stress(self) -> tuple[Coefficients, Coefficients]:
        difference = (self.kx**2 - self.ky**2).astype(np.complex128)
        return difference, (self.kx * self.ky).astype(np.complex128)

    def velocity(self, w: Coefficients) -> Coefficients:
        """Return the coefficients (2, 2K + 1, K + 1) of the velocity of a vorticity."""
        return self._to_velocity * w

    def vorticity(self, u: Coefficients) -> Coefficients:
        """Return the vorticity v_x - u_y of coefficients (2, 2K + 1, K + 1) of a velocity."""
        return np.asarray(1j * (self.kx * u[1] - self.ky * u[0]))

    def advection(self, w: Coefficients) -> Coefficients:
        """Return the coefficients of -u . grad w, from two products instead of four.

        -u . grad w = (d_yy - d_xx) (u v) + d_xy (u^2 - v^2)

        Source: Basdevant 1983, doi:10.1016/0021-9991(83)90064-5.
        """
        u, v = on_grid(self.velocity(w), self.points, 2)
        products = np.stack([u * v, u * u - v * v])
        uv, squares = coefficients_of(products, self.modes, 2)
        difference, mixed = self._curl_of_stress
        return np.asarray(difference * uv - mixed * squares)

    def speed(self, w: Coefficients) -> float:
        """Return the largest |u| + |v| on the grid of the solver."""
        u, v = on_grid(self.velocity(w), self.points, 2)
        return float((np.abs(u) + np.abs(v)).max())


class VorticitySolver:
    """Exponential time differencing of fourth order, with steps that follow the velocity."""

    def __init__(self, torus: Torus, linear: Floats, forcing: Coefficients | None = None) -> None:
        """Keep the problem.

        Args:
            torus: the domain.
            linear: (2K + 1, K + 1), L: -nu |k|^2 for viscosity, less a drag.
            forcing: (2K + 1, K + 1), f, constant in time.
        """
        self.torus, self.linear, self.forcing = torus, linear, forcing
        self._steppers: dict[float, ExponentialStepper] = {}

    def states(
        self, w: Coefficients, interval: float, count: int, *, refine: int = 1
    ) -> Iterator[Coefficients]:
        """Yield the state after each of `count` intervals.

        Args:
            w: (2K + 1, K + 1), the vorticity at the start.
            interval: of time.
            count: the number of intervals.
            refine: divides the steps, for measuring their error.
        """
        parts = math.ceil(interval / CONSTANT)
        for _ in range(count):
            for _ in range(parts):
                w = self._advance(w, interval / parts, refine)
            yield w

    def _advance(self, w: Coefficients, duration: float, refine: int) -> Coefficients:
        cell = self.torus.length / self.torus.points
        crossed = duration * self.torus.speed(w) / (COURANT * cell)
        least = max(crossed, PER_TIME * duration, 1.0)
        # powers of the square root of two: few different steps, whose coefficients are kept
        steps = refine * math.ceil(math.sqrt(2) ** math.ceil(2 * math.log2(least)))
        dt = duration / steps
        stepper = self._steppers.get(dt)
        if stepper is None:
            stepper = self._steppers[dt] = ExponentialStepper(self.linear, dt)
        return stepper.advance(w, self._slope, steps)

    def _slope(self, w: Coefficients) -> Coefficients:
        slope = self.torus.advection(w)
        return slope if self.forcing is None else slope + self.forcing
