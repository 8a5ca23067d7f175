"""The relative H1 error with derivatives in the basis of the output's boundary."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from opdsl.bases import vanishing_interpolant
from opdsl.nn.points.batch import Values, all_values
from opdsl.nn.precision import no_autocast
from opdsl.nn.spectral.half_waves.interpolants import derivative_matrix
from opdsl.nn.spectral.transforms import apply_along_axis
from opdsl.train.losses import Loss
from opdsl.train.losses.h1 import derivative
from opdsl.train.metrics.norms import GridAxes, l2_norm, quotient, wide


def rel_h1_spectral(pred: Tensor, true: Tensor, grid: GridAxes) -> Tensor:
    """Return ||pred - true||_H1 / ||true||_H1 with the derivatives of `spectral_derivatives`.

    Args:
        pred: (batch, channels, *grid), in any unit.
        true: shaped as `pred`, in its unit.
        grid: the axes, their points and the conditions at their ends.

    Returns:
        (batch,), without unit; NaN, without a gradient, where the norm of the truth is zero.
    """
    pred, true = wide(pred), wide(true)
    return quotient(_h1_norm(pred - true, grid), _h1_norm(true, grid))


def spectral_derivatives(u: Tensor, grid: GridAxes) -> Iterator[Tensor]:
    """Yield the derivative along each axis of the interpolant that the boundary asks for.

    Periodic axes take waves. On other axes the linear function with the values at the ends is
    subtracted, and the rest is a sum of sines (of cosines between Neumann ends, of quarter waves
    between one of each). Cell centres take sines at Dirichlet ends and cosines at others. Where the
    points do not determine such functions the derivative is the second-order difference.

    Args:
        u: (batch, channels, *grid).
        grid: the axes, their points and the conditions at their ends.
    """
    axes = zip(grid.periodic, grid.lengths, grid.points, grid.conditions, strict=True)
    for axis, (periodic, length, sampling, ends) in enumerate(axes, start=2):
        chosen = vanishing_interpolant(ends, sampling)
        if chosen is None:
            yield derivative(u, axis, periodic=periodic, length=length, sampling=sampling)
            continue
        matrix = derivative_matrix(*chosen, sampling, u.shape[axis], u.dtype, u.device)
        with no_autocast(u):
            yield apply_along_axis(u, axis, matrix) / length


def _h1_norm(u: Tensor, grid: GridAxes) -> Tensor:
    return l2_norm(torch.stack([l2_norm(x) for x in (u, *spectral_derivatives(u, grid))], 1))


def _error(pred: Values, true: Values, _: Values | None, grid: GridAxes) -> Tensor:
    return rel_h1_spectral(all_values(pred), all_values(true), grid)


LOSS = Loss(
    """||u - v||_H1 / ||v||_H1 as `h1`, with derivatives in the basis of the output's boundary.

    On periodic axes u is a sum of waves; on others a linear function with the values at the ends
    and sines, cosines between Neumann ends, quarter waves between one of each. The derivative is
    exact for functions of which the grid resolves the frequencies, where `h1` has an error of
    second order. It needs a grid; take `l2` on points and on spheres.

    Source: Li et al. 2021, arXiv:2111.03794 (Sobolev norms as losses); Trefethen 2000,
    doi:10.1137/1.9780898719598 (spectral derivatives).
    """,
    _error,
    needs_grid=True,
)
