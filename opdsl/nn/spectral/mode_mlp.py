"""A small network applied to every Fourier coefficient."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from opdsl.nn.precision import no_autocast, wide


class SpectralMLP(nn.Module):
    """S(W_2 relu(W_1 s + b_1) + b_2), with relu and shrinkage of each part of a complex number.

    Attributes:
        weight_1, weight_2: pairs, (blocks, in of a block, out of a block, 2).
        bias_1, bias_2: pairs, (blocks, out of a block, 2).

    Source: Guibas et al. 2022, arXiv:2111.13587, section 4.
    """

    def __init__(self, channels: int, blocks: int, expansion: int, shrink: float) -> None:
        super().__init__()
        self.blocks, self.shrink = blocks, shrink
        c = channels // blocks
        inner = expansion * c
        self.weight_1 = nn.Parameter(torch.empty(blocks, c, inner, 2))
        self.bias_1 = nn.Parameter(torch.empty(blocks, inner, 2))
        self.weight_2 = nn.Parameter(torch.empty(blocks, inner, c, 2))
        self.bias_2 = nn.Parameter(torch.empty(blocks, c, 2))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw matrices that preserve the variance of a coefficient; biases are zero."""
        for x in (self.weight_1, self.weight_2):
            nn.init.normal_(x, std=math.sqrt(1 / (2 * x.shape[1])))
        for x in (self.bias_1, self.bias_2):
            nn.init.zeros_(x)

    def forward(self, x: Tensor) -> Tensor:
        """Complex (batch, *frequencies, c) -> complex (batch, *frequencies, c)."""
        with no_autocast(x):
            dtype = wide(x.real)
            s = x.unflatten(-1, (self.blocks, -1))  # type: ignore[no-untyped-call]  # of torch
            s = _parts(functional.relu, _layer(s, self.weight_1, self.bias_1, dtype))
            s = _layer(s, self.weight_2, self.bias_2, dtype)
            t: Tensor = _parts(self._shrunk, s).flatten(-2)
            return t

    def _shrunk(self, x: Tensor) -> Tensor:
        return functional.softshrink(x, self.shrink)

    def extra_repr(self) -> str:
        """Describe blocks and threshold."""
        return f"blocks={self.blocks}, shrink={self.shrink}"


def _layer(s: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    W, b = (torch.view_as_complex(x.to(dtype)) for x in (weight, bias))
    return torch.einsum("...gi,gio->...go", s, W) + b


def _parts(f: object, z: Tensor) -> Tensor:
    """Apply f to the real and to the imaginary part."""
    assert callable(f)
    return torch.complex(f(z.real), f(z.imag))
