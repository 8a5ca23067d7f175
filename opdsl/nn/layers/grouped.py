"""One layer applied to each of several groups of channels: one operator for every variable.

Channels are stored group by group; inside, the groups are samples of a larger batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class GroupedLayer(nn.Module):
    """w = (A v_1, ..., A v_n): one layer A on n groups of channels.

    Attributes:
        each: A; its weights have their usual names below `each`.

    Source: Rahman et al. 2024, arXiv:2403.12553, sec. 4 (the operator of a variable is shared).
    """

    def __init__(
        self, layer: Callable[..., nn.Module], copies: int, *args: Any, **named: Any
    ) -> None:
        """Make `copies` groups, and the layer from its class and the other arguments."""
        super().__init__()
        self.copies = copies
        self.each = layer(*args, **named)

    def forward(self, x: Tensor, **named: Any) -> Tensor:
        """(batch, *grid, n c) -> (batch, *grid or size, n out)."""
        return batch_to_groups(self.each(groups_to_batch(x, self.copies), **named), self.copies)


def groups_to_batch(x: Tensor, copies: int) -> Tensor:
    """Move groups of channels into the batch: (batch, *grid, n c) -> (batch n, *grid, c)."""
    groups = x.reshape(*x.shape[:-1], copies, x.shape[-1] // copies)
    return groups.movedim(-2, 1).flatten(0, 1)


def batch_to_groups(x: Tensor, copies: int) -> Tensor:
    """Undo `groups_to_batch`: (batch n, *grid, c) -> (batch, *grid, n c)."""
    groups = x.reshape(x.shape[0] // copies, copies, *x.shape[1:])
    return groups.movedim(1, -2).flatten(-2)
