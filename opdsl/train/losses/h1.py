"""The relative H1 error: values and first derivatives on a grid."""

from collections.abc import Iterator

import torch
from torch import Tensor

from opdsl.nn.points.batch import Values, all_values
from opdsl.sampling import GridSampling, spacings
from opdsl.train.losses import Loss
from opdsl.train.metrics.norms import GridAxes, l2_norm, quotient, wide


def rel_h1(pred: Tensor, true: Tensor, grid: GridAxes) -> Tensor:
    """Return ||pred - true||_H1 / ||true||_H1; ||u||_H1^2 = ||u||^2 + sum_a ||d_a u||^2.

    Args:
        pred: (batch, channels, *grid), in any unit.
        true: shaped as `pred`, in its unit.
        grid: periodicity, lengths and points of the axes.

    Returns:
        (batch,), without unit; NaN, without a gradient, where the norm of the truth is zero.

    Source: Li et al. 2021, arXiv:2111.03794 (Sobolev norms as losses); here with second-order
    differences, which wrap only on periodic axes.
    """
    pred, true = wide(pred), wide(true)
    return quotient(_h1_norm(pred - true, grid), _h1_norm(true, grid))


def derivative(
    u: Tensor,
    axis: int,
    *,
    periodic: bool,
    length: float = 1.0,
    sampling: GridSampling | None = None,
) -> Tensor:
    """Return du/dx to second order: central inside, one-sided at the ends unless periodic.

    The points are equidistant. Two points give a first-order difference, one point gives 0.

    Args:
        u: a function with points on the axis `axis`.
        axis: which axis.
        periodic: whether its last point neighbours the first.
        length: of the axis, in the unit of x.
        sampling: where its points are; None: at both ends unless it is periodic, so that `n - 1`
            steps make up the length, or `n`.
    """
    n = u.shape[axis]
    if n == 1:
        return torch.zeros_like(u)
    if periodic:
        step = length / n
        return (u.roll(-1, axis) - u.roll(1, axis)) / (2 * step)
    return _one_sided(u, axis, n) * (spacings(sampling or "both", n) / length)


def _one_sided(u: Tensor, axis: int, n: int) -> Tensor:
    """Return the derivative per step of an axis that is not periodic."""

    def at(start: int, size: int = 1) -> Tensor:
        return u.narrow(axis, start, size)

    if n == 2:
        return torch.cat([at(1) - at(0)] * 2, axis)
    at_start = (4 * at(1) - 3 * at(0) - at(2)) / 2
    at_end = (3 * at(n - 1) - 4 * at(n - 2) + at(n - 3)) / 2
    return torch.cat([at_start, (at(2, n - 2) - at(0, n - 2)) / 2, at_end], axis)


def _h1_norm(u: Tensor, grid: GridAxes) -> Tensor:
    return l2_norm(torch.stack([l2_norm(x) for x in _with_derivatives(u, grid)], 1))


def _with_derivatives(u: Tensor, grid: GridAxes) -> Iterator[Tensor]:
    """Yield the function and its first derivative along each axis."""
    yield u
    axes = zip(grid.periodic, grid.lengths, grid.points, strict=True)
    for axis, (periodic, length, sampling) in enumerate(axes):
        yield derivative(u, axis + 2, periodic=periodic, length=length, sampling=sampling)


def _error(pred: Values, true: Values, _: Values | None, grid: GridAxes) -> Tensor:
    return rel_h1(all_values(pred), all_values(true), grid)


LOSS = Loss(
    """||u - v||_H1 / ||v||_H1, where ||u||_H1^2 = ||u||^2 + sum over axes a of ||d_a u||^2.

    Also matches first derivatives, by second-order differences that wrap on periodic axes only. It
    needs a grid; take `l2` on points and on spheres.

    Source: Li et al. 2021, arXiv:2111.03794 (Sobolev norms as losses).
    """,
    _error,
    needs_grid=True,
)
