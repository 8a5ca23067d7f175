"""The quantile loss, by which the width of a band is learnt."""

import torch
from torch import Tensor

from opdsl.nn.points.batch import Values, all_values, map_values
from opdsl.train.metrics.norms import mean_over_points, wide_pair


def pinball(pred: Values, true: Values, level: float, weights: Values | None = None) -> Tensor:
    """Return the mean of max(q r, (q - 1) r), r = true - pred, over channels and grid.

    Of all functions of the input, the quantile q of `true` at each point makes it least.

    Args:
        pred: (batch, channels, *grid), or packed.
        true: shaped as `pred`, in its unit.
        level: q, between 0 and 1.
        weights: quadrature weights of the mean, as for `rel_l2`.

    Returns:
        (batch,), in the unit of `true`.

    Source: Koenker and Bassett 1978, Econometrica 46, eq. (3.1); Ma et al. 2024, arXiv:2402.01960,
    sec. 3. neuraloperator divides each point by the largest value in the batch, which shifts the
    minimum; this does not.
    """
    pred, true = wide_pair(pred, true)
    r = map_values(true, lambda x: x - all_values(pred))
    loss = map_values(r, lambda x: torch.maximum(level * x, (level - 1) * x))
    return mean_over_points(loss, weights)
