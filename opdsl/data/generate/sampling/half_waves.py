"""Sines and cosines of half waves on [0, 1] at the points of a grid.

Angles are reduced in integers, so that a function that vanishes at an end is exactly 0 there, and
points that two grids share have equal values, bit for bit.
"""

import numpy as np
from numpy.typing import NDArray

from opdsl.sampling import GridSampling, offset, spacings

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def sines(sampling: GridSampling, n: int, waves: Integers) -> Floats:
    """Evaluate sin(pi k x) at the n points of an axis; (n, waves)."""
    turns, whole = _turns(sampling, n, waves)
    return _sine(turns, whole)


def cosines(sampling: GridSampling, n: int, waves: Integers) -> Floats:
    """Evaluate cos(pi k x) at the n points of an axis; (n, waves)."""
    turns, whole = _turns(sampling, n, waves)
    return _sine(2 * turns + whole, 2 * whole)


def _turns(sampling: GridSampling, n: int, waves: Integers) -> tuple[Integers, int]:
    """Return k x as integers (n, waves) over a common denominator."""
    whole = 2 * spacings(sampling, n)
    doubled = 2 * np.arange(n, dtype=np.int64) + round(2 * offset(sampling))
    return doubled[:, None] * waves, whole


def _sine(turns: Integers, whole: int) -> Floats:
    """Return sin(pi turns / whole), computed from the angle in the first quadrant."""
    turns = turns % (2 * whole)
    sign = np.where(turns > whole, -1.0, 1.0)
    turns = turns % whole
    return sign * np.sin(np.pi * (np.minimum(turns, whole - turns) / whole))
