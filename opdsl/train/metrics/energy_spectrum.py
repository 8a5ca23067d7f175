"""Energy spectra: how the mean square of a function divides among its wave numbers.

On periodic axes the waves are those of Fourier, on others the cosines of the even extension, which
has no jump at the ends; on a sphere spherical harmonics.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from torch import Tensor

from opdsl.train.metrics.norms import GridAxes

Doubles = NDArray[np.float64]
EnergySpectrum = Callable[[Tensor], Doubles]


def grid_spectrum(u: Tensor, axes: GridAxes) -> Doubles:
    """Return the mean square of functions on a grid in shells of wave numbers.

    Shell k holds the waves with k - 1/2 <= |k| < k + 1/2, in waves per length of the longest axis;
    half a cosine on an axis that is not periodic counts 1/2. The shells sum to the mean square of
    the function, by the trapezoidal rule where both ends carry points.

    Args:
        u: (n, *grid), real.
        axes: of the grid.

    Returns:
        (n, shells), float64.

    Source: Pope 2000, Turbulent Flows, section 6.5 (energy in shells of wave numbers).
    """
    values: NDArray[Any] = u.detach().cpu().double().numpy()
    longest = max(axes.lengths)
    squares: NDArray[Any] = np.zeros(())
    weights = np.ones((1,) * (values.ndim - 1))
    settings = zip(axes.periodic, axes.points, axes.lengths, strict=True)
    for i, (periodic, sampling, length) in enumerate(settings):
        n = values.shape[i + 1]
        shape = [n if j == i else 1 for j in range(values.ndim - 1)]
        if periodic:
            values = scipy.fft.fft(values, axis=i + 1, norm="forward")
            waves = np.abs(scipy.fft.fftfreq(n) * n)
        else:
            kind: Literal[1, 2] = 1 if sampling == "both" and n > 1 else 2
            values = _cosines(values, kind, i + 1)
            weights = weights * _cosine_weights(n, kind).reshape(shape)
            waves = np.arange(n) / 2
        squares = squares + (waves * longest / length).reshape(shape) ** 2
    shells = np.floor(np.sqrt(squares) + 0.5).astype(int)
    energies = np.abs(values) ** 2 * weights
    count = int(shells.max()) + 1
    flat = shells.ravel()
    sums = [np.bincount(flat, x.ravel(), minlength=count) for x in energies]
    return np.stack(sums) if sums else np.zeros((0, count))


def _cosines(values: NDArray[Any], kind: Literal[1, 2], axis: int) -> NDArray[Any]:
    """Return coefficients of cosines; real and imaginary parts apart, since scipy takes reals."""
    if np.iscomplexobj(values):
        real, imaginary = (_cosines(x, kind, axis) for x in (values.real, values.imag))
        combined: NDArray[Any] = real + 1j * imaginary
        return combined
    transformed: NDArray[Any] = scipy.fft.dct(values, type=kind, axis=axis, norm="forward")
    return transformed


def _cosine_weights(n: int, kind: int) -> Doubles:
    """Return how many waves of the even extension each coefficient stands for."""
    weights = np.full(n, 2.0)
    weights[0] = 1.0
    if kind == 1:
        weights[-1] = 1.0
    return weights


def sphere_spectrum(u: Tensor, sampling: str) -> Doubles:
    """Return the mean square of functions on a sphere by degree.

    The degrees are those that the quadrature of the sampling resolves.

    Args:
        u: (n, nlat, nlon), real.
        sampling: of the latitudes, see `opdsl.nn.sphere.sampling.latitudes`.

    Returns:
        (n, degrees), float64.
    """
    from opdsl.nn.sphere.harmonics import sht

    nlat, nlon = u.shape[1:]
    exact = {"gauss_legendre": 2 * nlat - 1, "lobatto": 2 * nlat - 3}.get(sampling, nlat - 1)
    lmax = max(0, min(exact // 2, (nlon - 1) // 2))
    z = sht(u.detach().cpu().double()[..., None], lmax, sampling)[..., 0]
    orders = torch.full((z.shape[2],), 2.0, dtype=torch.float64)
    orders[0] = 1.0  # the orders below zero are conjugates of those above
    energies: Doubles = ((z.abs() ** 2 * orders).sum(2) / (4 * math.pi)).numpy()
    return energies
