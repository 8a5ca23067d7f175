"""Vectors, one for each sample, beside functions: (batch, channels)."""

from __future__ import annotations

from torch import Tensor, nn


class Flatten(nn.Module):
    """All values of a sample as one vector, the points in order, their channels together."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *grid, c) -> (batch, points * c)."""
        return x.flatten(1)
