"""Normal numbers that are the same for ever, whatever the release of NumPy.

What comes in: a seed, the index of a sample, a count. What goes out: numbers that depend on nothing
else. The random bits come from Philox with the key (seed, index), which numbers every block; they
become normal numbers by the inverse of the distribution function. Both are defined by their
authors.
"""

import numpy as np
from numpy.typing import NDArray

BITS = 53  # of a float64


def normals(seed: int, index: int, count: int) -> NDArray[np.float64]:
    """The first `count` numbers of the sample; (count,)."""
    from scipy.special import ndtri

    bits = np.random.Philox(key=np.array([seed, index], np.uint64)).random_raw(count)
    uniform = ((bits >> np.uint64(64 - BITS)).astype(np.float64) + 0.5) * 2.0**-BITS
    return np.asarray(ndtri(uniform), np.float64)
