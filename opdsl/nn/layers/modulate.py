"""Layers between functions and vectors: one vector (batch, channels) for each sample."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from opdsl.nn.layers.pointwise import Activation, Linear
from opdsl.nn.points.segments import expand_to_points
from opdsl.nn.shapes import RaggedSizes, Size


class Flatten(nn.Module):
    """All values of a sample as one vector, point by point."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *grid, c) -> (batch, points * c)."""
        return x.flatten(1)


class Mlp(nn.Sequential):
    """Linear layers with activations between them.

    Args:
        widths: channels before, between and behind the layers.
        act: a key of `ACTIVATIONS`.
    """

    def __init__(self, widths: Size, act: str) -> None:
        layers: list[nn.Module] = []
        for inner, outer in pairwise(widths):
            layers += [Linear(inner, outer), Activation(act)]
        super().__init__(*layers[:-1])


class Bias(nn.Module):
    """v + b, with one trained number for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *grid, c) -> (batch, *grid, c)."""
        return x + self.bias.to(x.dtype)


class Constant(nn.Module):
    """The constant function b: a trained number for each channel, or one for all if `alike`."""

    def __init__(self, channels: int, *, alike: bool) -> None:
        super().__init__()
        self.channels = channels
        self.bias = nn.Parameter(torch.zeros(1 if alike else channels))

    def forward(self, *, size: Size, like: Tensor) -> Tensor:
        """Return the constant on a grid, (1, *size, channels), in the dtype of `like`."""
        return self.bias.to(like.dtype).expand(1, *size, self.channels)


class Contract(nn.Module):
    """w_j(x) = sum over i of b_ji t_i(x): contract branch and trunk of a DeepONet."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.out = out

    def forward(self, branch: Tensor, trunk: Tensor, ragged: RaggedSizes = ()) -> Tensor:
        """(batch, out * p) and (batch or 1, *grid, p) -> (batch, *grid, out)."""
        if ragged and ragged[-1]:
            each = expand_to_points(branch[None], ragged[-1])
            return (each.reshape(1, -1, self.out, trunk.shape[-1]) * trunk[:, :, None]).sum(-1)
        matrix = branch.reshape(branch.shape[0], self.out, -1).transpose(1, 2)  # (batch, p, out)
        points = trunk.flatten(1, -2)
        result: Tensor = points @ matrix
        return result.reshape(result.shape[0], *trunk.shape[1:-1], self.out)


class Broadcast(nn.Module):
    """Turn a vector into a constant function."""

    def forward(self, x: Tensor, size: Size, ragged: RaggedSizes = ()) -> Tensor:
        """(batch, c) -> (batch, *size, c)."""
        if ragged and ragged[-1]:
            return expand_to_points(x[None], ragged[-1])
        return x.reshape(x.shape[0], *(1 for _ in size), -1).expand(-1, *size, -1)


class Modulate(nn.Module):
    """v (1 + G c) + B c, feature-wise modulation by a vector c; G and B begin as zero."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.scale = Linear(condition, channels)
        self.shift = Linear(condition, channels)
        for x in self.parameters():
            nn.init.zeros_(x)

    def forward(self, x: Tensor, c: Tensor, ragged: RaggedSizes = ()) -> Tensor:
        """(batch, *grid, channels) and (batch, condition) -> (batch, *grid, channels)."""
        scale, shift = (self._beside(z, x, ragged) for z in (self.scale(c), self.shift(c)))
        result: Tensor = torch.addcmul(x, x, scale) + shift
        return result

    def _beside(self, row: Tensor, x: Tensor, ragged: RaggedSizes) -> Tensor:
        """Reshape (batch, channels) so that it broadcasts against x."""
        if ragged and ragged[-1]:
            return expand_to_points(row[None], ragged[-1])
        return row.reshape(row.shape[0], *(1 for _ in x.shape[1:-1]), -1)


class FourierFeatures(nn.Module):
    """sin and cos of 2 pi B v with random B, which is not trained."""

    waves: Tensor

    def __init__(self, channels: int, count: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("waves", torch.randn(channels, count) * (2 * math.pi * scale))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *grid, c) -> (batch, *grid, 2 count)."""
        phase = x @ self.waves.to(x.dtype)
        return torch.cat((phase.sin(), phase.cos()), -1)
