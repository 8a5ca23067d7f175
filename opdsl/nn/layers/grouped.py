"""The same layer on each of several groups of channels: one operator for every variable.

What comes in and goes out: channels-last tensors whose channels stand group by group. Inside, the
groups are samples of a larger batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from opdsl.nn.layers.norm import Norm
from opdsl.nn.layers.pointwise import ComplexLinear, Linear
from opdsl.nn.layers.skip import Skip
from opdsl.nn.spectral.conv import SpectralConv

LAYERS: dict[str, Callable[..., nn.Module]] = {
    "complex_linear": ComplexLinear,
    "linear": Linear,
    "norm": Norm,
    "skip": Skip,
    "spectral_conv": SpectralConv,
}


class GroupedLayer(nn.Module):
    """w = (A v_1, ..., A v_n): one layer A, n groups of channels.

    Attributes:
        each: A; its weights have the names that they have elsewhere, below `each`.

    Source: Rahman et al. 2024, arXiv:2403.12553, sec. 4 (the operator of a variable is shared).
    """

    def __init__(self, layer: str, copies: int, *args: Any, **named: Any) -> None:
        """`copies` groups, and the layer that `LAYERS[layer]` makes of the other arguments."""
        super().__init__()
        self.copies = copies
        self.each = LAYERS[layer](*args, **named)

    def forward(self, x: Tensor, **named: Any) -> Tensor:
        """(batch, *grid, n c) -> (batch, *grid or size, n out)."""
        return batch_to_groups(self.each(groups_to_batch(x, self.copies), **named), self.copies)


def groups_to_batch(x: Tensor, copies: int) -> Tensor:
    """(batch, *grid, n c) -> (batch n, *grid, c)."""
    each = x.reshape(*x.shape[:-1], copies, x.shape[-1] // copies)
    return each.movedim(-2, 1).flatten(0, 1)


def batch_to_groups(x: Tensor, copies: int) -> Tensor:
    """(batch n, *grid, c) -> (batch, *grid, n c)."""
    each = x.reshape(x.shape[0] // copies, copies, *x.shape[1:])
    return each.movedim(1, -2).flatten(-2)
