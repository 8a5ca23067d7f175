"""Spherical harmonic transforms of real functions, there and back, and a convolution between them.

What comes in and goes out: (batch, nlat, nlon, c), latitudes from north to south, longitudes from 0
on. The coefficients are those of orthonormal harmonics Y_lm = P_lm(cos theta) exp(i m phi) with
m >= 0, which stand for their conjugates too: complex (batch, l, m, c).
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.sphere import latitudes

Size = tuple[int, ...]


def legendre(lmax: int, x: Tensor) -> Tensor:
    """Orthonormal associated Legendre functions P_lm(x), with the factor 1 / sqrt(2 pi) of Y_lm.

    The recurrence in l runs at fixed m and begins at P_mm, which may underflow to the zero that it
    is to all digits; nothing grows.

    Args:
        lmax: the greatest degree.
        x: cosines, float64, (n,).

    Returns:
        (m, l, n), zero where l < m.

    Source: Holmes and Featherstone 2002, doi:10.1007/s00190-002-0216-2, eq. (11) and (13).
    """
    sin = (1 - x**2).clamp(min=0).sqrt()
    found = x.new_zeros(lmax + 1, lmax + 1, len(x))
    first = torch.full_like(x, math.sqrt(1 / (4 * math.pi)))
    for m in range(lmax + 1):
        if m:
            first = -first * sin * math.sqrt((2 * m + 1) / (2 * m))
        found[m, m] = before = first
        if m < lmax:
            found[m, m + 1] = here = x * first * math.sqrt(2 * m + 3)
        for l in range(m + 2, lmax + 1):  # noqa: E741  the degree is called l everywhere
            a = math.sqrt((4 * l * l - 1) / (l * l - m * m))
            b = math.sqrt(((l - 1) ** 2 - m * m) / (4 * (l - 1) ** 2 - 1))
            before, here = here, a * (x * here - b * before)
            found[m, l] = here
    return found


@lru_cache(maxsize=32)
def _tables(
    nlat: int, sampling: str, lmax: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """P_lm at the latitudes, for the way back, and times the quadrature weights, for the way in."""
    cos, weights = latitudes(nlat, sampling)
    back = legendre(lmax, cos)
    there = back * (weights * 2 * math.pi)
    return there.to(device, dtype), back.to(device, dtype)


def sht(x: Tensor, lmax: int, sampling: str) -> Tensor:
    """The coefficients to degree `lmax`; exact where the function has no greater one.

    Args:
        x: (batch, nlat, nlon, c), real, nlon >= 2 lmax + 1.
        lmax: the greatest degree.
        sampling: of the latitudes, see `opdsl.nn.sphere.latitudes`.

    Returns:
        complex (batch, lmax + 1, lmax + 1, c), over l and m.
    """
    there, _ = _tables(x.shape[1], sampling, lmax, x.dtype, x.device)
    z = torch.fft.rfft(x, dim=2, norm="forward").narrow(2, 0, lmax + 1)
    return _over_latitudes("bjmc,mlj->blmc", z, there)


def inverse_sht(z: Tensor, size: Size, sampling: str) -> Tensor:
    """The real function of the coefficients `z` on (nlat, nlon) points."""
    nlat, nlon = size
    _, back = _tables(nlat, sampling, z.shape[1] - 1, z.real.dtype, z.device)
    waves = _over_latitudes("blmc,mlj->bjmc", z, back)
    x: Tensor = torch.fft.irfft(waves, n=nlon, dim=2, norm="forward")
    return x


def _over_latitudes(rule: str, z: Tensor, table: Tensor) -> Tensor:
    return torch.complex(torch.einsum(rule, z.real, table), torch.einsum(rule, z.imag, table))


class SphericalConv(nn.Module):
    """w = S^-1(R_l . S(v)) + b.

    Attributes:
        weight: R, (lmax + 1, in, out), real.
        bias: b, (out,), or None.
    """

    def __init__(
        self, in_channels: int, out_channels: int, lmax: int, *, sampling: str, bias: bool = True
    ) -> None:
        super().__init__()
        self.lmax, self.sampling = lmax, sampling
        spread = 1 / math.sqrt(in_channels)  # a coefficient keeps its variance
        self.weight = nn.Parameter(spread * torch.randn(lmax + 1, in_channels, out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """(batch, nlat, nlon, in) -> (batch, *size, out)."""
        with no_autocast(x):
            dtype = wide(x)
            z = sht(x.to(dtype), self.lmax, self.sampling)
            weight = self.weight.to(dtype)
            mixed = torch.complex(
                *(torch.einsum("blmi,lio->blmo", y, weight) for y in (z.real, z.imag))
            )
            y = inverse_sht(mixed, size, self.sampling)
            return (y if self.bias is None else y + self.bias.to(dtype)).to(x.dtype)

    def extra_repr(self) -> str:
        """The greatest degree and the sampling."""
        return f"lmax={self.lmax}, sampling={self.sampling}"
