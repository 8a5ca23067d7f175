"""Errors of functions: values (L2), values and first derivatives on a grid (H1), quantiles.

In come prediction and truth, (batch, channels, *grid) or packed, in physical units; out goes one
number for each sample, in float32 or better whatever the dtype of the prediction.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opdsl.nn.batch import Values, alike, changed, numbers
from opdsl.nn.packed import Packed

TINY = 1e-12  # stands for the norm of a truth that vanishes everywhere


@dataclass(frozen=True, slots=True)
class Grid:
    """What differences need to know of the axes of an output.

    Attributes:
        periodic: for each axis, whether its last point neighbours the first. Without axes (points
            without a grid) there are no derivatives.
        lengths: for each axis, its length in the unit of the derivative.
    """

    periodic: tuple[bool, ...]
    lengths: tuple[float, ...]

    @classmethod
    def unit(cls, periodic: Sequence[bool]) -> "Grid":
        """Every axis of length 1."""
        return cls(tuple(periodic), (1.0,) * len(periodic))


def rel_l2(pred: Values, true: Values, weights: Values | None = None) -> Tensor:
    """||pred - true|| / ||true|| of each sample, norms over channels and grid.

    The norm of a function is an integral, ||u||^2 = sum over points y of w(y) |u(y)|^2: on points
    whose length, area or volume w is known it is weighted by it, elsewhere all points count alike.

    Args:
        pred: (batch, channels, *grid), or packed.
        true: the same functions.
        weights: (batch or 1, 1, points), or packed.

    Returns:
        (batch,), without unit.

    Source: Li et al. 2021, arXiv:2010.08895, sec. 5 (relative error).
    """
    pred, true = _pair(pred, true)
    away = changed(pred, lambda x: x - numbers(true))
    if weights is not None:
        away, true = _weighted(away, weights), _weighted(true, weights)
    return over(away, _norm) / over(true, _norm).clamp_min(TINY)


def over(u: Values, measure: Callable[[Tensor], Tensor]) -> Tensor:
    """(samples,): what `measure` makes of all samples, (samples, channels, ...), or of each."""
    if isinstance(u, Packed):
        return torch.cat([measure(x[None]) for x in u.parts])
    return measure(u)


def rel_h1(pred: Tensor, true: Tensor, grid: Grid) -> Tensor:
    """||pred - true||_H1 / ||true||_H1 of each sample, ||u||_H1^2 = ||u||^2 + sum_a ||d_a u||^2.

    Args:
        pred: (batch, channels, *grid).
        true: the same.
        grid: periodicity and lengths of the axes.

    Returns:
        (batch,), without unit.

    Source: Li et al. 2021, arXiv:2111.03794 (Sobolev norms as losses); here with second-order
    differences, which wrap only on periodic axes.
    """
    pred, true = _wide(pred), _wide(true)
    return _h1_norm(pred - true, grid) / _h1_norm(true, grid).clamp_min(TINY)


def pinball(pred: Values, true: Values, level: float) -> Tensor:
    """max(q r, (q - 1) r), r = true - pred: the mean over channels and grid, for each sample.

    Of all functions of the input, the quantile q of `true` at each point makes it least.

    Args:
        pred: (batch, channels, *grid), or packed.
        true: the same functions.
        level: q, between 0 and 1.

    Returns:
        (batch,), in the unit of `true`.

    Source: Koenker and Bassett 1978, Econometrica 46, eq. (3.1); Ma et al. 2024, arXiv:2402.01960,
    sec. 3. neuraloperator divides each point by the largest value in the batch, which shifts the
    minimum; this does not.
    """
    pred, true = _pair(pred, true)
    r = changed(true, lambda x: x - numbers(pred))
    loss = changed(r, lambda x: torch.maximum(level * x, (level - 1) * x))
    return over(loss, lambda x: x.flatten(1).mean(1))


def derivative(u: Tensor, axis: int, *, periodic: bool, length: float = 1.0) -> Tensor:
    """du/dx to second order: central differences inside, one-sided at the ends unless periodic.

    The points are equidistant: `n` steps of a periodic axis make up its length, `n - 1` of another
    (whose ends both carry a point). Two points give a first-order difference, one point gives 0.
    """
    n = u.shape[axis]
    if n == 1:
        return torch.zeros_like(u)
    if periodic:
        step = length / n
        return (u.roll(-1, axis) - u.roll(1, axis)) / (2 * step)
    return _one_sided(u, axis, n) * ((n - 1) / length)


def _one_sided(u: Tensor, axis: int, n: int) -> Tensor:
    """Differences in units of one step on an axis with ends."""

    def at(start: int, size: int = 1) -> Tensor:
        return u.narrow(axis, start, size)

    if n == 2:
        return torch.cat([at(1) - at(0)] * 2, axis)
    first = (4 * at(1) - 3 * at(0) - at(2)) / 2
    last = (3 * at(n - 1) - 4 * at(n - 2) + at(n - 3)) / 2
    return torch.cat([first, (at(2, n - 2) - at(0, n - 2)) / 2, last], axis)


def _wide(u: Tensor) -> Tensor:
    return u if u.dtype == torch.float64 else u.float()


def _pair(pred: Values, true: Values) -> tuple[Values, Values]:
    """Both wide, and both packed or neither."""
    return changed(alike(pred, true), _wide), changed(true, _wide)


def _weighted(u: Values, weights: Values) -> Values:
    """sqrt(w) u, whose plain norm is the weighted norm of u."""
    return changed(u, lambda x: x * numbers(weights).sqrt())


def _norm(u: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(u.flatten(1), dim=1)
    return norm


def _h1_norm(u: Tensor, grid: Grid) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(torch.stack([_norm(x) for x in _jet(u, grid)]), dim=0)
    return norm


def _jet(u: Tensor, grid: Grid) -> Iterator[Tensor]:
    """The function and its first derivatives."""
    yield u
    for axis, (periodic, length) in enumerate(zip(grid.periodic, grid.lengths, strict=True)):
        yield derivative(u, axis + 2, periodic=periodic, length=length)
