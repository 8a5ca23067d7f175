"""Adam, whose weight decay is part of the gradient."""

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
    from torch.optim import Adam

    betas = (settings.betas[0], settings.betas[1])
    decay = settings.weight_decay
    return Adam(parameters, lr=settings.lr, weight_decay=decay, betas=betas)


OPTIMIZER = OptimizerEntry(
    """Steps along running means of the gradient, over the root of those of its square.

    Weight decay adds to the gradient, so it is scaled too; `adamw` avoids that.

    Source: Kingma and Ba 2015, arXiv:1412.6980.
    """,
    _build,
    uses=("betas",),
    moments=2,
)
