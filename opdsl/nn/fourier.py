"""Fourier layers on regular grids: spectral convolution and spectral resampling.

What comes in and goes out: real channels-last tensors, (batch, *grid, channels), one axis or more.
What stays inside: spectra. Only the kept modes are ever stored, and every transform goes axis by
axis with `cat` and slices instead of assignments, so that export and compile understand it.

Modes are one-sided: `m` keeps |k| <= m, that is 2m + 1 frequencies on every axis but the last and
m + 1 on the last, whose negative half is the conjugate of the positive one. This set is closed
under conjugation and needs n >= 2m + 1 points. Transforms carry the factor 1 / n on the way in
(norm "forward"), so a weight acts alike at every resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn

from opdsl.nn.precision import no_autocast, wide

Size = tuple[int, ...]
Kernel = Callable[[Tensor, Tensor, Size], Tensor]


class SpectralConv(nn.Module):
    """v = F^-1(R . F(u)) + b: each kept Fourier mode k of u is multiplied by its own matrix R_k.

    Attributes:
        weight: R as pairs (re, im), (2 m_1 + 1, ..., 2 m_(d-1) + 1, m_d + 1, in, out, 2); the
            frequencies of a full axis ascend, -m ... m, those of the last axis are 0 ... m. Real
            numbers, because mixed precision, fused optimizers and sharding have no complex ones.
        bias: b, (out,), or None.

    Source: Li et al. 2021, arXiv:2010.08895, eq. (4). The paper keeps -m ... m - 1 on full axes.
    """

    def __init__(
        self, in_channels: int, out_channels: int, modes: Size, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.modes = modes
        shape = (*(2 * m + 1 for m in modes[:-1]), modes[-1] + 1, in_channels, out_channels, 2)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """R_k and b normal, E|R_k|^2 = E b^2 = 2 / (in + out), the variance of Glorot.

        The two parts of a complex number share its variance, so each has 1 / (in + out).

        Source: neuralop/layers/spectral_convolution.py (`init_std="auto"`), at 93d3f06.
        """
        inward, outward = self.weight.shape[-3:-1]
        nn.init.normal_(self.weight, std=math.sqrt(1 / (inward + outward)))
        if self.bias is not None:
            nn.init.normal_(self.bias, std=math.sqrt(2 / (inward + outward)))

    def forward(self, x: Tensor, size: Size | None = None, kernel: str = "fft") -> Tensor:
        """The convolution of `x`, sampled on the grid `size`.

        Args:
            x: u, (batch, *grid, in).
            size: grid of the result, that of `x` by default. The result is the same function.
            kernel: a key of `KERNELS`; all compute the same.

        Returns:
            v, (batch, *size, out), in the dtype of x, computed in float32 at least.

        Raises:
            ValueError: the grid of `x` or `size` has fewer than 2m + 1 points on an axis.
        """
        size = tuple(x.shape[1:-1]) if size is None else size
        _check_sizes(tuple(x.shape[1:-1]), size, self.modes)
        with no_autocast(x):
            v = KERNELS[kernel](x.to(wide(x)), self.weight.to(wide(x)), size)
            v = v if self.bias is None else v + self.bias.to(v.dtype)
            return v.to(x.dtype)

    def extra_repr(self) -> str:
        """Channels and modes."""
        inward, outward = self.weight.shape[-3:-1]
        return f"{inward}, {outward}, modes={self.modes}, bias={self.bias is not None}"


def _check_sizes(inner: Size, outer: Size, modes: Size) -> None:
    if len(inner) != len(modes) or len(outer) != len(modes):
        raise ValueError(f"{len(modes)} axes have modes, the grids are {inner} and {outer}")
    for n, m in zip(inner + outer, modes + modes, strict=True):
        if n < 2 * m + 1:
            raise ValueError(f"keeping |k| <= {m} needs at least {2 * m + 1} points, got {n}")


# --- kernels: (x, weight, size) -> v, all equal up to rounding --------------------------------


def convolve_fft(x: Tensor, weight: Tensor, size: Size) -> Tensor:
    """F^-1(R . F(u)) by fast transforms, one axis at a time, cut to the kept modes after each.

    Args:
        x: (batch, *grid, in).
        weight: (*frequencies, in, out, 2).
        size: grid of the result.

    Returns:
        (batch, *size, out).
    """
    modes = _modes(weight)
    u_hat = _cut_fft(x, modes)
    kept = u_hat.shape[1:-1]
    v_hat = _mix(u_hat.flatten(1, -2), weight)
    return _grow_fft(v_hat.reshape(v_hat.shape[0], *kept, -1), modes, size)


def convolve_dft(x: Tensor, weight: Tensor, size: Size) -> Tensor:
    """F^-1(R . F(u)) by real matrix products with the kept modes only, one axis at a time.

    No transform of the whole grid is made and the tensors on the grid are never permuted: (re, im)
    stands where the axis that was transformed last stood, outside of its frequencies.

    Args, Returns: as `convolve_fft`.
    """
    modes = _modes(weight)
    z = _cut_dft(x, modes)
    v_hat = _mix(torch.complex(z[:, 0], z[:, 1]), weight)
    z = torch.view_as_real(v_hat).movedim(-1, 1)
    return _grow_dft(z, modes, size)


KERNELS: dict[str, Kernel] = {"fft": convolve_fft, "dft": convolve_dft}


def _modes(weight: Tensor) -> Size:
    *full, half = weight.shape[:-3]
    return (*(n // 2 for n in full), half - 1)


def _mix(u_hat: Tensor, weight: Tensor) -> Tensor:
    """R . u_hat for every mode, as one batched matrix product with the modes as its batch.

    Args:
        u_hat: complex (batch, modes, in).
        weight: (*frequencies, in, out, 2), as many frequencies as modes.

    Returns:
        complex (batch, modes, out).
    """
    R = torch.view_as_complex(weight).flatten(0, -3)
    return torch.bmm(u_hat.transpose(0, 1), R).transpose(0, 1)


# --- fast transforms --------------------------------------------------------------------------


def _cut_fft(x: Tensor, modes: Size) -> Tensor:
    """The kept part of F(x): (batch, *grid, c) -> complex (batch, *frequencies, c)."""
    last = len(modes)
    z = _rfft(x, last).narrow(last, 0, modes[-1] + 1)
    for axis in range(last - 1, 0, -1):
        m, n = modes[axis - 1], x.shape[axis]
        z = torch.fft.fft(z, dim=axis, norm="forward")
        z = torch.cat((z.narrow(axis, n - m, m), z.narrow(axis, 0, m + 1)), axis)
    return z


def _grow_fft(z: Tensor, modes: Size, size: Size) -> Tensor:
    """F^-1 of a cut spectrum: complex (batch, *frequencies, c) -> (batch, *size, c)."""
    last = len(modes)
    for axis in range(1, last):
        m = modes[axis - 1]
        gap = z.new_zeros(*z.shape[:axis], size[axis - 1] - 2 * m - 1, *z.shape[axis + 1 :])
        z = torch.cat((z.narrow(axis, m, m + 1), gap, z.narrow(axis, 0, m)), axis)
        z = torch.fft.ifft(z, dim=axis, norm="forward")
    z = _with_real(z, last, 0)
    return _irfft(z, size[-1], last)


def _rfft(x: Tensor, axis: int) -> Tensor:
    z: Tensor = torch.fft.rfft(x, dim=axis, norm="forward")  # torch.fft has no types
    return z


def _irfft(z: Tensor, n: int, axis: int) -> Tensor:
    x: Tensor = torch.fft.irfft(z, n=n, dim=axis, norm="forward")
    return x


def _with_real(z: Tensor, axis: int, index: int) -> Tensor:
    """`z` with one column, the first or the last of `axis`, replaced by its real part.

    The inverse real transform ignores the imaginary part there by definition, but cuFFT does not
    for some sizes (pytorch#154496).
    """
    n = z.shape[axis]
    column = z.narrow(axis, index, 1).real
    real = torch.complex(column, torch.zeros_like(column))
    if index == 0:
        return torch.cat((real, z.narrow(axis, 1, n - 1)), axis)
    return torch.cat((z.narrow(axis, 0, n - 1), real), axis)


# --- transforms as matrix products ------------------------------------------------------------


def _cut_dft(x: Tensor, modes: Size) -> Tensor:
    """The kept part of F(x): (batch, *grid, c) -> (batch, (re, im), modes, c)."""
    batch, *grid, channels = x.shape
    lead = batch * math.prod(grid[:-1])
    z = _times(_matrix("cut_half", grid[-1], modes[-1], x), x.reshape(lead, grid[-1], channels))
    for n, m in zip(grid[-2::-1], modes[-2::-1], strict=True):
        lead //= n
        z = _times(_matrix("cut_full", n, m, x), z.reshape(lead, 2 * n, -1))
    return z.reshape(batch, 2, -1, channels)


def _grow_dft(z: Tensor, modes: Size, size: Size) -> Tensor:
    """F^-1 of a cut spectrum: (batch, (re, im), modes, c) -> (batch, *size, c)."""
    batch, channels, lead = z.shape[0], z.shape[-1], z.shape[0]
    for n, m in zip(size[:-1], modes[:-1], strict=True):
        z = _times(_matrix("grow_full", n, m, z), z.reshape(lead, 2 * (2 * m + 1), -1))
        lead *= n
    z = z.reshape(lead, 2 * (modes[-1] + 1), channels)
    return _times(_matrix("grow_half", size[-1], modes[-1], z), z).reshape(batch, *size, channels)


def _times(matrix: Tensor, z: Tensor) -> Tensor:
    """(r, c), (batch, c, p) -> (batch, r, p): one matrix on the left of every one of a batch."""
    return torch.bmm(matrix.expand(z.shape[0], *matrix.shape), z)


def _matrix(name: str, n: int, m: int, like: Tensor) -> Tensor:
    # what a tracer or a tensor without numbers makes must not outlive it in a cache
    if torch.compiler.is_compiling() or type(like) is not Tensor:
        return MATRICES[name](n, m).to(like)
    return _kept_matrix(name, n, m, like.dtype, like.device)


@lru_cache(maxsize=256)
def _kept_matrix(name: str, n: int, m: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(mode=False):  # else a later training step could not use it
        return MATRICES[name](n, m).to(device, dtype)


def _cut_half(n: int, m: int) -> Tensor:
    """F on the last axis, real to half spectrum: rows ((re, im), k), columns j."""
    angle = _angles(range(m + 1), n)
    return torch.cat((angle.cos(), -angle.sin())) / n


def _cut_full(n: int, m: int) -> Tensor:
    """F on another axis: rows ((re, im), k), columns (j, (re, im)); X = (c - i s) z."""
    angle = _angles(range(-m, m + 1), n)
    c, s = angle.cos(), angle.sin()
    rows = (torch.stack((c, s), -1), torch.stack((-s, c), -1))
    return torch.cat(rows).flatten(1) / n


def _grow_full(n: int, m: int) -> Tensor:
    """F^-1 on an axis but the last: rows (j, (re, im)), columns ((re, im), k); z = (c + i s) X."""
    angle = _angles(range(-m, m + 1), n).T
    c, s = angle.cos(), angle.sin()
    rows = (torch.cat((c, -s), 1), torch.cat((s, c), 1))
    return torch.stack(rows, 1).flatten(0, 1)


def _grow_half(n: int, m: int) -> Tensor:
    """F^-1 on the last axis: rows j, columns ((re, im), k); k > 0 stands for its conjugate too."""
    angle = _angles(range(m + 1), n).T
    twice = torch.full((m + 1,), 2.0, dtype=torch.float64, device="cpu")
    twice[0] = 1.0
    return torch.cat((twice * angle.cos(), -twice * angle.sin()), 1)


def _angles(k: range, n: int) -> Tensor:
    """2 pi k j / n in float64, (k, j); k j is reduced mod n first, which keeps every digit."""
    rows = torch.arange(k.start, k.stop, dtype=torch.float64, device="cpu")[:, None]
    return 2 * math.pi / n * (rows * torch.arange(n, dtype=torch.float64, device="cpu") % n)


MATRICES: dict[str, Callable[[int, int], Tensor]] = {
    "cut_half": _cut_half,
    "cut_full": _cut_full,
    "grow_full": _grow_full,
    "grow_half": _grow_half,
}


# --- resampling -------------------------------------------------------------------------------


def resample(x: Tensor, size: Size) -> Tensor:
    """The trigonometric interpolant of `x`, sampled at `size` points: exact where band-limited.

    Every axis is treated as periodic, also one that is not; its jump at the ends then rings. At
    even sizes the Nyquist coefficient is shared by both signs of its frequency, so going up and
    down again gives `x` back. Axes whose size stays are left alone.

    Args:
        x: (batch, *grid, c).
        size: the new grid.

    Returns:
        (batch, *size, c), in the dtype of x, computed in float32 at least.

    Source: as scipy.signal.resample, on each axis.
    """
    if tuple(x.shape[1:-1]) == tuple(size):
        return x
    with no_autocast(x):
        z = x.to(wide(x))
        for axis, n in enumerate(size, start=1):
            z = _resample_axis(z, axis, n)
        return z.to(x.dtype)


class Resample(nn.Module):
    """`resample` as a module."""

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """(batch, *grid, c) -> (batch, *size, c)."""
        return resample(x, size)


def _resample_axis(x: Tensor, axis: int, size: int) -> Tensor:
    n = x.shape[axis]
    if n == size:
        return x
    less = min(n, size)
    z = _rfft(x, axis).narrow(axis, 0, less // 2 + 1)
    z = _with_real(z, axis, 0)
    if less % 2 == 0:  # its Nyquist frequency is one coefficient there, and a pair at the other
        z = _share_nyquist(z, axis, 0.5 if n < size else 2.0)
    return _irfft(z, size, axis)


def _share_nyquist(z: Tensor, axis: int, factor: float) -> Tensor:
    last = z.shape[axis] - 1
    nyquist = z.narrow(axis, last, 1).real * factor
    real = torch.complex(nyquist, torch.zeros_like(nyquist))
    return torch.cat((z.narrow(axis, 0, last), real), axis)
