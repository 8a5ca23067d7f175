"""Layers that see the grid itself: a local stencil, a value for each point.

What comes in and goes out: channels-last tensors, (batch, *grid, channels). Neither layer has a
limit under refinement; the language says so of both.
"""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor, nn

Size = tuple[int, ...]


class Conv(nn.Module):
    """v(x_i) = sum over offsets o of W_o u(x_(i + o)) + b, |o| <= kernel // 2 on each axis.

    Axes that close on themselves wrap; on the others the function is zero beyond its ends.

    Attributes:
        weight: W, (kernel, ..., kernel, in, out).
        bias: b, (out,).
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, periodic: tuple[bool, ...]
    ) -> None:
        super().__init__()
        self.kernel, self.periodic = kernel, periodic
        dims = len(periodic)
        bound = 1 / math.sqrt(in_channels * kernel**dims)  # as torch's own convolutions
        shape = (*(kernel,) * dims, in_channels, out_channels)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out_channels).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *grid, in) -> (batch, *grid, out)."""
        size = x.shape[1:-1]
        for axis, periodic in enumerate(self.periodic, start=1):
            x = _ring(x, axis, self.kernel // 2, wrap=periodic)
        v = self.bias.to(x.dtype)
        for offset in product(range(self.kernel), repeat=len(self.periodic)):
            part = x
            for axis, (start, n) in enumerate(zip(offset, size, strict=True), start=1):
                part = part.narrow(axis, start, n)
            v = v + part @ self.weight[offset].to(x.dtype)
        return v


class Position(nn.Module):
    """v = u + p, one trained value for each point of one grid and each channel.

    Attributes:
        weight: p, (*size, channels); zero at the start.
    """

    def __init__(self, size: Size, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(*size, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *size, channels), kept."""
        return x + self.weight.to(x.dtype)


def _ring(x: Tensor, axis: int, width: int, *, wrap: bool) -> Tensor:
    """`width` more points at both ends of an axis: the other end's, or zeros."""
    if width == 0:
        return x
    n = x.shape[axis]
    left, right = x.narrow(axis, n - width, width), x.narrow(axis, 0, width)
    if not wrap:
        left, right = torch.zeros_like(left), torch.zeros_like(right)
    return torch.cat([left, x, right], axis)
