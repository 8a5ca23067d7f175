"""Smooth random functions of space: sums of waves with random amplitudes.

Their values have standard deviation 1 at every point. A function depends on the random numbers
alone, not on the points where it is evaluated.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def count(most: int, d: int) -> int:
    """Number of normal numbers that a function of `d` coordinates needs."""
    return 2 * len(_waves(most, d))


def wave(numbers: Floats, x: Floats, most: int) -> Floats:
    """Evaluate the normed sum of (a_k cos k x + b_k sin k x) / (1 + |k|^2), all |k_i| <= most.

    Args:
        numbers: (count(most, d),), the amplitudes a and b.
        x: (n, d), the points.

    Returns:
        (n,) values.
    """
    k = _waves(most, x.shape[1])
    spread = 1 / (1 + (k**2).sum(1))
    a, b = numbers.reshape(2, -1) * spread / np.linalg.norm(spread)
    phase = x @ k.T
    return np.asarray(np.cos(phase) @ a + np.sin(phase) @ b)


def _waves(most: int, d: int) -> Floats:
    """Wave vectors k (waves, d) whose first nonzero entry is positive: -k gives the same wave."""
    every = itertools.product(range(-most, most + 1), repeat=d)
    return np.array([k for k in every if k > (0,) * d], np.float64)
