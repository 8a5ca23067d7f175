"""Layers that act at each point alone: (batch, *grid, in) -> (batch, *grid, out)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import Dropout, Linear, functional

from opdsl.nn.precision import no_autocast, wide

__all__ = ["ACTIVATIONS", "Activation", "ComplexLinear", "Dropout", "Linear"]

# torch's own Linear is the matrix product on the last axis, and its own Dropout ignores
# the order of axes, so channels-last tensors need no wrapper for either.


class ComplexLinear(nn.Module):
    """W z + b for complex numbers z.

    Attributes:
        weight: W as pairs (re, im), (out, in, 2).
        bias: b, (out, 2), or None.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 2))
        self.bias = nn.Parameter(torch.empty(out_channels, 2)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw W and b uniform, E|W|^2 = E|b|^2 = 1 / (3 in), as in torch's real `Linear`."""
        bound = 1 / math.sqrt(2 * self.weight.shape[1])
        for x in self.parameters():
            nn.init.uniform_(x, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Complex (batch, *grid, in) -> (batch, *grid, out)."""
        dtype = wide(x.real)
        with no_autocast(x):
            y = x @ torch.view_as_complex(self.weight.to(dtype)).T
            return y if self.bias is None else y + torch.view_as_complex(self.bias.to(dtype))

    def extra_repr(self) -> str:
        """Describe the channels."""
        out_channels, in_channels, _ = self.weight.shape
        return f"{in_channels}, {out_channels}, bias={self.bias is not None}"


def identity(x: Tensor) -> Tensor:
    """Return the input; a layer without activation then needs no other code."""
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
        """Apply the activation to a tensor of any shape."""
        return self.function(x)

    def extra_repr(self) -> str:
        """Describe the kind."""
        return self.kind
