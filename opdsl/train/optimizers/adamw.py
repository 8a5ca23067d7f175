"""Adam with decoupled weight decay, the default."""

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
    from torch.optim import AdamW

    betas = (settings.betas[0], settings.betas[1])
    decay = settings.weight_decay
    return AdamW(parameters, lr=settings.lr, weight_decay=decay, betas=betas)


OPTIMIZER = OptimizerEntry(
    """Adam whose weight decay shrinks the weights themselves, apart from the gradient. The default.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101.
    """,
    _build,
    uses=("betas",),
    moments=2,
)
