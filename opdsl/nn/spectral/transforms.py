"""Truncated Fourier transforms: coefficients of the frequencies of some bands, there and back.

Functions are (batch, *grid, c), real or complex, coefficients complex (batch, *frequencies, c).
Transforms go axis by axis with `cat` and slices instead of assignments, so that export and compile
understand them, and truncate after each axis. They carry the factor 1 / n in the forward direction
(norm "forward"): the coefficient of exp(2 pi i k x) is one number at every resolution.

A band is the range of frequencies of an axis. Of a real function the last axis has frequencies from
0 on only, which represent their conjugates too. Where such an axis has an even number of points and
its band reaches the Nyquist frequency, that coefficient is shared by both signs.

Two kernels, equal up to rounding: `fft`, fast transforms; `dft`, real matrix products with the
frequencies of the bands only, which never make the whole spectrum nor permute the grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import Size
from opdsl.spectrum import Bands, check_points, frequencies

# --- transforms by FFT and by matrix products --------------------------------------------------


def truncated_fft(x: Tensor, bands: Bands) -> Tensor:
    """Compute F(x) by fast transforms: (batch, *grid, c) -> complex (batch, *frequencies, c)."""
    last = len(bands)
    z = x if x.is_complex() else _truncated_rfft(x, last, bands[-1])
    for axis in range(last if x.is_complex() else last - 1, 0, -1):
        z = _select_band(torch.fft.fft(z, dim=axis, norm="forward"), axis, bands[axis - 1])
    return z


def inverse_truncated_fft(z: Tensor, bands: Bands, size: Size, *, real: bool) -> Tensor:
    """Apply F^-1 by fast transforms: complex (batch, *frequencies, c) -> (batch, *size, c)."""
    last = len(bands)
    for axis in range(1, last if real else last + 1):
        z = _zero_fill_band(z, axis, bands[axis - 1], size[axis - 1])
        z = torch.fft.ifft(z, dim=axis, norm="forward")
    return _inverse_truncated_rfft(z, last, bands[-1], size[-1]) if real else z


def truncated_dft(x: Tensor, bands: Bands) -> Tensor:
    """Compute F(x) by matrix products: (batch, *grid, c) -> complex (batch, *frequencies, c)."""
    z = truncated_dft_parts(x, bands)
    return torch.complex(z[:, 0], z[:, 1])


def truncated_dft_parts(x: Tensor, bands: Bands) -> Tensor:
    """Compute the parts of `truncated_dft`, (batch, 2, *frequencies, c), in the dtype of `x`.

    The axis of (re, im) stands outside of the frequencies, where the last transform puts it.
    """
    batch, *grid, channels = x.shape
    axes = list(zip(grid, bands, strict=True))
    lead = batch * math.prod(grid)
    z = torch.view_as_real(x).movedim(-1, -2) if x.is_complex() else x
    if not x.is_complex():
        n, band = axes.pop()
        lead //= n
        z = batched_left_matmul(dft_matrix("cut_half", n, band, x), x.reshape(lead, n, channels))
    for n, band in reversed(axes):
        lead //= n
        z = batched_left_matmul(dft_matrix("cut_full", n, band, z), z.reshape(lead, 2 * n, -1))
    return z.reshape(batch, 2, *map(len, bands), channels)


def inverse_truncated_dft(z: Tensor, bands: Bands, size: Size, *, real: bool) -> Tensor:
    """Apply F^-1 by matrix products: complex (batch, *frequencies, c) -> (batch, *size, c)."""
    y = inverse_truncated_dft_parts(torch.view_as_real(z).movedim(-1, 1), bands, size, real=real)
    return y if real else _as_complex(y)


def inverse_truncated_dft_parts(z: Tensor, bands: Bands, size: Size, *, real: bool) -> Tensor:
    """Apply `inverse_truncated_dft` to parts (batch, 2, *frequencies, c), in their dtype.

    The result of a complex function is (batch, *size, 2, c).
    """
    kinds = ["grow_full"] * (len(size) - real) + ["grow_half"] * real
    axes = zip(kinds, size, bands, strict=True)
    return _apply_inverse_matrices(
        z, [dft_matrix(kind, n, band, z) for kind, n, band in axes], size, real=real
    )


def inverse_by_matrices(z: Tensor, matrices: Sequence[Tensor], size: Size, *, real: bool) -> Tensor:
    """Apply one matrix per axis: complex (batch, *frequencies, c) -> (batch, *size, c).

    The last one of a real function is laid out as by `_grow_half`, all others as by `_grow_full`.
    """
    y = _apply_inverse_matrices(torch.view_as_real(z).movedim(-1, 1), matrices, size, real=real)
    return y if real else _as_complex(y)


def _apply_inverse_matrices(
    z: Tensor, matrices: Sequence[Tensor], size: Size, *, real: bool
) -> Tensor:
    batch, channels = z.shape[0], z.shape[-1]
    lead, y = batch, z
    for n, matrix in zip(size, matrices, strict=True):
        y = batched_left_matmul(matrix, y.reshape(lead, matrix.shape[1], -1))
        lead *= n
    return y.reshape(batch, *size, *(() if real else (2,)), channels)


def _as_complex(y: Tensor) -> Tensor:
    """Join parts to complex numbers: (..., 2, c) -> complex (..., c)."""
    return torch.view_as_complex(y.movedim(-2, -1).contiguous())


TRUNCATED_TRANSFORMS: dict[str, Callable[[Tensor, Bands], Tensor]] = {
    "fft": truncated_fft,
    "dft": truncated_dft,
}
INVERSE_TRANSFORMS: dict[str, Callable[..., Tensor]] = {
    "fft": inverse_truncated_fft,
    "dft": inverse_truncated_dft,
}


class TruncatedFFT(nn.Module):
    """The coefficients of a function for |k| <= m."""

    def __init__(self, modes: Size) -> None:
        super().__init__()
        self.modes = modes

    def forward(self, x: Tensor, kernel: str = "fft") -> Tensor:
        """(batch, *grid, c), real or complex -> complex (batch, *frequencies, c)."""
        bands = frequencies(self.modes, real=not x.is_complex())
        check_points(tuple(x.shape[1:-1]), bands)
        with no_autocast(x):
            return TRUNCATED_TRANSFORMS[kernel](x.to(wide(x)), bands)

    def extra_repr(self) -> str:
        """Describe the modes."""
        return f"modes={self.modes}"


class InverseTruncatedFFT(nn.Module):
    """The function with given coefficients for |k| <= m; `real`: they are half of all."""

    def __init__(self, modes: Size, *, real: bool = True) -> None:
        super().__init__()
        self.modes, self.real = modes, real

    def forward(self, x: Tensor, size: Size, kernel: str = "fft") -> Tensor:
        """Complex (batch, *frequencies, c) -> (batch, *size, c)."""
        bands = frequencies(self.modes, real=self.real)
        check_points(size, bands)
        with no_autocast(x):
            return INVERSE_TRANSFORMS[kernel](x, bands, size, real=self.real)

    def extra_repr(self) -> str:
        """Describe the modes."""
        return f"modes={self.modes}, real={self.real}"


# --- fast transforms --------------------------------------------------------------------------


def _select_band(z: Tensor, axis: int, band: range) -> Tensor:
    """Select the frequencies of a band, ascending, from an axis in the order of an FFT."""
    n = z.shape[axis]
    negative = z.narrow(axis, n + band.start, -band.start)
    return torch.cat((negative, z.narrow(axis, 0, band.stop)), axis)


def _zero_fill_band(z: Tensor, axis: int, band: range, n: int) -> Tensor:
    """Undo `_select_band`, with zeros for all other frequencies."""
    positive, negative = z.narrow(axis, -band.start, band.stop), z.narrow(axis, 0, -band.start)
    if torch.compiler.is_compiling():
        # a tracer would assume that a separate gap has two points or more
        return torch.cat((_pad_end(positive, axis, n - len(band)), negative), axis)
    gap = z.new_zeros(*z.shape[:axis], n - len(band), *z.shape[axis + 1 :])
    return torch.cat((positive, gap, negative), axis)


def _truncated_rfft(x: Tensor, axis: int, band: range) -> Tensor:
    z = rfft(x, axis, len(band))
    return (
        with_scaled_column(z, axis, band.stop - 1, 0.5) if _has_nyquist(band, x.shape[axis]) else z
    )


def _inverse_truncated_rfft(z: Tensor, axis: int, band: range, n: int) -> Tensor:
    z = with_real_column(z, axis, 0)
    if _has_nyquist(band, n):
        z = with_real_column(with_scaled_column(z, axis, band.stop - 1, 2.0), axis, band.stop - 1)
    return irfft(z, n, axis)


def _has_nyquist(band: range, n: int) -> bool:
    # `<` never holds here, but with `==` a tracer would exclude a size from the range it accepts
    return band.stop > 1 and n <= 2 * (band.stop - 1)


def rfft(x: Tensor, axis: int, count: int) -> Tensor:
    """Compute the first `count` coefficients on one axis of a real tensor."""
    z: Tensor = torch.fft.rfft(x, dim=axis, norm="forward")  # torch.fft has no types
    if torch.compiler.is_compiling():  # a tracer would assume that a slice leaves something out
        return z.index_select(axis, torch.arange(count, device=z.device))
    return z.narrow(axis, 0, count)


def irfft(z: Tensor, n: int, axis: int) -> Tensor:
    """Evaluate at n points the real function with the given first coefficients on one axis."""
    if torch.compiler.is_compiling():  # a tracer would assume that zeros are missing
        z = _pad_end(z, axis, n // 2 + 1 - z.shape[axis])
    x: Tensor = torch.fft.irfft(z, n=n, dim=axis, norm="forward")
    return x


def _pad_end(z: Tensor, axis: int, count: int) -> Tensor:
    """Zero-pad `z` on the right by `count`."""
    return functional.pad(z, (*2 * (z.ndim - 1 - axis) * (0,), 0, count))


def with_real_column(z: Tensor, axis: int, index: int) -> Tensor:
    """Replace one column of `axis` of `z` by its real part.

    The inverse real transform ignores the imaginary part of the first and of the Nyquist column by
    definition, but cuFFT does not for some sizes (pytorch#154496).
    """
    column = z.narrow(axis, index, 1).real
    return _with_column(z, axis, index, torch.complex(column, torch.zeros_like(column)))


def with_scaled_column(z: Tensor, axis: int, index: int, factor: float) -> Tensor:
    """Multiply one column of `axis` of `z` by a factor."""
    return _with_column(z, axis, index, z.narrow(axis, index, 1) * factor)


def _with_column(z: Tensor, axis: int, index: int, column: Tensor) -> Tensor:
    after = z.narrow(axis, index + 1, z.shape[axis] - index - 1)
    return torch.cat((z.narrow(axis, 0, index), column, after), axis)


# --- transforms as matrix products ------------------------------------------------------------


def batched_left_matmul(matrix: Tensor, z: Tensor) -> Tensor:
    """Multiply a batch of matrices by one from the left: (r, c), (batch, c, p) -> (batch, r, p)."""
    return torch.bmm(matrix.expand(z.shape[0], *matrix.shape), z)


def apply_along_axis(x: Tensor, axis: int, matrix: Tensor) -> Tensor:
    """Apply a matrix (size, n) along one axis of n points without moving it."""
    before, behind = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    y = batched_left_matmul(matrix, x.reshape(before, x.shape[axis], behind))
    # `len` would fix the size in an exported program
    return y.reshape(*x.shape[:axis], matrix.shape[0], *x.shape[axis + 1 :])


def apply_along_axes(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Apply a matrix (size, grid) along each axis: (batch, *grid, c) -> (batch, *size, c)."""
    for axis, matrix in enumerate(matrices, start=1):
        x = apply_along_axis(x, axis, matrix)
    return x


def dft_matrix(name: str, n: int, band: range, like: Tensor) -> Tensor:
    """Return the matrix `name`, a key of `MATRICES`, of n points, in the dtype of `like`."""
    # tensors of a tracer, or without data, must not enter a cache
    if torch.compiler.is_compiling() or type(like) is not Tensor:
        return MATRICES[name](n, band).to(like)
    return _cached_matrix(name, n, band, like.dtype, like.device)


@lru_cache(maxsize=256)
def _cached_matrix(
    name: str, n: int, band: range, dtype: torch.dtype, device: torch.device
) -> Tensor:
    with torch.inference_mode(mode=False):  # training could not use an inference tensor
        return MATRICES[name](n, band).to(device, dtype)


def _cut_half(n: int, band: range) -> Tensor:
    """Build F on the last axis, real to half spectrum: rows ((re, im), k), columns j."""
    angle = _angles(band, n)
    factor = _float64([0.5 if k and 2 * k == n else 1.0 for k in band])[:, None]
    return torch.cat((factor * angle.cos(), -factor * angle.sin())) / n


def _cut_full(n: int, band: range) -> Tensor:
    """Build F on another axis: rows ((re, im), k), columns (j, (re, im)); X = (c - i s) z."""
    angle = _angles(band, n)
    c, s = angle.cos(), angle.sin()
    rows = (torch.stack((c, s), -1), torch.stack((-s, c), -1))
    return torch.cat(rows).flatten(1) / n


def _grow_full(n: int, band: range) -> Tensor:
    """Build F^-1 on another axis: rows (j, (re, im)), columns ((re, im), k); z = (c + i s) X."""
    angle = _angles(band, n).T
    return complex_as_real_matrix(angle.cos(), angle.sin())


def _cut_across(n: int, band: range) -> Tensor:
    """Build F on a folded axis, (2, m, n // 2 + 1): cosines and sines of 0 ... max |k|."""
    return _grow_across(n, band) / n


def _grow_across(n: int, band: range) -> Tensor:
    most = max(-band.start, band.stop - 1)
    angle = _angles(range(most + 1), n)[:, : n // 2 + 1]
    return torch.stack((angle.cos(), angle.sin()))


def complex_as_real_matrix(c: Tensor, s: Tensor) -> Tensor:
    """Write c + i s, (j, k), as a real matrix: rows (j, (re, im)), columns ((re, im), k)."""
    rows = (torch.cat((c, -s), 1), torch.cat((s, c), 1))
    return torch.stack(rows, 1).flatten(0, 1)


def _grow_half(n: int, band: range) -> Tensor:
    """Build F^-1 on the last axis: rows j, columns ((re, im), k); k > 0 includes its conjugate."""
    angle = _angles(band, n).T
    factor = _float64([2.0 if k else 1.0 for k in band])
    return torch.cat((factor * angle.cos(), -factor * angle.sin()), 1)


def _angles(band: range, n: int) -> Tensor:
    """Compute 2 pi k j / n in float64, (k, j); k j is reduced mod n first, to keep every digit."""
    rows = torch.arange(band.start, band.stop, dtype=torch.float64, device="cpu")[:, None]
    return 2 * math.pi / n * (rows * torch.arange(n, dtype=torch.float64, device="cpu") % n)


def _float64(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, device="cpu")


MATRICES: dict[str, Callable[[int, range], Tensor]] = {
    "cut_half": _cut_half,
    "cut_full": _cut_full,
    "cut_across": _cut_across,
    "grow_full": _grow_full,
    "grow_across": _grow_across,
    "grow_half": _grow_half,
}
