"""Vector spherical harmonic transforms: a tangent field as gradient and curl of two functions.

Fields are (batch, nlat, nlon, c, 2), the components to the south and to the east; spectra of S and
T are as in `opdsl.nn.sphere.harmonics`, with

    u = grad S + r x grad T,    div u = Laplace S,    curl u = Laplace T.

Nothing is divided by the sine of the colatitude, so the poles are not singular.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from opdsl.nn.eager_cache import eager_cached
from opdsl.nn.shapes import Size
from opdsl.nn.sphere.harmonics import contract_with_table, legendre, longitude_rfft
from opdsl.nn.sphere.sampling import latitudes


def legendre_derivatives(p: Tensor) -> tuple[Tensor, Tensor]:
    """Compute d P_lm / d theta and m P_lm / sin(theta) from P_lm up to one degree more.

    Args:
        p: of `legendre(lmax + 1, x)`, (m, l, n).

    Returns:
        two tables (m, l, n) up to degree lmax.

    Source: Bosch 2000, doi:10.1016/S1464-1895(00)00101-0, eq. (17) and (22), for these signs.
    """
    lmax = p.shape[1] - 2
    m = torch.arange(lmax + 1, dtype=p.dtype)[:, None, None]
    l = torch.arange(lmax + 1, dtype=p.dtype)[None, :, None]  # noqa: E741  the degree
    same_order = p[: lmax + 1, : lmax + 1]
    above = p[1:, : lmax + 1]
    below = torch.cat((-above[:1], same_order[:-1]))  # of order -1, by its symmetry
    up = torch.sqrt(((l - m) * (l + m + 1)).clamp(min=0))
    down = torch.sqrt(((l + m) * (l - m + 1)).clamp(min=0))
    # of one degree more, so that every degree has one
    high_above, high_here = p[1:, 1:], p[: lmax + 1, 1:]
    high_below = torch.cat((-high_above[:1], high_here[:-1]))
    ratio = torch.sqrt((2 * l + 1) / (2 * l + 3))
    up_high = torch.sqrt((l + m + 1) * (l + m + 2))
    down_high = torch.sqrt(((l - m + 1) * (l - m + 2)).clamp(min=0))
    slope = 0.5 * (up * above - down * below)
    azimuthal = -0.5 * ratio * (up_high * high_above + down_high * high_below)
    return slope, azimuthal


@eager_cached(8)
def _derivative_tables(
    nlat: int, sampling: str, lmax: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Make tables of the forward transform, with weights / (l (l + 1)), and of the inverse."""
    cos, weights = latitudes(nlat, sampling)
    slope, azimuthal = legendre_derivatives(legendre(lmax + 1, cos))
    l = torch.arange(lmax + 1, dtype=cos.dtype)  # noqa: E741  the degree
    scale = torch.where(l > 0, 1 / (l * (l + 1)).clamp(min=1), 0.0)[:, None]
    factor = weights * 2 * math.pi * scale
    tables = (slope * factor, azimuthal * factor, slope, azimuthal)
    slope_in, azimuthal_in, slope_out, azimuthal_out = (x.to(device, dtype) for x in tables)
    return slope_in, azimuthal_in, slope_out, azimuthal_out


def vector_sht(u: Tensor, lmax: int, sampling: str) -> tuple[Tensor, Tensor]:
    """Compute the spectra of S and T, whose means are set to zero.

    Args:
        u: (batch, nlat, nlon, c, 2), real.
        lmax: the greatest degree.
        sampling: of the latitudes.

    Returns:
        twice complex (batch, lmax + 1, lmax + 1, c).
    """
    slope, azimuthal, _, _ = _derivative_tables(u.shape[1], sampling, lmax, u.dtype, u.device)
    south, east = (longitude_rfft(x, lmax) for x in u.unbind(-1))
    rule = "bjmc,mlj->blmc"
    S = contract_with_table(rule, south, slope) - 1j * contract_with_table(rule, east, azimuthal)
    T = contract_with_table(rule, east, slope) + 1j * contract_with_table(rule, south, azimuthal)
    return S, T


def inverse_vector_sht(S: Tensor, T: Tensor, size: Size, sampling: str) -> Tensor:
    """Evaluate the field grad S + r x grad T on (nlat, nlon) points."""
    nlat, nlon = size
    _, _, slope, azimuthal = _derivative_tables(
        nlat, sampling, S.shape[1] - 1, S.real.dtype, S.device
    )
    rule = "blmc,mlj->bjmc"
    south = contract_with_table(rule, S, slope) - 1j * contract_with_table(rule, T, azimuthal)
    east = contract_with_table(rule, T, slope) + 1j * contract_with_table(rule, S, azimuthal)
    return torch.stack(
        [torch.fft.irfft(x, n=nlon, dim=2, norm="forward") for x in (south, east)], -1
    )
