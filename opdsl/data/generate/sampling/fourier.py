"""Fourier series of period 1 with random coefficients, and their values at the points of a grid.

A series on d axes has the coefficients c (2K + 1, ..., 2K + 1, K + 1): frequencies 0..K, -K..-1 on
each axis but the last one, and 0..K on the last one, whose other half is conjugate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate.sampling.draws import normals
from opdsl.sampling import GridSampling, offset

Floats = NDArray[np.float64]
Coefficients = NDArray[np.complex128]


def frequencies(modes: int, dims: int) -> tuple[Floats, ...]:
    """Return the integer frequency of each axis, in shapes that broadcast to the coefficients."""
    both = np.concatenate([np.arange(modes + 1), np.arange(-modes, 0)]).astype(np.float64)
    axes = [both] * (dims - 1) + [np.arange(modes + 1, dtype=np.float64)]
    return tuple(np.meshgrid(*axes, indexing="ij", sparse=True))


def truncated(c: Coefficients, modes: int, dims: int) -> Coefficients:
    """Return the coefficients of frequencies up to `modes` on each of the last `dims` axes.

    Frequencies that `c` does not have become 0.
    """
    have = c.shape[-1] - 1
    few = min(have, modes)
    for axis in range(-dims, 0):
        low = np.take(c, range(few + 1), axis)
        high = np.take(c, range(-few, 0), axis) if axis < -1 else low[..., :0]
        gap = list(low.shape)
        gap[axis] = (modes - few) * (2 if axis < -1 else 1)
        c = np.concatenate([low, np.zeros(gap, c.dtype), high], axis)
    return c


def fourier_values(c: Coefficients, sampling: GridSampling, n: int, dims: int) -> Floats:
    """Evaluate series (..., *coefficients) at n points of each axis; (..., n, ..., n)."""
    modes = c.shape[-1] - 1
    shift = offset(sampling) / n
    for k in frequencies(modes, dims):
        c = c * np.exp(2j * np.pi * shift * k)
    finer = -(-(2 * modes + 1) // n)  # the grid that resolves all frequencies
    u = on_grid(c, finer * n, dims)
    for axis in range(-dims, 0):
        u = np.take(u, range(0, finer * n, finer), axis)
    return u


def largest_at_end(c: Coefficients) -> float:
    """Return the largest modulus of the highest frequencies of a series on two axes."""
    size, modes = np.abs(c), c.shape[-1] - 1
    return float(max(size[modes : modes + 2].max(), size[:, -1].max()))


def on_grid(c: Coefficients, n: int, dims: int) -> Floats:
    """Evaluate series at j / n, n >= 2K + 1, on each axis."""
    from scipy.fft import irfftn

    modes = c.shape[-1] - 1
    c = _spread(c, n, modes, dims)
    out = irfftn(c, s=(n,) * dims, axes=range(-dims, 0), norm="forward", overwrite_x=True)
    return np.asarray(out, np.float64)


def coefficients_of(u: Floats, modes: int, dims: int) -> Coefficients:
    """Return the coefficients up to `modes` of the values (..., n, ..., n) at j / n."""
    from scipy.fft import rfftn

    c = rfftn(u, axes=range(-dims, 0), norm="forward")
    for axis in range(-dims, -1):
        c = np.concatenate(
            [np.take(c, range(modes + 1), axis), np.take(c, range(-modes, 0), axis)], axis
        )
    return np.asarray(c[..., : modes + 1], np.complex128)


def _spread(c: Coefficients, n: int, modes: int, dims: int) -> Any:
    """Insert zeros between the positive and the negative frequencies of an axis of n points."""
    wide = np.zeros((*c.shape[:-dims], *(n,) * (dims - 1), n // 2 + 1), np.complex128)
    if dims == 1:
        wide[..., : modes + 1] = c
    else:
        wide[..., : modes + 1, : modes + 1] = c[..., : modes + 1, :]
        wide[..., n - modes :, : modes + 1] = c[..., modes + 1 :, :]
    return wide


def gaussian_series(
    seed: int, index: int, deviations: Floats, *, mean: bool = False
) -> Coefficients:
    """Draw a real series whose coefficients are normal and independent.

    Args:
        seed, index: of the sample.
        deviations: in the shape of the coefficients; sigma_k of the orthonormal functions
            sqrt(2) cos(2 pi k x) and sqrt(2) sin(2 pi k x).
        mean: whether the series has a mean, of the deviation of frequency 0.
    """
    c = normals(seed, index, 2 * deviations.size).reshape(2, *deviations.shape)
    series: Coefficients = (c[0] + 1j * c[1]) * deviations / np.sqrt(2)
    if series.ndim > 1:
        # the frequencies (-k, 0) are the conjugates of (k, 0)
        modes = series.shape[-1] - 1
        series[modes + 1 :, 0] = np.conj(series[modes:0:-1, 0])
    at_zero = float(series.real.flat[0]) * np.sqrt(2)
    series.flat[0] = at_zero if mean else 0.0
    return series
