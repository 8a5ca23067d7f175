"""Reproducible random numbers, which do not change with the release of NumPy.

Random bits come from Philox with the key (seed, index of the sample). They become uniform numbers
by their value, and normal numbers by the inverse of the distribution function; all of these are
defined by their authors.
"""

import numpy as np
from numpy.typing import NDArray

BITS = 53  # of a float64


def normals(seed: int, index: int, count: int) -> NDArray[np.float64]:
    """Draw the first `count` normal numbers of a sample; (count,)."""
    from scipy.special import ndtri

    return np.asarray(ndtri(_fractions(seed, index, count)), np.float64)


def uniforms(seed: int, index: int, count: int) -> NDArray[np.float64]:
    """Draw the first `count` numbers of a sample that are uniform on (-1, 1); (count,)."""
    return 2 * _fractions(seed, index, count) - 1


def _fractions(seed: int, index: int, count: int) -> NDArray[np.float64]:
    """Draw numbers that are uniform on (0, 1)."""
    bits = np.random.Philox(key=np.array([seed, index], np.uint64)).random_raw(count)
    return ((bits >> np.uint64(64 - BITS)).astype(np.float64) + 0.5) * 2.0**-BITS
