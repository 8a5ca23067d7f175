"""psi ~ N(0, tau^(4 - d) (-Laplace + tau^2)^-2) on the unit interval, square or cube, tau = 3.

The field has zero Neumann conditions and no mean. The coefficients depend on the seed, the index of
the sample and the number d of axes alone, neither on the grid nor on the number of samples and
workers.

Source: Li et al. 2021, arXiv:2010.08895, app. A.3.2; their GRF.m with tau = 3, alpha = 2, which
has the factor 9 = tau^(2 alpha - 2) on the square and leaves out the constant mode. On d axes the
power 2 alpha - d keeps the variance of the whole space independent of tau.
"""

from functools import reduce

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate.sampling.draws import normals

TAU, ALPHA = 3.0, 2.0
MODES = 64  # cosines on each axis: wavelengths down to 1/32, resolved by 129 points
CUBE_MODES = 32  # on three axes, resolved by 65 points

GridValues = NDArray[np.float64]


def coefficients(seed: int, index: int, dims: int = 2) -> GridValues:
    """Draw the coefficients of cos(pi k x) cos(pi l y) ..., k, l < MODES; (MODES,) * dims."""
    deviations = _deviations(dims)
    return deviations * normals(seed, index, deviations.size).reshape(deviations.shape)


def field(coefficients: GridValues, nodes: int) -> GridValues:
    """Evaluate the field at the nodes i / (nodes - 1) of each axis; (nodes,) * dims."""
    from scipy.fft import dctn

    dims, modes = coefficients.ndim, len(coefficients)
    finer = -(-modes // (nodes - 1))  # refinement of our grid that resolves all cosines
    size = finer * (nodes - 1) + 1
    padded = np.zeros((size,) * dims)
    padded[(slice(modes),) * dims] = coefficients
    for axis in range(dims):
        # dct-I counts inner modes twice
        np.moveaxis(padded, axis, 0)[1:-1] /= 2
    values = dctn(padded, type=1)[(slice(None, None, finer),) * dims]
    return np.asarray(values, np.float64)


def series(coefficients: GridValues, x: GridValues) -> GridValues:
    """Evaluate a field of one axis at any points; (n,)."""
    return np.asarray(np.cos(np.pi * np.outer(x, np.arange(len(coefficients)))) @ coefficients)


def _deviations(dims: int) -> GridValues:
    """Deviation of each coefficient, tau^(2 - d/2) (pi^2 |k|^2 + tau^2)^-1 times norms."""
    k = np.arange(CUBE_MODES if dims == 3 else MODES)
    axes = np.meshgrid(*[k] * dims, indexing="ij", sparse=True)
    squared = reduce(np.add, [x**2 for x in axes])
    norms = reduce(np.multiply, [np.where(x == 0, 1.0, np.sqrt(2.0)) for x in axes])  # on (0, 1)
    sigma = TAU ** (ALPHA - dims / 2) / (np.pi**2 * squared + TAU**2)
    sigma.flat[0] = 0.0
    return np.asarray(sigma * norms, np.float64)
