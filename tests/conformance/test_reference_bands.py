"""The loss of a band is that of neuraloperator, up to the scale that it gives to each point."""

import warnings

import pytest
import torch

from opdsl.train.metrics.pinball import pinball

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    reference = pytest.importorskip(
        "neuralop.losses.data_losses",
        reason="neuraloperator is not importable here",
        exc_type=ImportError,
    )


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.8])
def test_the_pinball_loss_is_the_references_where_every_point_has_one_scale(alpha):
    away = torch.rand(6, 2, 12)
    away[0] = 1.0  # it divides each point by the largest value in the batch
    width = torch.rand(6, 2, 12)
    theirs = reference.PointwiseQuantileLoss(alpha, reduction="mean")(width, away)
    ours = pinball(width, away, 1 - alpha).mean() / (2 * alpha * (1 - alpha))
    torch.testing.assert_close(ours, theirs)
