"""Few sines with random amplitudes on a circle of length 1, some of them folded or cut off.

The functions have the law of PDEBench's one-dimensional problems, but for these differences: waves
are whole on the circle, and the ends of a window and its presence are drawn independently.

Source: Takamoto et al. 2022, arXiv:2210.07182, app. D.1; `init_multi` of its data generation, which
chooses two of four frequencies and leaves the sine of its phase where one is not chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate.sampling.draws import uniforms

Floats = NDArray[np.float64]

CHOSEN = 2  # draws of a frequency
RARE = 0.1  # probability of an absolute value, and that of a window
LOWER, UPPER = (0.1, 0.45), (0.55, 0.9)  # ends of a window
EDGE = 0.01  # width of a window's ends


@dataclass(frozen=True, slots=True)
class SineWaves:
    """A function on a circle of length 1.

    Attributes:
        frequencies: (modes,), integers; 0 for a constant.
        amplitudes: (modes,), of sin(2 pi k x + phase).
        phases: (modes,).
        sign: 1 or -1.
        absolute: whether the sum is replaced by its absolute value.
        window: ends of the interval outside of which the function vanishes, if any.
    """

    frequencies: Floats
    amplitudes: Floats
    phases: Floats
    sign: float
    absolute: bool
    window: tuple[float, float] | None

    @classmethod
    def draw(cls, seed: int, index: int, modes: int) -> SineWaves:
        """Draw the function of a sample, of the frequencies 1 to `modes` and their doubles."""
        fractions = (1 + uniforms(seed, index, CHOSEN + 2 * modes + 5)) / 2
        chosen, amplitudes, phases, rest = np.split(fractions, np.cumsum([CHOSEN, modes, modes]))
        counts = np.bincount((chosen * modes).astype(np.int64), minlength=modes)
        fold, sign, cut, low, high = (float(x) for x in rest)
        ends = (LOWER[0] + np.ptp(LOWER) * low, UPPER[0] + np.ptp(UPPER) * high)
        return cls(
            np.arange(1, modes + 1.0) * counts,
            amplitudes,
            2 * np.pi * phases,
            1.0 if sign < 0.5 else -1.0,
            fold < RARE,
            (float(ends[0]), float(ends[1])) if cut < RARE else None,
        )

    def __call__(self, x: Floats) -> Floats:
        """Evaluate the function at points of any shape."""
        x = x % 1.0
        angles = 2 * np.pi * self.frequencies * x[..., None] + self.phases
        u = np.sin(angles) @ self.amplitudes
        u = self.sign * (np.abs(u) if self.absolute else u)
        if self.window is None:
            return np.asarray(u)
        low, high = self.window
        return np.asarray(u * (np.tanh((x - low) / EDGE) - np.tanh((x - high) / EDGE)) / 2)
