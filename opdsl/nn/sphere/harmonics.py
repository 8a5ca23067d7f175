"""Spherical harmonic transforms of real functions, and a convolution by them.

Functions are (batch, nlat, nlon, c), latitudes from north to south, longitudes from 0 on.
Coefficients are complex (batch, l, m, c), of orthonormal harmonics Y_lm = P_lm(cos theta)
exp(i m phi) with m >= 0, which represent their conjugates too.

Two kernels, equal up to rounding: `fft`, fast transforms along the longitudes; `dft`, real matrix
products with the needed orders only, then products that skip most degrees below the order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from opdsl.nn.eager_cache import eager_cached
from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import Size
from opdsl.nn.spectral.factors import FACTORS, Factored
from opdsl.nn.spectral.transforms import batched_left_matmul, dft_matrix
from opdsl.nn.sphere.sampling import latitudes

ORDER_BLOCKS = 4  # parts of the orders, each of which begins at the degree of its first order


def legendre(lmax: int, x: Tensor) -> Tensor:
    """Evaluate orthonormal Legendre functions P_lm(x), with the factor 1 / sqrt(2 pi) of Y_lm.

    The recurrence in l runs for all m at once and begins at P_mm, which may underflow to zero; the
    exact value then is zero to all digits, and nothing grows.

    Args:
        lmax: the greatest degree.
        x: cosines, float64, (n,).

    Returns:
        (m, l, n), zero where l < m.

    Source: Holmes and Featherstone 2002, doi:10.1007/s00190-002-0216-2, eq. (11) and (13).
    """
    result = x.new_zeros(lmax + 1, lmax + 1, x.shape[0])
    _diagonal(result, x)
    m = torch.arange(lmax + 1, dtype=x.dtype)[:, None]
    for l in range(1, lmax + 1):  # noqa: E741  the degree is called l everywhere
        k = m[:l]
        a = torch.sqrt((4 * l * l - 1) / (l * l - k * k))
        result[:l, l] = a * x * result[:l, l - 1]
        if l > 1:
            # zero at m = l - 1, where there is no P_(l-2) m
            b = torch.sqrt(((l - 1) ** 2 - k * k).clamp(min=0) / (4 * (l - 1) ** 2 - 1))
            result[:l, l] -= a * b * result[:l, l - 2]
    return result


def _diagonal(found: Tensor, x: Tensor) -> None:
    """Evaluate P_mm = (-1)^m sqrt((2 m + 1)!! / (4 pi (2 m)!!)) sin^m."""
    sin = (1 - x**2).clamp(min=0).sqrt()
    found[0, 0] = math.sqrt(1 / (4 * math.pi))
    for m in range(1, len(found)):
        found[m, m] = -found[m - 1, m - 1] * sin * math.sqrt((2 * m + 1) / (2 * m))


@eager_cached(8)
def legendre_tables(
    nlat: int, sampling: str, lmax: int, orders: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Tabulate P_lm at the latitudes, with quadrature weights (forward) and without (inverse)."""
    cos, weights = latitudes(nlat, sampling)
    inverse = legendre(lmax, cos)[: orders + 1]
    forward = inverse * (weights * 2 * math.pi)
    return forward.to(device, dtype), inverse.to(device, dtype)


def sht(x: Tensor, lmax: int, sampling: str, orders: int | None = None) -> Tensor:
    """Compute the coefficients up to degree `lmax`; exact if the function has no greater degree.

    Args:
        x: (batch, nlat, nlon, c), real, nlon >= 2 orders + 1.
        lmax: the greatest degree.
        sampling: of the latitudes, see `opdsl.nn.sphere.sampling.latitudes`.
        orders: the greatest order, `lmax` by default.

    Returns:
        complex (batch, lmax + 1, orders + 1, c), over l and m.
    """
    orders = lmax if orders is None else orders
    table, _ = legendre_tables(x.shape[1], sampling, lmax, orders, x.dtype, x.device)
    return contract_with_table("bjmc,mlj->blmc", longitude_rfft(x, orders), table)


def inverse_sht(z: Tensor, size: Size, sampling: str) -> Tensor:
    """Evaluate the real function with coefficients `z` on (nlat, nlon) points."""
    nlat, nlon = size
    orders, real = z.shape[2] - 1, z.real.dtype
    _, table = legendre_tables(nlat, sampling, z.shape[1] - 1, orders, real, z.device)
    x: Tensor = torch.fft.irfft(
        contract_with_table("blmc,mlj->bjmc", z, table), n=nlon, dim=2, norm="forward"
    )
    return x


def longitude_rfft(x: Tensor, orders: int) -> Tensor:
    """Compute Fourier coefficients along the longitudes, (batch, nlat, orders + 1, c)."""
    z: Tensor = torch.fft.rfft(x, dim=2, norm="forward").narrow(2, 0, orders + 1)
    return z


def contract_with_table(rule: str, z: Tensor, table: Tensor) -> Tensor:
    """Contract complex coefficients with a real table by an einsum rule."""
    return torch.complex(torch.einsum(rule, z.real, table), torch.einsum(rule, z.imag, table))


def sht_dft(x: Tensor, lmax: int, sampling: str, orders: int) -> Tensor:
    """Compute `sht` by matrix products."""
    batch, nlat, nlon, channels = x.shape
    table, _ = legendre_tables(nlat, sampling, lmax, orders, x.dtype, x.device)
    cut = dft_matrix("cut_half", nlon, range(orders + 1), x)
    z = batched_left_matmul(cut, x.reshape(batch * nlat, nlon, channels))
    z = z.reshape(batch, nlat, 2, orders + 1, channels).permute(3, 1, 0, 2, 4).flatten(2)
    # P_lm is zero for l < m: each block of orders begins at its first degree
    parts = [
        functional.pad(torch.bmm(table[m, m.start :], z[m]), (0, 0, m.start, 0))
        for m in _order_blocks(orders)
    ]
    y = torch.cat(parts).reshape(orders + 1, lmax + 1, batch, 2, channels)
    re, im = y.permute(3, 2, 1, 0, 4)
    return torch.complex(re, im)


def inverse_sht_dft(z: Tensor, size: Size, sampling: str) -> Tensor:
    """Compute `inverse_sht` by matrix products."""
    nlat, nlon = size
    batch, degrees, count, channels = z.shape
    y = torch.view_as_real(z).permute(2, 1, 0, 4, 3).flatten(2)
    _, table = legendre_tables(nlat, sampling, degrees - 1, count - 1, y.dtype, y.device)
    parts = [torch.bmm(table[m, m.start :].mT, y[m, m.start :]) for m in _order_blocks(count - 1)]
    y = torch.cat(parts).reshape(count, nlat, batch, 2, channels).permute(2, 1, 3, 0, 4)
    grow = dft_matrix("grow_half", nlon, range(count), y)
    return batched_left_matmul(grow, y.reshape(batch * nlat, 2 * count, channels)).reshape(
        batch, nlat, nlon, channels
    )


def _order_blocks(orders: int) -> list[slice]:
    """Split the orders into a few blocks of about equal size."""
    count = orders + 1
    ends = sorted({count * i // ORDER_BLOCKS for i in range(ORDER_BLOCKS + 1)})
    return [slice(a, b) for a, b in pairwise(ends)]


SHTS: dict[str, Callable[[Tensor, int, str, int], Tensor]] = {"fft": sht, "dft": sht_dft}
INVERSE_SHTS: dict[str, Callable[[Tensor, Size, str], Tensor]] = {
    "fft": inverse_sht,
    "dft": inverse_sht_dft,
}


def multiply_by_degree(z: Tensor, R: Tensor) -> Tensor:
    """Multiply each degree by a matrix, real (degrees, in, out) or pairs (degrees, in, out, 2)."""
    if R.ndim == 3:
        R = torch.stack((R, torch.zeros_like(R)), -1)
    return torch.einsum("blmi,lio->blmo", z, torch.view_as_complex(R.contiguous()))


class SphericalConv(nn.Module):
    """w = S^-1(R . S(v)) + b; R is a matrix per degree, per degree and order, or for all.

    Attributes:
        weight: R, (in, out) behind the axes that it has: (lmax + 1,) for `degree`,
            (lmax + 1, orders + 1) for `mode`, none for `all`; a pair of numbers behind that where
            it is complex; without `out` where it is separable. Factorised: a module of
            `opdsl.nn.spectral.factors` of the shape (in, out, ...) or (in, ...).
        bias: b, (out,), or None.

    Source: Driscoll and Healy 1994, doi:10.1006/aama.1994.1008, theorem 1; Bonev et al. 2023,
        arXiv:2306.03838, eq. (8).
    """

    def __init__(  # noqa: PLR0913  one for each parameter of the block
        self,
        in_channels: int,
        out_channels: int,
        lmax: int,
        *,
        sampling: str,
        bias: bool = True,
        orders: int | None = None,
        by: str = "degree",
        real: bool = True,
        separable: bool = False,
        factor: str = "dense",
        ranks: Size = (),
    ) -> None:
        """Make a layer with fresh weights.

        Args:
            in_channels: of v.
            out_channels: of w.
            lmax: the greatest degree.
            sampling: of the latitudes.
            bias: whether b is added.
            orders: the greatest order, `lmax` by default.
            by: `degree`, `mode` or `all`.
            real: whether R is real.
            separable: whether R is diagonal.
            factor: `dense`, or a key of `opdsl.nn.spectral.factors.FACTORS` for complex weights.
            ranks: of the factors.
        """
        super().__init__()
        self.lmax, self.sampling, self.by, self.real = lmax, sampling, by, real
        self.orders = lmax if orders is None else orders
        self.separable, self.channels = separable, (in_channels, out_channels)
        counts = {"degree": (lmax + 1,), "mode": (lmax + 1, self.orders + 1), "all": ()}[by]
        matrix = (in_channels,) if separable else self.channels
        pair = () if real else (2,)
        self.weight: nn.Parameter | Factored = (
            nn.Parameter(torch.empty(*counts, *matrix, *pair))
            if factor == "dense"
            else FACTORS[factor]((*matrix, *counts), ranks)
        )
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw R normal with E|R|^2 = 1 / in, which keeps the variance of coefficients; b = 0."""
        variance = 1.0 if self.separable else 1 / self.channels[0]
        if isinstance(self.weight, Tensor):
            parts = 1 if self.real else 2
            nn.init.normal_(self.weight, std=math.sqrt(variance / parts))
        else:
            self.weight.reset_parameters(variance)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, size: Size, kernel: str = "fft") -> Tensor:
        """(batch, nlat, nlon, in) -> (batch, *size, out); `kernel` is a key of `SHTS`."""
        with no_autocast(x):
            dtype = wide(x)
            z = SHTS[kernel](x.to(dtype), self.lmax, self.sampling, self.orders)
            y = INVERSE_SHTS[kernel](self.mix(z), size, self.sampling)
            return (y if self.bias is None else y + self.bias.to(dtype)).to(x.dtype)

    def mix(self, z: Tensor) -> Tensor:
        """Multiply by R: complex (batch, l, m, in) -> (batch, l, m, out)."""
        R = self._matrices(z.real.dtype)
        axes = {"degree": "l", "mode": "lm", "all": ""}[self.by]
        rule = f"blmi,{axes}i->blmi" if self.separable else f"blmi,{axes}io->blmo"
        if R.is_complex():
            return torch.einsum(rule, z, R)
        return torch.complex(*(torch.einsum(rule, y, R) for y in (z.real, z.imag)))

    def _matrices(self, dtype: torch.dtype) -> Tensor:
        """Return R, (*counts, in, out) or (*counts, in) of a separable layer, real or complex."""
        if not isinstance(self.weight, Tensor):
            lead = 1 if self.separable else 2
            return self.weight.full(dtype).movedim(tuple(range(lead)), tuple(range(-lead, 0)))
        weight = self.weight.to(dtype)
        return weight if self.real else torch.view_as_complex(weight)

    def extra_repr(self) -> str:
        """Describe the greatest degree and order, the sampling, and the kind of R."""
        kind = "real" if self.real else "complex"
        text = f"lmax={self.lmax}, orders={self.orders}, sampling={self.sampling}"
        return f"{text}, {kind} by {self.by}" + ", separable" * self.separable
