"""Resampling by the trigonometric interpolant of a periodic function, or in another basis."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from opdsl.bases import Family, Lift
from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import Size
from opdsl.nn.spectral.half_waves.interpolants import resampling_matrix
from opdsl.nn.spectral.transforms import apply_along_axis, irfft, rfft, with_real_column
from opdsl.sampling import GridSampling

MATRIX_PRODUCT_LIMIT = (
    512  # points of an axis up to which matrix products resample faster than transforms
)
# first points that move with the number of points of a ring
SHIFTED: tuple[GridSampling, ...] = ("upper", "centres")


def resample(x: Tensor, size: Size) -> Tensor:
    """Sample the trigonometric interpolant of `x` at `size` points; exact where band-limited.

    Every axis is treated as periodic, also one that is not; its jump at the ends then rings. At
    even sizes the Nyquist coefficient is shared by both signs of its frequency, so refining and
    coarsening again gives `x` back. Axes whose size does not change are left alone.

    Args:
        x: (batch, *grid, c), real or complex.
        size: the new grid.

    Returns:
        (batch, *size, c), in the dtype of x, computed in float32 at least.

    Source: as scipy.signal.resample, on each axis.
    """
    if tuple(x.shape[1:-1]) == tuple(size):
        return x
    tracing = torch.compiler.is_compiling() or type(x) is not Tensor
    products = (
        not (x.is_complex() or tracing) and max(*x.shape[1:-1], *size) <= MATRIX_PRODUCT_LIMIT
    )
    with no_autocast(x):
        z = (_resample_dft if products else _resample_fft)(x.to(wide(x)), size)
        return z.to(x.dtype)


class Resample(nn.Module):
    """`resample` as a module, or on each axis the interpolant of a basis.

    Args:
        families: on each axis the functions of which the interpolant consists; None: `resample`.
        lifts: on each axis the ends whose values a polynomial takes up.
        samplings: where the points of each axis are.
    """

    def __init__(
        self,
        families: tuple[Family, ...] | None = None,
        lifts: tuple[Lift, ...] = (),
        samplings: tuple[GridSampling, ...] = (),
    ) -> None:
        super().__init__()
        self.families, self.lifts, self.samplings = families, lifts, samplings

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """(batch, *grid, c) -> (batch, *size, c)."""
        if self.families is None:
            return resample(x, size)
        with no_autocast(x):
            v = x.to(wide(x))
            for axis in range(len(size)):
                if v.shape[axis + 1] != size[axis]:
                    v = self._on_axis(v, axis, size[axis])
            return v.to(x.dtype)

    def _on_axis(self, v: Tensor, axis: int, size: int) -> Tensor:
        assert self.families is not None
        family, sampling = self.families[axis], self.samplings[axis]
        if family == "fourier" and sampling not in SHIFTED:
            grid = v.shape[1:-1]
            return resample(v, (*grid[:axis], size, *grid[axis + 1 :]))
        pairs = torch.view_as_real(v) if v.is_complex() else v
        kind = family, self.lifts[axis], sampling
        matrix = resampling_matrix(
            *kind, v.shape[axis + 1], size, dtype=pairs.dtype, device=v.device
        )
        y = apply_along_axis(pairs, axis + 1, matrix)
        return torch.view_as_complex(y) if v.is_complex() else y

    def extra_repr(self) -> str:
        """Describe the interpolant of each axis."""
        return "" if self.families is None else ", ".join(self.families)


def _resample_fft(x: Tensor, size: Size) -> Tensor:
    for axis, n in enumerate(size, start=1):
        x = _resample_axis(x, axis, n)
    return x


def _resample_dft(x: Tensor, size: Size) -> Tensor:
    """Resample a real function by one matrix for each axis whose size changes."""
    for axis, m in enumerate(size, start=1):
        n = x.shape[axis]
        if n != m:
            x = apply_along_axis(x, axis, _resampling_matrix(n, m, x.dtype, x.device))
    return x


@lru_cache(maxsize=64)
def _resampling_matrix(n: int, m: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Build the matrix (m, n) whose columns are the resampled unit vectors."""
    with torch.inference_mode(mode=False), torch.no_grad():
        units = torch.eye(n, dtype=torch.float64, device="cpu")
        return _resample_real(units, 0, m).to(device, dtype).contiguous()


def _resample_axis(x: Tensor, axis: int, size: int) -> Tensor:
    n = x.shape[axis]
    if n == size:
        return x
    return (_resample_complex if x.is_complex() else _resample_real)(x, axis, size)


def _resample_real(x: Tensor, axis: int, size: int) -> Tensor:
    n = x.shape[axis]
    less = min(n, size)
    z = with_real_column(rfft(x, axis, less // 2 + 1), axis, 0)
    return irfft(_rescale_nyquist(z, axis, less, 0.5 if n < size else 2.0), size, axis)


def _rescale_nyquist(z: Tensor, axis: int, less: int, factor: float) -> Tensor:
    """Convert the Nyquist coefficient of an even size to or from a pair at the other size.

    Without a branch, which would bind an exported program to even sizes or to odd ones.
    """
    even, half = 1 - less % 2, less // 2
    last = z.narrow(axis, half, 1)
    column = torch.complex(last.real * (1 + even * (factor - 1)), last.imag * (1 - even))
    return torch.cat((z.narrow(axis, 0, half), column), axis)


def _resample_complex(x: Tensor, axis: int, size: int) -> Tensor:
    n = x.shape[axis]
    z = torch.fft.fft(x, dim=axis, norm="forward")
    less = min(n, size)
    half = (less - 1) // 2
    positive, negative = z.narrow(axis, 0, half + 1), z.narrow(axis, n - half, half)
    middle = z.new_zeros(*z.shape[:axis], size - 2 * half - 1, *z.shape[axis + 1 :])
    if less % 2 == 0:
        middle = _middle_frequencies(z, axis, less // 2, middle)
    y: Tensor = torch.fft.ifft(
        torch.cat((positive, middle, negative), axis), dim=axis, norm="forward"
    )
    return y


def _middle_frequencies(z: Tensor, axis: int, k: int, middle: Tensor) -> Tensor:
    """Return coefficients beyond |k| - 1: the Nyquist one is halved going up, summed going down."""
    if middle.shape[axis] == 1:
        return z.narrow(axis, k, 1) + z.narrow(axis, z.shape[axis] - k, 1)
    shared = 0.5 * z.narrow(axis, k, 1)
    return torch.cat((shared, middle.narrow(axis, 1, middle.shape[axis] - 2), shared), axis)
