"""Muon for matrices, AdamW for all other weights."""

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
    from opdsl.train.optimizers.algorithms.muon_with_adamw import MuonWithAdamW

    return MuonWithAdamW(
        parameters,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        momentum=settings.momentum,
        betas=(settings.betas[0], settings.betas[1]),
        adjust=settings.adjust,
    )


OPTIMIZER = OptimizerEntry(
    """Steps of equal size in all directions of a matrix: the running mean of the gradient, made
    orthogonal by Newton-Schulz iterations.

    It is torch's Muon, with Nesterov's look-ahead, for weights with two axes. Those of Fourier
    layers, biases and all others have steps of `adamw` with `betas`. With
    `adjust = match_rms_adamw` both have the learning rate and the decay that suit `adamw`.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; Liu et
    al. 2025, arXiv:2502.16982 (`match_rms_adamw`).
    """,
    _build,
    uses=("betas", "momentum", "adjust"),
    moments=1,
)
