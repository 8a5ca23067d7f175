"""A matrix for each coefficient of a spectrum."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from opdsl.nn.shapes import Size
from opdsl.nn.spectral.convolve import mix_frequencies


class SpectralLinear(nn.Module):
    """R_k s_k: multiply each coefficient of a spectrum by a matrix.

    Attributes:
        weight: R as pairs (re, im), (*frequencies, in, out, 2).
    """

    def __init__(self, in_channels: int, out_channels: int, counts: Size) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(*counts, in_channels, out_channels, 2))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw R normal with E|R_k|^2 = 2 / (in + out), as `SpectralConv`."""
        in_channels, out_channels = self.weight.shape[-3:-1]
        nn.init.normal_(self.weight, std=math.sqrt(1 / (in_channels + out_channels)))

    def forward(self, x: Tensor) -> Tensor:
        """Complex (batch, *frequencies, in) -> complex (batch, *frequencies, out)."""
        R = torch.view_as_complex(self.weight.to(x.real.dtype)).flatten(0, -3)
        return mix_frequencies(x, lambda u: torch.bmm(u.transpose(0, 1), R).transpose(0, 1))
