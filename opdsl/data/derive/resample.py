"""Functions on another grid by the series of each axis: exact where these determine the function.

The points of a coarser grid need not be points of the finer one, unlike in `coarsen`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opdsl.bases import Family, Lift
from opdsl.nn.spectral.half_waves.interpolants import resampling_matrix
from opdsl.nn.sphere.harmonics import inverse_sht, sht
from opdsl.sampling import GridSampling

CHUNK = 64  # samples converted to float64 at a time
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class SeriesAxis:
    """The series of functions on one axis.

    Attributes:
        family: of the waves.
        lift: the ends whose values a polynomial takes up.
        sampling: where the points are.
    """

    family: Family
    lift: Lift
    sampling: GridSampling


@dataclass(frozen=True, slots=True)
class SphereAxes:
    """Spherical harmonics on two axes, latitudes and longitudes.

    Attributes:
        sampling: of the latitudes, see `opdsl.nn.sphere.sampling.latitudes`.
    """

    sampling: str


Part = SeriesAxis | SphereAxes


def resample(x: Tensor, parts: Sequence[Part], size: Sequence[int]) -> Tensor:
    """Evaluate the series of functions at the points of another grid, computed in float64.

    Waves and harmonics that one of the grids does not determine are removed, not aliased.

    Args:
        x: (samples, ..., *grid); any axes may come between.
        parts: of the grid, in order.
        size: points on each axis of the new grid.

    Returns:
        (samples, ..., *size), in the dtype of x.
    """
    dims = len(size)
    lead, grid = x.shape[: x.dim() - dims], tuple(x.shape[x.dim() - dims :])
    if grid == tuple(size):
        return x
    flat = x.reshape(-1, *grid)
    chunks = torch.split(flat, CHUNK)
    result = torch.cat([_resampled(c.double(), parts, size).to(x.dtype) for c in chunks])
    return result.reshape(*lead, *size)


def _resampled(x: Tensor, parts: Sequence[Part], size: Sequence[int]) -> Tensor:
    axis = 1
    for part in parts:
        count = 2 if isinstance(part, SphereAxes) else 1
        have, want = x.shape[axis : axis + count], size[axis - 1 : axis - 1 + count]
        if tuple(have) != tuple(want):
            x = x.movedim(tuple(range(axis, axis + count)), tuple(range(-count, 0)))
            x = (
                _on_sphere(x, part, want)
                if isinstance(part, SphereAxes)
                else _on_axis(x, part, want)
            )
            x = x.movedim(tuple(range(-count, 0)), tuple(range(axis, axis + count)))
        axis += count
    return x


def _on_axis(x: Tensor, part: SeriesAxis, want: Sequence[int]) -> Tensor:
    """Resample the last axis."""
    n, m = x.shape[-1], want[0]
    kind = part.family, part.lift, part.sampling
    return x @ resampling_matrix(*kind, n, m, dtype=torch.float64, device=CPU).T


def _on_sphere(x: Tensor, part: SphereAxes, want: Sequence[int]) -> Tensor:
    """Resample the last two axes, latitudes and longitudes."""
    lead, (nlat, nlon) = x.shape[:-2], x.shape[-2:]
    degree = min(
        greatest_degree(nlat, part.sampling), (nlon - 1) // 2, want[0] - 1, (want[1] - 1) // 2
    )
    z = sht(x.reshape(-1, nlat, nlon, 1), degree, part.sampling)
    return inverse_sht(z, tuple(want), part.sampling).reshape(*lead, *want)


def greatest_degree(nlat: int, sampling: str) -> int:
    """Return the degree up to which quadrature on latitudes gives the coefficients exactly.

    The rules are exact for products of two harmonics of this degree, see
    `opdsl.nn.sphere.sampling.latitudes`.
    """
    exact = {"gauss_legendre": 2 * nlat - 1, "lobatto": 2 * nlat - 3}
    return max(exact.get(sampling, nlat - 1) // 2, 0)
