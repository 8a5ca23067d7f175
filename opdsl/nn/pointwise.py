"""Layers that act at each point alone: (batch, *grid, in) -> (batch, *grid, out)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import Dropout, Linear, functional

__all__ = ["ACTIVATIONS", "Activation", "Dropout", "Linear"]

# torch's own Linear is the matrix product on the last axis, and its own Dropout does not care for
# the order of axes: in channels-last tensors nothing is to be added to either.


def identity(x: Tensor) -> Tensor:
    """The input itself, so that a layer without activation needs no other program."""
    return x


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": functional.elu,
    "gelu": functional.gelu,
    "identity": identity,
    "leaky_relu": functional.leaky_relu,
    "mish": functional.mish,
    "relu": functional.relu,
    "selu": functional.selu,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "sin": torch.sin,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "tanh": torch.tanh,
}


class Activation(nn.Module):
    """sigma(x) for each number; `kind` is a key of `ACTIVATIONS`."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.function = ACTIVATIONS[kind]

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        return self.function(x)

    def extra_repr(self) -> str:
        """The kind."""
        return self.kind
