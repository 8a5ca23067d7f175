"""Sums, differences and products of functions, number by number, as modules."""

import torch
from torch import Tensor, nn


class Add(nn.Module):
    """The sum u + v."""

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """(batch or 1, *grid, c) both -> (batch, *grid, c)."""
        return u + v


class Sub(nn.Module):
    """The difference u - v."""

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """(batch or 1, *grid, c) both -> (batch, *grid, c)."""
        return u - v


class Mul(nn.Module):
    """The product u v at each point and channel."""

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """(batch or 1, *grid, c) both -> (batch, *grid, c)."""
        return u * v


class Scale(nn.Module):
    """A multiple of v, by a number that is not trained."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, v: Tensor) -> Tensor:
        """(batch, *grid, c) -> (batch, *grid, c)."""
        return v * self.factor

    def extra_repr(self) -> str:
        """Describe the factor."""
        return f"{self.factor:g}"


class Select(nn.Module):
    """Choose some channels, in a given order."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *grid, c) -> (batch, *grid, chosen)."""
        return torch.stack([x[..., i] for i in self.channels], -1)
