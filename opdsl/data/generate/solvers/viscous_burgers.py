"""u_t + u u_x = nu u_xx on [0, 1], u = 0 at both ends, in two independent ways.

The initial condition is the sum of amplitudes a_k (K,) times sin(pi k x).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate.solvers.exponential import etdrk4

Floats = NDArray[np.float64]

DECAY = 40.0  # exponents of weights that are left out, below those that count: e^-40
PER_WIDTH = 4  # quadrature points on the width of the narrowest peak of the weights
WEIGHTS = 1 << 22  # weights in memory at a time


class ColeHopf:
    """The solution at fixed points x and one time t, by quadrature of the formula of Hopf.

    u(x, t) = (x - <y>) / t, where <y> is the mean of y on the real axis with the weights
    exp(-(x - y)^2 / (4 nu t) - U(y) / (2 nu)), and U is an integral of u(., 0), continued as an odd
    function of period 2. Weights are positive: nothing cancels. The trapezoidal rule converges
    exponentially, since they are analytic.

    Source: Hopf 1950, doi:10.1002/cpa.3160030302, eq. (28); Cole 1951, doi:10.1090/qam/42889.
    """

    def __init__(self, x: Floats, largest: Floats, viscosity: float, time: float) -> None:
        """Prepare the quadrature.

        Args:
            x: (n,), the points.
            largest: (K,), bounds of |a_k|.
            viscosity: nu.
            time: t, above 0.
        """
        waves = np.pi * np.arange(1, len(largest) + 1)
        slope, potential = float(largest @ waves), float(2 * largest @ (1 / waves))
        width = np.sqrt(2 * viscosity / (1 / time + slope))
        parts = int(np.ceil(PER_WIDTH / width))  # of [0, 1]: nodes are symmetric about both ends
        reach = int(np.ceil(np.sqrt(2 * time * (potential + 2 * viscosity * DECAY)) * parts))
        self.x, self.viscosity, self.time = x, viscosity, time
        self._y = np.arange(-reach, parts + reach + 1) / parts
        self._potentials = (1 - np.cos(np.outer(self._y, waves))) / waves

    def solve(self, a: Floats) -> Floats:
        """Return u(x, t) (n,) for the amplitudes a (K,)."""
        potential = self._potentials @ a
        return hopf_means(self.x, self._y, potential, self.viscosity, self.time)


def hopf_means(x: Floats, y: Floats, potential: Floats, viscosity: float, time: float) -> Floats:
    """Return (x - <y>) / t at the points x (n,), with the weights that `ColeHopf` describes.

    Args:
        x: (n,), the points.
        y: (m,), equidistant quadrature points.
        potential: (m,), U(y).
        viscosity: nu.
        time: t.
    """

    def at(x: Floats) -> Floats:
        exponents = -((x[:, None] - y) ** 2) / (2 * time) - potential
        exponents -= exponents.max(1, keepdims=True)
        weights = np.exp(exponents / (2 * viscosity))
        return np.asarray((x - weights @ y / weights.sum(1)) / time)

    rows = max(1, WEIGHTS // len(y))
    return np.concatenate([at(x[i : i + rows]) for i in range(0, len(x), rows)])


def sine_series(a: Floats, viscosity: float, time: float, modes: int) -> Floats:
    """Return u at the nodes j / (modes + 1), both ends excluded, by a pseudospectral method.

    Args:
        a: (K,), amplitudes at the start, K <= modes.
        viscosity: nu.
        time: t.
        modes: sines that the solution has.
    """
    from scipy.fft import dct, dst

    waves = np.pi * np.arange(1, modes + 1)
    start = np.zeros(modes)
    start[: len(a)] = a

    def values(v: Floats) -> Floats:
        return np.asarray(dst(v, type=1) / 2)

    def nonlinear(v: Floats) -> Floats:
        # -(u^2 / 2)_x: the square is even at both ends, and 0 there
        square = np.pad(values(v) ** 2, 1)
        cosines = dct(square, type=1)[1:-1] / (modes + 1)
        return np.asarray(waves * cosines / 2)

    fastest = np.abs(values(start)).max() * waves[-1]
    steps = int(np.ceil(max(100, time * fastest)))
    decay: Floats = np.asarray(-viscosity * waves**2, dtype=np.float64)
    return values(etdrk4(start, decay, nonlinear, time, steps))
