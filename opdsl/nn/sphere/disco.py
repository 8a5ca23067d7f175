"""Discrete-continuous convolution on the sphere: a local kernel that is a function.

Functions are (batch, nlat, nlon, channels), as in `opdsl.nn.sphere.harmonics`. The offset of two
points is their distance on the unit sphere and the bearing from one to the other. Both are
invariant under rotation in longitude, so on each pair of latitudes this is a convolution along
longitudes.

Source: Ocampo et al. 2023, arXiv:2209.13603, section 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from opdsl.nn.eager_cache import eager_cached
from opdsl.nn.grid.disco import RADIUS_SLACK, basis_size, hat_basis
from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.sphere.sampling import latitudes

_KernelSpectra = tuple[Tensor, Tensor]


@eager_cached(8)
def kernel_spectra(
    shape: tuple[int, int],
    radius: float,
    sampling: str,
    nlat: int,
    nlon: int,
    dtype: torch.dtype,
    device: torch.device,
) -> _KernelSpectra:
    """Find latitudes within the radius of each one, and transform the basis there in longitude.

    Returns:
        rows, (nlat, band); spectra, complex (functions, nlat, band, nlon // 2 + 1), zero where a
        row is repeated or too far. Each function has the integral one around every point.
    """
    cos, weights = latitudes(nlat, sampling)
    theta = cos.clamp(-1, 1).arccos()
    near = (theta[:, None] - theta).abs() <= radius * (1 + RADIUS_SLACK)
    band = int(near.sum(1).max())
    rows = near.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :band]
    within = near.gather(1, rows)
    phi = torch.arange(nlon, dtype=torch.float64) * (2 * math.pi / nlon)
    distance, bearing = _offsets(theta[:, None, None], theta[rows][..., None], phi)
    psi = hat_basis(shape, distance / radius, bearing)
    psi = psi * (weights[rows] * within)[..., None]
    total = psi.sum((2, 3), keepdim=True)
    psi = torch.where(total > 0, psi / total.clamp(min=1e-15), 0.0)
    # output at longitude 0 sees the input at phi: a correlation, so the conjugate
    spectra = torch.fft.rfft(psi, dim=3).conj().resolve_conj()
    return rows.to(device), spectra.to(
        device, torch.complex(*(torch.zeros(0, dtype=dtype),) * 2).dtype
    )


def _offsets(a: Tensor, b: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
    """Compute distance and bearing from (colatitude, longitude) = (a, 0) to (b, phi)."""
    x = b.sin() * phi.sin()  # to the east
    y = a.sin() * b.cos() - a.cos() * b.sin() * phi.cos()  # to the north
    z = a.cos() * b.cos() + a.sin() * b.sin() * phi.cos()
    return torch.atan2((x**2 + y**2).sqrt(), z), torch.atan2(x, y)


class DiscoConv(nn.Module):
    """w(x) = integral of k(x, y) v(y) dy + b over the points y within the radius of x.

    Attributes:
        weight: W, (functions, in, out).
        bias: b, (out,), or None.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        shape: tuple[int, int],
        radius: float,
        sampling: str,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.shape, self.radius, self.sampling = shape, radius, sampling
        functions = basis_size(shape)
        spread = 1 / math.sqrt(in_channels * functions)
        self.weight = nn.Parameter(spread * torch.randn(functions, in_channels, out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(batch, nlat, nlon, in) -> (batch, nlat, nlon, out)."""
        with no_autocast(x):
            v = x.to(wide(x))
            nlat, nlon = v.shape[1:3]
            rows, spectra = kernel_spectra(
                self.shape, self.radius, self.sampling, nlat, nlon, v.dtype, v.device
            )
            z = torch.fft.rfft(v, dim=2)
            w = v.new_zeros(*v.shape[:3], self.weight.shape[-1])
            for one, matrix in zip(spectra, self.weight.to(v.dtype), strict=True):
                parts = (
                    z.index_select(1, rows[:, i]) * one[:, i, :, None] for i in range(rows.shape[1])
                )
                w = w + torch.fft.irfft(sum(parts), n=nlon, dim=2) @ matrix
            return (w if self.bias is None else w + self.bias.to(w.dtype)).to(x.dtype)

    def extra_repr(self) -> str:
        """Describe the kernel."""
        return f"shape={self.shape}, radius={self.radius}, sampling={self.sampling}"
