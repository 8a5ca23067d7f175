"""Random sums of a_ij sin(pi i x) sin(pi j y), i, j = 1..K, with a_ij uniform on (-1, 1).

The numbers a_ij depend on the seed, the index of the sample and K alone, not on the grid.

Source: Raonic et al. 2023, arXiv:2302.01178, the Poisson and wave problems of its benchmarks.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate.sampling.draws import uniforms

Floats = NDArray[np.float64]

SeriesValues = Callable[[Floats, Floats], Floats]
"""The values (m, n) of a function at points x (m,) and y (n,)."""


def amplitudes(seed: int, index: int, terms: int) -> Floats:
    """Draw the numbers a_ij of a sample; (terms, terms)."""
    return uniforms(seed, index, terms * terms).reshape(terms, terms)


def squared_waves(terms: int) -> Floats:
    """Return i^2 + j^2; (terms, terms)."""
    k = np.arange(1, terms + 1, dtype=np.float64)
    return np.asarray(k[:, None] ** 2 + k**2)


def series(coefficients: Floats) -> SeriesValues:
    """Return the sum of coefficients (K, K) times sin(pi i x) sin(pi j y)."""
    waves = np.pi * np.arange(1, len(coefficients) + 1)
    return lambda x, y: np.sin(np.outer(x, waves)) @ coefficients @ np.sin(np.outer(waves, y))
