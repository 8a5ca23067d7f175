"""psi ~ N(0, 9 (-Laplace + 9)^-2) on the unit square with zero Neumann conditions, without mean.

The coefficients depend on the seed and the index of the sample alone, neither on the grid nor on
the number of samples and workers.

Source: Li et al. 2021, arXiv:2010.08895, app. A.3.2; their GRF.m with tau = 3, alpha = 2, which
has the factor 9 = tau^(2 alpha - 2) and leaves out the constant mode.
"""

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate.sampling.draws import normals

TAU = 3.0
MODES = 64  # cosines on each axis: wavelengths down to 1/32, resolved by 129 points

GridValues = NDArray[np.float64]


def coefficients(seed: int, index: int) -> GridValues:
    """Draw the coefficients of cos(pi k x) cos(pi l y), k, l < MODES; shape (MODES, MODES)."""
    return _deviations() * normals(seed, index, MODES * MODES).reshape(MODES, MODES)


def field(coefficients: GridValues, nodes: int) -> GridValues:
    """Evaluate the field at the nodes i / (nodes - 1); shape (nodes, nodes)."""
    from scipy.fft import dctn

    finer = -(-MODES // (nodes - 1))  # refinement of our grid that resolves all cosines
    size = finer * (nodes - 1) + 1
    padded = np.zeros((size, size))
    padded[:MODES, :MODES] = coefficients
    # dct-I counts inner modes twice
    padded[1:-1] /= 2
    padded[:, 1:-1] /= 2
    return np.asarray(dctn(padded, type=1), np.float64)[::finer, ::finer]


def _deviations() -> GridValues:
    """Standard deviation of each coefficient: tau (pi^2 (k^2 + l^2) + tau^2)^-1, orthonormal."""
    k = np.arange(MODES)
    norm = np.where(k == 0, 1.0, np.sqrt(2.0))  # of cos(pi k x) on (0, 1)
    sigma = TAU / (np.pi**2 * (k[:, None] ** 2 + k[None, :] ** 2) + TAU**2)
    sigma[0, 0] = 0.0
    return np.asarray(sigma * np.outer(norm, norm), np.float64)
