"""The relative L2 error, the loss of most neural operators."""

import torch
from torch import Tensor

from opdsl.nn.points.batch import Values, all_values, map_values
from opdsl.train.losses import Loss
from opdsl.train.metrics.norms import (
    GridAxes,
    l2_norm,
    per_sample,
    quotient,
    sqrt_weights,
    weighted,
    wide_pair,
)


def rel_l2(pred: Values, true: Values, weights: Values | None = None) -> Tensor:
    """Return ||pred - true|| / ||true|| of each sample, with norms over channels and grid.

    The norm of a function is an integral, ||u||^2 = sum over points y of w(y) |u(y)|^2, with the
    quadrature weights w where the points stand for known lengths, areas or volumes; elsewhere all
    points count alike.

    Args:
        pred: (batch, channels, *grid), or packed, in any unit.
        true: shaped as `pred`, in its unit.
        weights: (batch or 1, 1, *grid or 1), or packed; a common factor has no effect.

    Returns:
        (batch,), without unit; NaN, without a gradient, where the norm of the truth is zero.

    Source: Li et al. 2021, arXiv:2010.08895, sec. 5 (relative error).
    """
    pred, true = wide_pair(pred, true)
    difference = map_values(pred, lambda x: x - all_values(true))
    if weights is not None:
        factors = sqrt_weights(weights)
        difference, true = weighted(difference, factors), weighted(true, factors)
    if isinstance(difference, Tensor) and isinstance(true, Tensor) and weights is None:
        # both norms in one call: with small models, each call takes a part of the step
        error, size = l2_norm(torch.cat((difference, true))).chunk(2)
        return quotient(error, size)
    return quotient(per_sample(difference, l2_norm), per_sample(true, l2_norm))


def _error(pred: Values, true: Values, weights: Values | None, _: GridAxes) -> Tensor:
    return rel_l2(pred, true, weights)


LOSS = Loss(
    """||u - v|| / ||v||: the relative L2 error of each function, averaged over samples and outputs.

    Norms are integrals over the domain, with the quadrature weights of points and latitudes. The
    loss of most neural operators; it works on grids, points and spheres.

    Source: Li et al. 2021, arXiv:2010.08895, sec. 5.
    """,
    _error,
)
