"""Spectral convolution on regular grids.

Modes are one-sided: `m` means |k| <= m, that is 2m + 1 frequencies on every axis but the last and
m + 1 on the last, whose negative half is the conjugate of the positive one. This set is closed
under conjugation and needs n >= 2m + 1 points. Other index sets exist for weights that were
published with them, see `opdsl.spectrum.frequencies`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import Size
from opdsl.nn.spectral.convolve import KERNELS
from opdsl.nn.spectral.factors import FACTORS, Factored
from opdsl.nn.spectral.mode_gradients import squares_by_limit
from opdsl.nn.spectral.neuralop_compat import FAULTS, convolve_faulty, convolve_faulty_dft
from opdsl.nn.spectral.transforms import (
    inverse_truncated_dft_parts,
    truncated_dft_parts,
)
from opdsl.spectrum import LAYOUTS, Bands, check_points, frequencies


class SpectralConv(nn.Module):
    """v = F^-1(R . F(u)) + b: each Fourier mode k of u up to m is multiplied by a matrix R_k.

    Attributes:
        weight: R. Dense, as pairs (re, im): (*frequencies, in, out, 2), for the symmetric layout
            (2 m_1 + 1, ..., 2 m_(d-1) + 1, m_d + 1, in, out, 2); the frequencies of an axis ascend.
            `separable`, where R_k is diagonal: (*frequencies, in, 2). Factorised: a module of
            `opdsl.nn.spectral.factors` of the shape (in, out, *frequencies) or
            (in, *frequencies). Real numbers, because mixed precision,
            fused optimizers and sharding have no complex ones.
        bias: b, (out,), pairs (out, 2) of complex functions, or None.
        active_modes: the modes that take part now, see `limit`; None: all.
        low_precision: whether transforms and products run in the dtype of autocast, where it is on,
            by matrix products, for any number of points. By default they run in float32 at least.
            Coefficients carry the factor 1 / n, so float16 can represent those of every function
            that it can represent.

    Source: Li et al. 2021, arXiv:2010.08895, eq. (4); factorised: Kossaifi et al. 2023,
        arXiv:2310.00120, sec. 3.
    """

    def __init__(  # noqa: PLR0913  one for each parameter of the block
        self,
        in_channels: int,
        out_channels: int,
        modes: Size,
        *,
        bias: bool = True,
        layout: str | tuple[str, ...] = "symmetric",
        faults: str = "none",
        factor: str = "dense",
        ranks: Size = (),
        in_ranks: bool = False,
        separable: bool = False,
        real: bool = True,
        offsets: tuple[float, ...] = (),
    ) -> None:
        """Make a layer with fresh weights.

        Args:
            in_channels: of u.
            out_channels: of v.
            modes: m, for each axis.
            bias: whether b is added.
            layout: the frequencies that m means, one of `opdsl.spectrum.LAYOUTS`, or one per axis.
            faults: the release whose faults are reproduced, one of `neuralop_compat.FAULTS`.
            factor: `dense` or a key of `FACTORS`.
            ranks: of the factorised weight.
            in_ranks: whether the factors are applied one after the other, which is less work for
                few samples, instead of making R from them first.
            separable: whether each channel is convolved with itself only.
            real: whether the functions are real.
            offsets: how many spacings the first point of each axis lies above its lower end; none:
                0 on each. They matter where the grid of the result has other points.

        Raises:
            ValueError: `separable` with different channels, or an unknown layout or release.
        """
        super().__init__()
        if separable and in_channels != out_channels:
            raise ValueError(f"separable: {in_channels} channels cannot become {out_channels}")
        layouts = layout if isinstance(layout, tuple) else (layout,) * len(modes)
        if not set(layouts) <= set(LAYOUTS):
            raise ValueError(f"layout is one of {', '.join(LAYOUTS)}, not {layout!r}")
        if faults not in FAULTS:
            raise ValueError(f"faults is one of {', '.join(FAULTS)}, not {faults!r}")
        self.modes, self.layout, self.real, self.faults = modes, layouts, real, faults
        self.offsets = offsets
        self.separable, self.in_ranks = separable, in_ranks and not separable
        self.channels = (in_channels, out_channels)
        self.active_modes: Size | None = None
        self.low_precision = False
        matrix = (in_channels,) if separable else self.channels
        counts = tuple(len(x) for x in frequencies(modes, layouts, real=real))
        self.weight: nn.Parameter | Factored = (
            nn.Parameter(torch.empty(*counts, *matrix, 2))
            if factor == "dense"
            else FACTORS[factor]((*matrix, *counts), ranks)
        )
        pair = () if real else (2,)
        self.bias = nn.Parameter(torch.empty(out_channels, *pair)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw R_k and b normal with E|R_k|^2 = E|b|^2 = 2 / (in + out), the variance of Glorot.

        The two parts of a complex number share its variance, so each has 1 / (in + out). The
        factors of a factorised weight are normal, of a spread that gives R_k this variance.

        Source: neuralop/layers/spectral_convolution.py (`init_std="auto"`), at 93d3f06.
        """
        variance = 2 / sum(self.channels)
        if isinstance(self.weight, Tensor):
            nn.init.normal_(self.weight, std=math.sqrt(variance / 2))
        else:
            self.weight.reset_parameters(variance)
        if self.bias is not None:
            parts = 1 if self.real else 2
            nn.init.normal_(self.bias, std=math.sqrt(variance / parts))

    def limit(self, modes: Size | None) -> None:
        """Use only the modes up to `modes`, one number for each axis; None: all modes.

        Training that begins with few modes and adds others is cheaper, and often ends better. The
        weights of the other modes stay as they are, without gradient.

        Raises:
            ValueError: `modes` has not one non-negative number for each axis.

        Source: George et al. 2024, arXiv:2211.15188 (incremental Fourier neural operator).
        """
        if modes is not None and (len(modes) != len(self.modes) or min(modes) < 0):
            raise ValueError(f"{len(self.modes)} axes have modes, not {modes}")
        pairs = zip(modes or (), self.modes, strict=False)
        self.active_modes = None if modes is None else tuple(min(a, m) for a, m in pairs)

    def gradient_by_mode(self) -> Tensor | None:
        """Return the squared gradient of R by frequency; see `opdsl.nn.capabilities`."""
        if not isinstance(self.weight, Tensor):
            return None
        bands = frequencies(self.modes, self.layout, real=self.real)
        limits = [[abs(k) for k in band] for band in bands]
        return squares_by_limit(self.weight.grad, limits, max(self.modes))

    def bands(self) -> Bands:
        """Return the frequencies of each axis that are in use; see `limit`."""
        return frequencies(self.active_modes or self.modes, self.layout, real=self.real)

    def forward(self, x: Tensor, size: Size | None = None, kernel: str = "fft") -> Tensor:
        """Convolve `x` and sample the result on the grid `size`.

        Args:
            x: u, (batch, *grid, in).
            size: grid of the result, that of `x` by default.
            kernel: a key of `KERNELS`; their results are equal up to rounding.

        Returns:
            v, (batch, *size, out), in the dtype of x, computed in float32 at least unless
            `low_precision`.

        Raises:
            ValueError: the grid of `x` or `size` has too few points on an axis for its modes.
        """
        size = tuple(x.shape[1:-1]) if size is None else size
        bands = self.bands()
        check_points(tuple(x.shape[1:-1]), bands, self.layout)
        check_points(size, bands, self.layout)
        dtype = self._low_precision_dtype(x)
        with no_autocast(x):
            if dtype is None:
                v = self._convolved(x.to(wide(x)), bands, size, kernel)
            else:
                z = _mix_parts(
                    truncated_dft_parts(x.to(dtype), bands), self._matrices(torch.float32)
                )
                v = inverse_truncated_dft_parts(z, bands, size, real=True)
            v = v if self.bias is None else v + self._constant(self.bias).to(v.dtype)
            return v.to(x.dtype)

    def _low_precision_dtype(self, x: Tensor) -> torch.dtype | None:
        """Return the dtype of autocast if the transforms run in it, else None."""
        kind = x.device.type
        plain = self.real and self.faults == "none" and wide(x) == torch.float32
        plain = plain and not any(self.offsets)
        if self.low_precision and plain and torch.is_autocast_enabled(kind):
            return torch.get_autocast_dtype(kind)
        return None

    def _convolved(self, x: Tensor, bands: Bands, size: Size, kernel: str) -> Tensor:
        if self.faults == "none":
            mix, old = self.mix, tuple(x.shape[1:-1])
            if any(self.offsets) and size != old:
                phases = shift_phases(bands, self.offsets, old, size, x)
                mix = lambda u_hat: self.mix(u_hat) * phases  # noqa: E731  one expression
            return KERNELS[kernel](x, mix, bands, size)
        tracing = torch.compiler.is_compiling() or type(x) is not Tensor
        products = kernel == "dft" and self.real and not tracing
        convolve = convolve_faulty_dft if products else convolve_faulty
        return convolve(x, self.mix, bands, size, self.faults)

    def mix(self, u_hat: Tensor) -> Tensor:
        """Multiply each mode by R: complex (batch, modes, in) -> complex (batch, modes, out)."""
        dtype = u_hat.real.dtype
        if self.in_ranks and self.active_modes is None and not isinstance(self.weight, Tensor):
            return self.weight.mix(u_hat, dtype)
        R = self._matrices(dtype)
        if self.separable:
            return u_hat * R
        # one batched matrix product with the modes as its batch
        return torch.bmm(u_hat.transpose(0, 1), R).transpose(0, 1)

    def pairs(self) -> Tensor:
        """Return R as reals (modes, in, 2 out), pairs (re, im) innermost; not for `separable`."""
        weight = self.weight if isinstance(self.weight, Tensor) else next(self.weight.parameters())
        return torch.view_as_real(self._matrices(wide(weight))).flatten(-2)

    def _matrices(self, dtype: torch.dtype) -> Tensor:
        """Return R, complex: (modes, in, out), or (modes, in) of a separable layer."""
        trailing = 1 if self.separable else 2
        if isinstance(self.weight, Tensor):
            R = torch.view_as_complex(self.weight.to(dtype))
            return self._taking_part(R, 0).flatten(0, -1 - trailing)
        R = self._taking_part(self.weight.full(dtype), trailing)
        return R.flatten(trailing).movedim(-1, 0)

    def _taking_part(self, R: Tensor, first: int) -> Tensor:
        """Select the part of R for `active_modes`; its axes of frequencies begin at `first`."""
        if self.active_modes is None:
            return R
        all_bands = frequencies(self.modes, self.layout, real=self.real)
        for axis, (band, active) in enumerate(
            zip(all_bands, self.bands(), strict=True), start=first
        ):
            R = R.narrow(axis, active.start - band.start, len(active))
        return R

    def _constant(self, bias: Tensor) -> Tensor:
        return bias if self.real else torch.view_as_complex(bias)

    def extra_repr(self) -> str:
        """Describe channels, modes, and options other than the defaults."""
        in_channels, out_channels = self.channels
        text = f"{in_channels}, {out_channels}, modes={self.modes}, bias={self.bias is not None}"
        layout = "" if set(self.layout) == {"symmetric"} else f", layout={self.layout!r}"
        faults = "" if self.faults == "none" else f", faults={self.faults!r}"
        return (
            text + layout + faults + ", separable" * self.separable + ", complex" * (not self.real)
        )


def shift_phases(
    bands: Bands, offsets: tuple[float, ...], old: Size, new: Size, like: Tensor
) -> Tensor:
    """Return exp(2 pi i k s) for each mode, (modes, 1), complex, s the shift of the first point.

    Coefficients count from the first point, which lies `offset / n` above the lower end of an axis.

    Args:
        bands: frequencies of each axis.
        offsets: of the first point of each axis in spacings.
        old: points of each axis before.
        new: points of each axis behind.
        like: gives the device and the precision.
    """
    total = torch.ones(1, dtype=torch.complex128)
    for band, offset, n, m in zip(bands, offsets, old, new, strict=True):
        k = torch.arange(band.start, band.stop, dtype=torch.float64)
        phase = torch.polar(torch.ones_like(k), 2 * math.pi * k * (offset / m - offset / n))
        total = (total[:, None] * phase).flatten()
    dtype = torch.promote_types(like.dtype, torch.complex64)
    return total[:, None].to(like.device, dtype)


def _mix_parts(z: Tensor, R: Tensor) -> Tensor:
    """Multiply parts (batch, 2, *frequencies, in) of a spectrum by R, in the dtype of `z`."""
    batch, _, *bands, _ = z.shape
    re, im = z.flatten(2, -2).unbind(1)
    a, b = (x.to(z.dtype) for x in (R.real, R.imag))
    if R.ndim == 2:
        y = torch.stack((re * a - im * b, re * b + im * a), 1)
        return y.reshape(batch, 2, *bands, -1)
    parts = torch.cat((re, im), 0).transpose(0, 1)  # (modes, 2 batch, in)
    result = torch.bmm(parts, torch.cat((a, b), -1)).transpose(0, 1)
    out = R.shape[-1]
    real = result[:batch, :, :out] - result[batch:, :, out:]
    imag = result[:batch, :, out:] + result[batch:, :, :out]
    return torch.stack((real, imag), 1).reshape(batch, 2, *bands, out)
