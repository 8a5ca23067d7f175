"""Functions joined along their channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def concat(xs: Sequence[Tensor]) -> Tensor:
    """Join functions along their channels; a batch of one is repeated for every sample.

    Args:
        xs: (batch or 1, *grid, c_i), on one grid.

    Returns:
        (batch, *grid, sum of c_i).
    """
    batch = max(x.shape[0] for x in xs)
    return torch.cat([x.expand(batch, *x.shape[1:]) for x in xs], -1)


class Concat(nn.Module):
    """`concat` as a module."""

    def forward(self, *xs: Tensor) -> Tensor:
        """(batch or 1, *grid, c_i) each -> (batch, *grid, sum of c_i)."""
        return concat(xs)
