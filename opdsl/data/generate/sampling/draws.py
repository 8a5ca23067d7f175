"""Reproducible normal numbers, which do not change with the release of NumPy.

Random bits come from Philox with the key (seed, index of the sample), and become normal numbers by
the inverse of the distribution function; both are defined by their authors.
"""

import numpy as np
from numpy.typing import NDArray

BITS = 53  # of a float64


def normals(seed: int, index: int, count: int) -> NDArray[np.float64]:
    """Draw the first `count` normal numbers of a sample; (count,)."""
    from scipy.special import ndtri

    bits = np.random.Philox(key=np.array([seed, index], np.uint64)).random_raw(count)
    uniform = ((bits >> np.uint64(64 - BITS)).astype(np.float64) + 0.5) * 2.0**-BITS
    return np.asarray(ndtri(uniform), np.float64)
