"""Errors of functions: values (L2), values and first derivatives on a grid (H1), quantiles.

Prediction and truth are (batch, channels, *grid) or packed; the result is one number for each
sample, in float32 or better whatever the dtype of the prediction. Relative errors do not depend on
the unit of the truth: every square is taken of numbers near one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opdsl.nn.points.batch import Values, all_values, map_values, match_packing
from opdsl.nn.points.packed import Packed

# The bits of the exponent of a floating-point number, and the largest power of two whose inverse
# is a normal number.
EXPONENT = {
    torch.float32: (torch.int32, 0x7F800000, 2.0**126),
    torch.float64: (torch.int64, 0x7FF0000000000000, 2.0**1022),
}


@dataclass(frozen=True, slots=True)
class Grid:
    """The axes of an output, for differences.

    Attributes:
        periodic: for each axis, whether its last point neighbours the first. Without axes (points
            without a grid, a sphere) there are no derivatives.
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

    The norm of a function is an integral, ||u||^2 = sum over points y of w(y) |u(y)|^2, with the
    quadrature weights w where the points stand for known lengths, areas or volumes; elsewhere all
    points count alike.

    Args:
        pred: (batch, channels, *grid), or packed, in any unit.
        true: the same functions.
        weights: (batch or 1, 1, *grid or 1), or packed; a common factor has no effect.

    Returns:
        (batch,), without unit; NaN, without a gradient, where the norm of the truth is zero.

    Source: Li et al. 2021, arXiv:2010.08895, sec. 5 (relative error).
    """
    pred, true = _pair(pred, true)
    away = map_values(pred, lambda x: x - all_values(true))
    if weights is not None:
        factors = root_weights(weights)
        away, true = _weighted(away, factors), _weighted(true, factors)
    return _ratio(over(away, norm), over(true, norm))


def over(u: Values, measure: Callable[[Tensor], Tensor]) -> Tensor:
    """(samples,): what `measure` makes of all samples, (samples, channels, ...), or of each."""
    if isinstance(u, Packed):
        return torch.cat([measure(x[None]) for x in u.parts])
    return measure(u)


def nonzero(true: Values, weights: Values | None = None) -> Tensor:
    """(batch,): whether the norm of each sample is positive, so that it has a relative error."""
    true = map_values(true, _wide)
    if weights is not None:
        true = _weighted(true, root_weights(weights))
    return over(true, largest) > 0


def mean_where(errors: Tensor, counted: Tensor) -> Tensor:
    """The mean of the errors that count, a scalar; zero, without a gradient, where none does.

    An error that counts and is not finite makes the mean so too: it is the sign of divergence.
    """
    total = torch.where(counted, errors, torch.zeros_like(errors)).sum()
    return total / counted.sum().clamp_min(1)


def rel_h1(pred: Tensor, true: Tensor, grid: Grid) -> Tensor:
    """||pred - true||_H1 / ||true||_H1 of each sample, ||u||_H1^2 = ||u||^2 + sum_a ||d_a u||^2.

    Args:
        pred: (batch, channels, *grid), in any unit.
        true: the same.
        grid: periodicity and lengths of the axes.

    Returns:
        (batch,), without unit; NaN, without a gradient, where the norm of the truth is zero.

    Source: Li et al. 2021, arXiv:2111.03794 (Sobolev norms as losses); here with second-order
    differences, which wrap only on periodic axes.
    """
    pred, true = _wide(pred), _wide(true)
    return _ratio(_h1_norm(pred - true, grid), _h1_norm(true, grid))


def pinball(pred: Values, true: Values, level: float, weights: Values | None = None) -> Tensor:
    """max(q r, (q - 1) r), r = true - pred: the mean over channels and grid, for each sample.

    Of all functions of the input, the quantile q of `true` at each point makes it least.

    Args:
        pred: (batch, channels, *grid), or packed.
        true: the same functions.
        level: q, between 0 and 1.
        weights: of the mean, as for `rel_l2`.

    Returns:
        (batch,), in the unit of `true`.

    Source: Koenker and Bassett 1978, Econometrica 46, eq. (3.1); Ma et al. 2024, arXiv:2402.01960,
    sec. 3. neuraloperator divides each point by the largest value in the batch, which shifts the
    minimum; this does not.
    """
    pred, true = _pair(pred, true)
    r = map_values(true, lambda x: x - all_values(pred))
    loss = map_values(r, lambda x: torch.maximum(level * x, (level - 1) * x))
    return mean_over_points(loss, weights)


def mean_over_points(u: Values, weights: Values | None = None) -> Tensor:
    """(batch,): the mean of each function over channels and points, by quadrature weights."""
    if weights is None:
        return over(u, lambda x: x.flatten(1).mean(1))
    factors = _in_greatest(weights)
    whole = map_values(u, lambda x: all_values(factors).to(x.dtype).expand_as(x))
    weighted = map_values(u, lambda x: x * all_values(factors).to(x.dtype))
    # each function by the sum of its own weights: those on points of their own differ in measure
    return over(weighted, _sum) / over(whole, _sum)


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


def norm(u: Tensor) -> Tensor:
    """(batch,): the root of the sum of squares; no square overflows, none that matters vanishes."""
    unit = power_of_two(largest(u))
    scaled = u.flatten(1) * (1 / unit)[:, None]
    found: Tensor = torch.linalg.vector_norm(scaled, dim=1) * unit
    return found


def rms(u: Values, weights: Values | None = None) -> Tensor:
    """(batch,): the root of the mean square over channels and points, by quadrature weights."""
    unit = power_of_two(all_values(u).detach().abs().amax())
    squares = map_values(u, lambda x: (x / unit).square())
    return mean_over_points(squares, weights).sqrt() * unit


def largest(u: Tensor) -> Tensor:
    """(batch,): the largest absolute value of each sample, without a gradient."""
    found: Tensor = torch.linalg.vector_norm(u.detach().flatten(1), ord=float("inf"), dim=1)
    return found


def power_of_two(x: Tensor) -> Tensor:
    """The greatest power of two that is not above |x|, a divisor by which nothing is rounded.

    Values without a normal inverse (zero, infinity, NaN) get the nearest power that has one.
    """
    whole, bits, most = EXPONENT[x.dtype]
    found: Tensor = (x.contiguous().view(whole) & bits).view(x.dtype)
    return found.clamp(1 / most, most)


def root_weights(weights: Values) -> Values:
    """The square roots of quadrature weights, in a unit near the greatest."""
    return map_values(_in_greatest(weights), torch.sqrt)


def _in_greatest(weights: Values) -> Values:
    """Weights in a unit near the greatest, so that products with them do not vanish."""
    unit = power_of_two(_wide(all_values(weights)).amax())
    return map_values(weights, lambda x: _wide(x) / unit)


def _ratio(error: Tensor, size: Tensor) -> Tensor:
    """The quotient; NaN without a gradient where the size is zero."""
    vanishes = size == 0
    found = error / torch.where(vanishes, torch.ones_like(size), size)
    return torch.where(vanishes, torch.full_like(found, torch.nan), found)


def _sum(u: Tensor) -> Tensor:
    return u.flatten(1).sum(1)


def _wide(u: Tensor) -> Tensor:
    return u if u.dtype == torch.float64 else u.float()


def _pair(pred: Values, true: Values) -> tuple[Values, Values]:
    """Both wide, and both packed or neither."""
    return map_values(match_packing(pred, true), _wide), map_values(true, _wide)


def _weighted(u: Values, factors: Values) -> Values:
    """sqrt(w) u, whose plain norm is the weighted norm of u."""
    return map_values(u, lambda x: x * all_values(factors).to(x.dtype))


def _h1_norm(u: Tensor, grid: Grid) -> Tensor:
    return norm(torch.stack([norm(x) for x in _jet(u, grid)], 1))


def _jet(u: Tensor, grid: Grid) -> Iterator[Tensor]:
    """The function and its first derivatives."""
    yield u
    for axis, (periodic, length) in enumerate(zip(grid.periodic, grid.lengths, strict=True)):
        yield derivative(u, axis + 2, periodic=periodic, length=length)
