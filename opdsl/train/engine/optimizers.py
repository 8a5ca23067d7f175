"""The optimizers by name."""

from collections.abc import Iterable

import torch
from torch import nn

from opdsl.train.config.sections import Optimizer


def optimizer_of(settings: Optimizer, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW, Adam or SGD over the parameters, all in one group."""
    lr, decay = settings.lr, settings.weight_decay
    betas = (settings.betas[0], settings.betas[1])
    if settings.kind == "adamw":
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=decay, betas=betas)
    if settings.kind == "adam":
        return torch.optim.Adam(parameters, lr=lr, weight_decay=decay, betas=betas)
    return torch.optim.SGD(parameters, lr=lr, weight_decay=decay, momentum=settings.momentum)
