"""Norms and means of batches of functions, on grids and on points, by quadrature weights.

Functions are (batch, channels, *grid) or packed; a norm is one number for each sample, in float32
or better whatever the dtype of the function. Every square is taken of numbers near one, so that
norms do not overflow or vanish with the unit of the data.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opdsl.bases import EndConditions
from opdsl.nn.points.batch import Values, all_values, map_values, match_packing
from opdsl.nn.points.packed import Packed
from opdsl.sampling import GridSampling, samplings_of

# The bits of the exponent of a floating-point number, and the largest power of two whose inverse
# is a normal number.
EXPONENT = {
    torch.float32: (torch.int32, 0x7F800000, 2.0**126),
    torch.float64: (torch.int64, 0x7FF0000000000000, 2.0**1022),
}


@dataclass(frozen=True, slots=True)
class GridAxes:
    """The axes of an output, for differences.

    Attributes:
        periodic: for each axis, whether its last point neighbours the first. Without axes (points
            without a grid, a sphere) there are no derivatives.
        lengths: for each axis, its length in the unit of the derivative.
        samplings: where the points of each axis are; None: at both ends of axes that are not
            periodic.
        ends: the conditions at the two ends of each axis, None for a periodic one; None: unknown.
    """

    periodic: tuple[bool, ...]
    lengths: tuple[float, ...]
    samplings: tuple[GridSampling, ...] | None = None
    ends: tuple[EndConditions | None, ...] | None = None

    @property
    def points(self) -> tuple[GridSampling, ...]:
        """Where the points of each axis are."""
        return samplings_of(self.periodic, self.samplings)

    @property
    def conditions(self) -> tuple[EndConditions | None, ...]:
        """The conditions at the two ends of each axis; None for a periodic one."""
        free: EndConditions = ("none", "none")
        return self.ends or tuple(None if x else free for x in self.periodic)

    @classmethod
    def unit(cls, periodic: Sequence[bool]) -> "GridAxes":
        """Make axes of length 1."""
        return cls(tuple(periodic), (1.0,) * len(periodic))


def per_sample(u: Values, measure: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply `measure`, (n, channels, ...) -> (n,), to all samples or each packed one: (batch,)."""
    if isinstance(u, Packed):
        return torch.cat([measure(x[None]) for x in u.parts])
    return measure(u)


def nonzero_samples(true: Values, weights: Values | None = None) -> Tensor:
    """Return whether the norm of each sample is positive, (batch,): a relative error needs it."""
    true = map_values(true, wide)
    if weights is not None:
        true = weighted(true, sqrt_weights(weights))
    return per_sample(true, max_abs) > 0


def measured_samples(weights: Values | None, count: int) -> Tensor:
    """Return whether a sample has a point that counts, (count,); masks may leave it none."""
    if weights is None:
        return torch.ones(count, dtype=torch.bool)
    return per_sample(weights, lambda x: (x > 0).flatten(1).any(1)).expand(count)


def without_masked(u: Values, weights: Values | None) -> Values:
    """Set u to zero at points without weight, whatever it is there; no gradient reaches them."""
    if weights is None:
        return u
    return map_values(u, lambda x: torch.where(all_values(weights) > 0, x, torch.zeros_like(x)))


def step_weights(weights: Values | None, true: Values) -> Values | None:
    """Return the weights of functions whose axis of time becomes one of samples.

    Args:
        weights: (batch or 1, steps or 1, channels or 1, *grid), or without an axis of time.
        true: (batch, steps, channels, *grid).

    Returns:
        (batch * steps, channels or 1, *grid), or the weights as they are where all steps share
        them.
    """
    if isinstance(weights, Tensor) and weights.dim() == all_values(true).dim():
        return weights.expand(*all_values(true).shape[:2], *weights.shape[2:]).flatten(0, 1)
    return weights


def mean_where(errors: Tensor, counted: Tensor) -> Tensor:
    """Return the mean of the errors that count, a scalar; zero without a gradient if none does.

    A counted error that is not finite makes the mean not finite, which is a sign of divergence.
    """
    total = torch.where(counted, errors, 0.0).sum()
    return total / counted.sum().clamp_min(1)


def mean_over_points(u: Values, weights: Values | None = None) -> Tensor:
    """Return the mean of each function over channels and points by quadrature weights, (batch,).

    NaN, without a gradient, where no point of a function has a weight.
    """
    if weights is None:
        return per_sample(u, lambda x: x.flatten(1).mean(1))
    factors = _rescaled(weights)
    spread_weights = map_values(u, lambda x: all_values(factors).to(x.dtype).expand_as(x))
    # divide by the weights of each function: domains of packed samples differ in measure
    return quotient(per_sample(weighted(u, factors), _sum), per_sample(spread_weights, _sum))


def l2_norm(u: Tensor) -> Tensor:
    """Return the root of the sum of squares, (batch,); scaled so that no square overflows."""
    unit = power_of_two(max_abs(u))
    rescaled = u.flatten(1) / unit[:, None]
    norms: Tensor = torch.linalg.vector_norm(rescaled, dim=1) * unit
    return norms


def rms(u: Values, weights: Values | None = None) -> Tensor:
    """Return the root mean square over channels and points by quadrature weights, (batch,)."""
    u = without_masked(u, weights)
    unit = power_of_two(all_values(u).detach().abs().amax())
    squares = map_values(u, lambda x: (x / unit).square())
    return mean_over_points(squares, weights).sqrt() * unit


def max_abs(u: Tensor) -> Tensor:
    """Return the largest absolute value of each sample, (batch,), without a gradient."""
    norms: Tensor = torch.linalg.vector_norm(u.detach().flatten(1), ord=float("inf"), dim=1)
    return norms


def power_of_two(x: Tensor) -> Tensor:
    """Return the greatest power of two not above |x|; a division by it rounds nothing.

    Values without a normal inverse (zero, infinity, NaN) get the nearest power that has one.
    """
    integer, bits, most = EXPONENT[x.dtype]
    power: Tensor = (x.contiguous().view(integer) & bits).view(x.dtype)
    return power.clamp(1 / most, most)


def sqrt_weights(weights: Values) -> Values:
    """Return roots of quadrature weights that are divided by a power of two near the greatest."""
    return map_values(_rescaled(weights), torch.sqrt)


def weighted(u: Values, factors: Values) -> Values:
    """Multiply u by sqrt(w) at each point, so that its plain norm is the weighted norm of u.

    Where the factor is zero, so is the product, whatever u is: masked values may not be finite.
    """
    u = without_masked(u, factors)
    return map_values(u, lambda x: x * all_values(factors).to(x.dtype))


def quotient(error: Tensor, size: Tensor) -> Tensor:
    """Divide errors by sizes; NaN without a gradient where the size is zero."""
    vanishes = size == 0
    return torch.where(vanishes, torch.nan, error / torch.where(vanishes, 1.0, size))


def wide(u: Tensor) -> Tensor:
    """Convert `u` to float32, unless it is float64."""
    return u if u.dtype == torch.float64 else u.float()


def wide_pair(pred: Values, true: Values) -> tuple[Values, Values]:
    """Return both functions in float32 or better, and both packed or both dense."""
    return map_values(match_packing(pred, true), wide), map_values(true, wide)


def _rescaled(weights: Values) -> Values:
    """Divide weights by a power of two near the greatest, so that no product underflows."""
    unit = power_of_two(wide(all_values(weights)).amax())
    return map_values(weights, lambda x: wide(x) / unit)


def _sum(u: Tensor) -> Tensor:
    return u.flatten(1).sum(1)
