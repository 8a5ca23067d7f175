"""Kernels of the spectral convolution: F^-1(R . F(u)), all equal up to rounding."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from opdsl.nn.shapes import Size
from opdsl.nn.spectral.transforms import (
    inverse_truncated_dft,
    inverse_truncated_fft,
    truncated_dft,
    truncated_fft,
)
from opdsl.spectrum import Bands

Mix = Callable[[Tensor], Tensor]


Kernel = Callable[[Tensor, Mix, Bands, Size], Tensor]


def convolve_fft(x: Tensor, mix: Mix, bands: Bands, size: Size) -> Tensor:
    """Compute F^-1(R . F(u)) by fast transforms, truncated to the band after each axis.

    Args:
        x: (batch, *grid, in), real or complex.
        mix: R on complex (batch, modes, in).
        bands: the frequencies of each axis.
        size: grid of the result.

    Returns:
        (batch, *size, out).
    """
    v_hat = mix_frequencies(truncated_fft(x, bands), mix)
    return inverse_truncated_fft(v_hat, bands, size, real=not x.is_complex())


def convolve_dft(x: Tensor, mix: Mix, bands: Bands, size: Size) -> Tensor:
    """Compute F^-1(R . F(u)) by real matrix products with the frequencies of the bands only.

    No transform of the whole grid is made and the tensors on the grid are never permuted.

    Args, Returns: as `convolve_fft`.
    """
    v_hat = mix_frequencies(truncated_dft(x, bands), mix)
    return inverse_truncated_dft(v_hat, bands, size, real=not x.is_complex())


def mix_frequencies(u_hat: Tensor, mix: Mix) -> Tensor:
    """Apply `mix` to complex (batch, *frequencies, in) -> (batch, *frequencies, out)."""
    batch, *frequencies, _ = u_hat.shape
    return mix(u_hat.flatten(1, -2)).reshape(batch, *frequencies, -1)


KERNELS: dict[str, Kernel] = {"fft": convolve_fft, "dft": convolve_dft}
