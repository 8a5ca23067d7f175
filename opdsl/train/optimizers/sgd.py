"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from opdsl.train.optimizers import OptimizerEntry

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


def _build(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], settings: Any
) -> Optimizer:
    from torch.optim import SGD

    decay, momentum = settings.weight_decay, settings.momentum
    return SGD(
        parameters,
        lr=settings.lr,
        weight_decay=decay,
        momentum=momentum,
        nesterov=settings.nesterov and momentum > 0,
    )


OPTIMIZER = OptimizerEntry(
    """Steps along a running sum of gradients, v <- momentum v + g.

    With `nesterov` the step is g + momentum v.

    Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep
    learning".
    """,
    _build,
    uses=("momentum", "nesterov"),
    moments=1,
)
