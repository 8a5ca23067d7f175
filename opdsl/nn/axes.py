"""Convolution along one axis at a time: (batch, *grid, in) -> (batch, *grid, out)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.transforms import Size, irfft, rfft, with_real


class AxisConv(nn.Module):
    """v = sum over axes a of F_a^-1(R_a . F_a(u)), real functions.

    Attributes:
        weights: R_a as pairs (re, im), (m_a + 1, in, out, 2), one for each axis.

    Source: Tran et al. 2023, arXiv:2111.13802, eq. (6).
    """

    def __init__(self, in_channels: int, out_channels: int, modes: Size) -> None:
        super().__init__()
        self.modes = modes
        shapes = ((m + 1, in_channels, out_channels, 2) for m in modes)
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(*s)) for s in shapes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """R normal; all axes together have the variance of one spectral convolution."""
        for R in self.weights:
            inward, outward = R.shape[1:3]
            nn.init.normal_(R, std=math.sqrt(1 / ((inward + outward) * len(self.modes))))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *grid, in) -> (batch, *grid, out), in the dtype of x.

        Raises:
            ValueError: an axis has too few points for its modes.
        """
        with no_autocast(x):
            u = x.to(wide(x))
            parts = (self._along(u, axis) for axis in range(len(self.modes)))
            return torch.stack(list(parts)).sum(0).to(x.dtype)

    def _along(self, u: Tensor, axis: int) -> Tensor:
        m, n = self.modes[axis], u.shape[1 + axis]
        if n < 2 * m + 1:
            raise ValueError(f"keeping |k| <= {m} needs at least {2 * m + 1} points, got {n}")
        R = torch.view_as_complex(self.weights[axis].to(u.dtype))
        z = rfft(u, 1 + axis, m + 1).movedim(1 + axis, 0)
        lines = z.flatten(1, -2)
        mixed = torch.bmm(lines, R).reshape(*z.shape[:-1], -1).movedim(0, 1 + axis)
        return irfft(with_real(mixed, 1 + axis, 0), n, 1 + axis)

    def extra_repr(self) -> str:
        """The modes."""
        return f"modes={self.modes}"
