"""The equations of FitzHugh and Nagumo on a square, no flux at its walls, in two ways.

    u_t = D_u Laplace u + u - u^3 - k - v,    v_t = D_v Laplace v + u - v

Both methods use the same finite volumes: values (2, n, n) of u and v are the means of n x n cells,
and fluxes are differences of neighbours, with an error of O(h^2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate.solvers.exponential import etdrk4

Floats = NDArray[np.float64]

RELATIVE, ABSOLUTE = 1e-6, 1e-9  # tolerances of a step


@dataclass(frozen=True, slots=True)
class FitzHughNagumo:
    """The numbers of the equations.

    Attributes:
        diffusivities: D_u, D_v.
        k: the constant of the reaction.
        length: of both sides of the square.
    """

    diffusivities: tuple[float, float]
    k: float
    length: float

    def integrate(
        self, start: Floats, times: Sequence[float], tolerance: float = RELATIVE
    ) -> Floats:
        """Return the values (times, 2, n, n) by an adaptive method of Runge and Kutta.

        Args:
            start: (2, n, n), at the first of the times.
            times: ascending.
            tolerance: of a step, relative.

        Source: Dormand and Prince 1980, doi:10.1016/0771-050X(80)90013-3, as SciPy has it.
        """
        from scipy.integrate import solve_ivp

        solution = solve_ivp(
            lambda _, y: self._slope(y.reshape(start.shape)).ravel(),
            (times[0], times[-1]),
            start.ravel(),
            "RK45",
            t_eval=times,
            rtol=tolerance,
            atol=tolerance * ABSOLUTE / RELATIVE,
        )
        return np.ascontiguousarray(solution.y.T).reshape(len(times), *start.shape)

    def spectral(self, start: Floats, time: float, steps: int) -> Floats:
        """Return the values (2, n, n) after some time by exponential differencing of fourth order.

        Cosines are the eigenvectors of the differences: diffusion is exact.
        """
        from scipy.fft import dctn, idctn

        axes, n = (-2, -1), start.shape[-1]
        waves = (2 * n / self.length * np.sin(np.pi * np.arange(n) / (2 * n))) ** 2
        linear = -np.multiply.outer(self.diffusivities, waves[:, None] + waves)

        def nonlinear(c: Floats) -> Floats:
            y = idctn(c, axes=axes, norm="ortho")
            return np.asarray(dctn(self._reaction(y), axes=axes, norm="ortho"), np.float64)

        c = np.asarray(dctn(start, axes=axes, norm="ortho"), np.float64)
        c = etdrk4(c, np.asarray(linear), nonlinear, time, steps)
        return np.asarray(idctn(c, axes=axes, norm="ortho"), np.float64)

    def _slope(self, y: Floats) -> Floats:
        slope = np.zeros_like(y)
        for axis in (1, 2):
            flux = np.moveaxis(np.diff(y, axis=axis), axis, -1)
            change = np.moveaxis(slope, axis, -1)
            change[..., :-1] += flux
            change[..., 1:] -= flux
        cell = self.length / y.shape[-1]
        slope *= np.reshape(self.diffusivities, (2, 1, 1)) / cell**2
        slope += self._reaction(y)
        return slope

    def _reaction(self, y: Floats) -> Floats:
        u, v = y
        return np.stack([u - u * u * u - self.k - v, u - v])
