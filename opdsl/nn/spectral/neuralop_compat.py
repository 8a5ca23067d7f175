"""Spectral convolution as two releases of neuraloperator compute it where that is wrong.

Weights that were trained under a fault mean nothing without it, so an imported model can keep it.
Tensors are as in `opdsl.nn.spectral.conv`. The faults, all of them in two axes and more:

- the spectrum is put in order at the size of the input and then cut or filled at its end, so where
  the grid changes, negative frequencies of every axis but the last land on other ones;
- release 2.0.0 puts it in order the wrong way round: at odd sizes each frequency of every axis but
  the last moves by one;
- of complex functions the last axis is put in order on the way in and not on the way out, so the
  lowest frequencies that are read are written as 0, 1, 2 ...; of one axis it keeps 0, 1, 2 ...
  only.

Source: neuralop/layers/spectral_convolution.py, release 2.0.0 and commit 93d3f06.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from opdsl.nn.shapes import Size
from opdsl.nn.spectral.convolve import Mix, mix_frequencies
from opdsl.nn.spectral.transforms import (
    complex_as_real_matrix,
    inverse_by_matrices,
    truncated_dft,
    truncated_fft,
)
from opdsl.spectrum import Bands

FAULTS = ("none", "neuralop_2_0_0", "neuralop_93d3f06")


def convolve_faulty(x: Tensor, mix: Mix, bands: Bands, size: Size, faults: str) -> Tensor:
    """Compute F^-1(R . F(u)) with the errors of a release, one of `FAULTS` but `none`.

    Args, Returns: as `opdsl.nn.spectral.convolve.convolve_fft`.
    """
    u_hat = _shifted_spectrum(x, bands) if x.is_complex() else truncated_fft(x, bands)
    v_hat = mix_frequencies(u_hat, mix)
    grid = x.shape[1:-1]
    last = grid[-1] if x.is_complex() else grid[-1] // 2 + 1
    for axis, (band, n) in enumerate(zip(bands[:-1], grid[:-1], strict=True), start=1):
        v_hat = _scatter_frequencies(v_hat, axis, [(k - _shift_of(n, faults)) % n for k in band], n)
    v_hat = _scatter_frequencies(v_hat, len(grid), list(range(len(bands[-1]))), last)
    return _faulty_inverse(v_hat, size, real=not x.is_complex(), newest=faults == FAULTS[2])


def convolve_faulty_dft(x: Tensor, mix: Mix, bands: Bands, size: Size, faults: str) -> Tensor:
    """Compute `convolve_faulty` of a real function by matrix products with the modes only."""
    u_hat = truncated_dft(x, bands)
    v_hat = mix_frequencies(u_hat, mix)
    return inverse_by_matrices(
        v_hat,
        faulty_inverse_matrices(tuple(x.shape[1:-1]), bands, size, faults, x),
        size,
        real=True,
    )


def faulty_inverse_matrices(
    grid: Size, bands: Bands, size: Size, faults: str, like: Tensor
) -> list[Tensor]:
    """Build the inverse transforms of `convolve_faulty`, one per axis, from `grid` to `size`."""
    axes = list(zip(grid, bands, size, strict=True))
    shifts = [_shift_of(n, faults) for n in grid]
    result = [_faulty_full(*axis, shift) for axis, shift in zip(axes[:-1], shifts, strict=False)]
    result.append(_faulty_half(grid[-1], bands[-1], size[-1], faults))
    return [x.to(like) for x in result]


@lru_cache(maxsize=64)
def _faulty_full(n: int, band: range, size: int, moved: int) -> Tensor:
    """Build an inverse that treats frequency k as index k mod n, even if `size` is not n."""
    with torch.inference_mode(mode=False):
        places = torch.tensor([(k - moved) % n for k in band], dtype=torch.float64)
        angle, inside = _angles_of(places, size), (places < size).to(places)
        return complex_as_real_matrix(inside * angle.cos(), inside * angle.sin())


@lru_cache(maxsize=64)
def _faulty_half(n: int, band: range, size: int, faults: str) -> Tensor:
    """Build an inverse real transform in which Nyquist counts once; see `_real_ends`."""
    real_end = n // 2 if faults == FAULTS[2] and size % 2 == 0 else None
    shares = [(1.0 + (0 < 2 * k != size)) * (2 * k <= size) for k in band]
    with torch.inference_mode(mode=False):
        angle = _angles_of(torch.tensor(list(band), dtype=torch.float64), size)
        share = torch.tensor(shares, dtype=torch.float64)
        has_imaginary = torch.tensor([k != real_end for k in band]).to(share)
        return torch.cat((share * angle.cos(), -share * has_imaginary * angle.sin()), 1)


def _angles_of(places: Tensor, size: int) -> Tensor:
    """Compute the angles 2 pi p j / size of places p and points j, (j, p)."""
    j = torch.arange(size, dtype=torch.float64)[:, None]
    return 2 * math.pi / size * (j * places % size)


def _shift_of(n: int, faults: str) -> int:
    return n % 2 if faults == "neuralop_2_0_0" else 0


def _shifted_spectrum(x: Tensor, bands: Bands) -> Tensor:
    """Compute the spectrum; on the last of several axes, frequencies from the lowest one on."""
    axes = list(range(1, x.ndim - 1))
    z: Tensor = torch.fft.fftn(x, dim=axes, norm="forward")
    for axis, band in zip(axes, bands, strict=True):
        n = x.shape[axis]
        start = band.start if axis < axes[-1] else -(n // 2) if len(axes) > 1 else 0
        z = z.index_select(
            axis, torch.tensor([(start + j) % n for j in range(len(band))]).to(z.device)
        )
    return z


def _scatter_frequencies(z: Tensor, axis: int, index: list[int], n: int) -> Tensor:
    """Write `z` at `index` into zeros of length `n` along the axis."""
    full = z.new_zeros(*z.shape[:axis], n, *z.shape[axis + 1 :])
    result: Tensor = full.index_copy(axis, torch.tensor(index).to(z.device), z)
    return result


def _faulty_inverse(z: Tensor, size: Size, *, real: bool, newest: bool) -> Tensor:
    """Invert the transform, which truncates and fills every axis at its end."""
    axes = list(range(1, len(size) + 1))
    y: Tensor
    if not real:
        y = torch.fft.ifftn(z, s=size, dim=axes, norm="forward")
        return y
    if len(size) > 1:
        z = torch.fft.ifftn(z, s=size[:-1], dim=axes[:-1], norm="forward")
    if newest:
        z = _real_ends(z, axes[-1], last=size[-1] % 2 == 0)
    y = torch.fft.irfft(z, n=size[-1], dim=axes[-1], norm="forward")
    return y


def _real_ends(z: Tensor, axis: int, *, last: bool) -> Tensor:
    """Drop the imaginary part of the first column, and of the last where `size` is even."""
    keep = torch.ones(z.shape[axis], dtype=z.real.dtype, device=z.device)
    keep[0] = 0
    if last:
        keep[-1] = 0
    return torch.complex(z.real, z.imag * keep.reshape(-1, *(1,) * (z.ndim - 1 - axis)))
