"""Gaussian fields on the unit square with the covariance exp(-|x - y|^2 / l^2).

A field is the restriction of a periodic one on the square of twice the length, which changes the
covariance by at most exp(-1 / l^2): about 1e-7 for l = 1/4.

Source: Dietrich and Newsam 1997, doi:10.1137/S1064827592240555, for the periodic extension.
"""

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate.sampling.fourier import fourier_values, frequencies, gaussian_series

Floats = NDArray[np.float64]

PERIOD = 2.0
CUT = 4.0  # frequencies in units of 1 / l that a field has; the next ones are below e^-20


def smooth_field(seed: int, index: int, scale: float, nodes: int) -> Floats:
    """Evaluate the field of a sample at the nodes i / (nodes - 1); (nodes, nodes).

    Args:
        seed, index: of the sample.
        scale: l.
        nodes: points on each axis.
    """
    modes = int(np.ceil(CUT / scale))
    kx, ky = (k / PERIOD for k in frequencies(modes, 2))
    density = np.pi * scale**2 * np.exp(-((np.pi * scale) ** 2) * (kx**2 + ky**2))
    series = gaussian_series(seed, index, np.sqrt(density) / PERIOD, mean=True)
    return fourier_values(series, "lower", 2 * (nodes - 1), 2)[:nodes, :nodes]
