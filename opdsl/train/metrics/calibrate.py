"""Conformal calibration: the factor of a band's width that keeps its promise on new functions.

The samples must be some that nothing has learnt from.

Source: Ma et al. 2024, arXiv:2402.01960, sec. 3; Vovk et al. 2005, Algorithmic Learning in a Random
World, ch. 4 (split conformal prediction).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, nan

import torch
from torch import Tensor

from opdsl.diagnostics import fault
from opdsl.nn.points.batch import Values, all_values, match_packing, select, split_samples
from opdsl.train.metrics.norms import mean_over_points, measured_samples

CONFIDENCE = 0.95  # probability of the interval `Calibration.range`
ROUNDING = 1e-9  # (n + 1)(1 - delta) may miss a whole number by rounding


@dataclass(frozen=True, slots=True)
class Calibration:
    """The band of - factor * width ... of + factor * width.

    Attributes:
        of: the output that predicts.
        width: the output that is half the width before calibration.
        alpha: part of the points of a function that may lie outside of its band.
        delta: part of the functions that may have more points outside.
        factor: of the width.
        samples: functions that it was found on.
        rank: the factor is as large as that of the `rank`th of them, in ascending order.
        weights: SHA-256 of the weights that predicted.
    """

    of: str
    width: str
    alpha: float
    delta: float
    factor: float
    samples: int
    rank: int
    weights: str

    @property
    def expected(self) -> float:
        """Mean part of the functions that keep the promise, over calibrations: rank / (n + 1)."""
        return self.rank / (self.samples + 1)

    def range(self) -> tuple[float, float]:
        """The range of the part of the functions that keep it, with the probability `CONFIDENCE`.

        Over calibrations that part is distributed as Beta(rank, n + 1 - rank).

        Source: Vovk 2012, arXiv:1209.2673, prop. 2a.
        """
        from scipy.stats import beta

        tail = (1 - CONFIDENCE) / 2
        law = beta(self.rank, self.samples + 1 - self.rank)
        return float(law.ppf(tail)), float(law.ppf(1 - tail))


@dataclass(frozen=True, slots=True)
class Coverage:
    """Coverage of a band on a set of functions.

    Attributes:
        points: part of all points inside, weighted by quadrature weights where there are some.
        functions: part of the functions of which 1 - alpha of the points are inside.
        samples: how many functions.
        width: mean half width of the band, in the unit of the output.
    """

    points: float
    functions: float
    samples: int
    width: float


def calibrate(
    pred: Values,
    width: Values,
    true: Values,
    *,
    alpha: float,
    delta: float,
    weights: Values | None = None,
) -> tuple[float, int]:
    """Find the least factor that keeps the promise for a new function with probability 1 - delta.

    A function keeps it if |true - pred| <= factor width at 1 - alpha of its points, or more; where
    points have quadrature weights, on 1 - alpha of its domain.
    Of n functions each asks for a factor of its own, and the result is the ceil((n + 1)(1 - delta))
    smallest of these. If the new function is exchangeable with the n, on the grid of these, then
    it keeps the promise with a probability of at least 1 - delta, whatever the model and the law.

    Args:
        pred: (n, channels, *grid), or packed.
        width: shaped as `pred`; where it is not above zero only an exact prediction fits.
        true: shaped as `pred`.
        alpha: between 0 and 1.
        delta: between 0 and 1.
        weights: quadrature weights of the points, (n or 1, 1, *grid or 1) or packed, if they do not
            count alike; functions of which all are zero are left out.

    Returns:
        The factor, and its rank among those of the functions.

    Raises:
        OpError: OP0613, there are too few functions, or widths of zero where they matter.

    Source: Ma et al. 2024, arXiv:2402.01960, sec. 3.2. They take the points of the grid for random
    ones of the domain and ask for more by a bound of Hoeffding; the grid itself does not need it.
    """
    pred, width, true, weights = _measured(pred, width, true, weights)
    n = len(true)
    rank = ceil((n + 1) * (1 - delta) - ROUNDING)
    if rank > n:
        least = ceil(1 / delta - ROUNDING) - 1
        raise fault(
            "OP0613",
            f"{n} samples cannot promise a part of {1 - delta:g} of the functions",
            helps=(f"give at least {least}, or a larger `--delta`",),
        )
    required = factors(pred, width, true, alpha, weights)
    factor = float(required.sort().values[rank - 1])
    if factor == float("inf"):
        message = "the width is zero or less at too many points, so no factor makes it a band"
        helps = ("let it end with `apply(softplus)`, or train it for longer",)
        raise fault("OP0613", message, helps=helps)
    return factor, rank


def factors(
    pred: Values, width: Values, true: Values, alpha: float, weights: Values | None = None
) -> Tensor:
    """Return the least factor that leaves a part alpha of the points outside, by function: (n,).

    Args:
        pred, width, true: (n, channels, *grid), or packed.
        alpha: the part.
        weights: as for `calibrate`.
    """
    if isinstance(true, Tensor):
        dense = all_values(match_packing(pred, true)), all_values(match_packing(width, true)), true
        return _factors(*dense, alpha, None if weights is None else all_values(weights))
    triples = zip(
        *(split_samples(x) for x in (pred, width, true)), _each(weights, len(true)), strict=True
    )
    return torch.cat([_factors(p[None], w[None], t[None], alpha, m) for p, w, t, m in triples])


def _measured(
    pred: Values, width: Values, true: Values, weights: Values | None
) -> tuple[Values, Values, Values, Values | None]:
    """Leave out functions of which no value counts, since masks hide all of them."""
    counted = measured_samples(weights, len(true))
    if weights is None or counted.all():
        return pred, width, true, weights
    rows = counted.nonzero().flatten()
    some = weights if len(weights) == 1 else select(weights, rows)
    return select(pred, rows), select(width, rows), select(true, rows), some


def _each(weights: Values | None, count: int) -> list[Tensor | None]:
    """Return the weights of each function, (1, *grid or 1), or None `count` times."""
    if weights is None:
        return [None] * count
    rows: list[Tensor | None] = list(split_samples(weights))
    return rows * count if len(rows) == 1 else rows


def _factors(
    pred: Tensor, width: Tensor, true: Tensor, alpha: float, weights: Tensor | None
) -> Tensor:
    away = (true - pred).double().abs()
    half = width.double().clamp_min(0)
    required = torch.where(away == 0, torch.zeros_like(away), away / half)
    if weights is not None:
        return _quantile(
            required.flatten(1), weights.double().expand_as(required).flatten(1), 1 - alpha
        )
    required = required.flatten(1)
    rank = max(1, ceil(required.shape[1] * (1 - alpha) - ROUNDING))
    return required.kthvalue(rank, dim=1).values


def _quantile(x: Tensor, weights: Tensor, level: float) -> Tensor:
    """Return the weighted quantile `level` of each row, (n,): the least value that reaches it."""
    values, order = x.sort(1)
    below = weights.gather(1, order).cumsum(1)
    reaches_level = below >= level * below[:, -1:] * (1 - ROUNDING)
    return values.gather(1, reaches_level.byte().argmax(1, keepdim=True)).squeeze(1)


def coverage(
    pred: Values,
    width: Values,
    true: Values,
    calibration: Calibration,
    weights: Values | None = None,
) -> Coverage:
    """Measure which part of points and functions lies inside a band; functions count alike.

    Args:
        pred, width, true: (n, channels, *grid), or packed.
        calibration: the band.
        weights: as for `calibrate`.
    """
    pred, width, true, weights = _measured(pred, width, true, weights)
    if not len(true):
        return Coverage(nan, nan, 0, nan)
    triples = zip(
        *(split_samples(x) for x in (pred, width, true)), _each(weights, len(true)), strict=True
    )
    halves = ((p, half_width(w, calibration.factor).double(), t, m) for p, w, t, m in triples)
    means = [
        (_mean(((t - p).double().abs() <= h).double(), m), _mean(h, m)) for p, h, t, m in halves
    ]
    inside, half = (torch.stack(x).mean() for x in zip(*means, strict=True))
    covered = factors(pred, width, true, calibration.alpha, weights) <= calibration.factor
    return Coverage(
        points=float(inside),
        functions=float(covered.double().mean()),
        samples=len(true),
        width=float(half),
    )


def _mean(x: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean of a function (channels, *grid) over its domain."""
    return mean_over_points(x[None], None if weights is None else weights[None])[0]


def half_width(width: Tensor, factor: float) -> Tensor:
    """Return half the width of the calibrated band, in the shape of `width`."""
    return factor * width.clamp_min(0)
