"""Conversions between real and complex functions, as modules."""

import torch
from torch import Tensor, nn

from opdsl.nn.precision import wide


class Real(nn.Module):
    """The real part of v."""

    def forward(self, v: Tensor) -> Tensor:
        """Complex (batch, *grid, c) -> real (batch, *grid, c)."""
        return v.real


class Imag(nn.Module):
    """The imaginary part of v."""

    def forward(self, v: Tensor) -> Tensor:
        """Complex (batch, *grid, c) -> real (batch, *grid, c)."""
        return v.imag


class Modulus(nn.Module):
    """The absolute value |v|; its derivative at zero is taken as zero."""

    def forward(self, v: Tensor) -> Tensor:
        """Complex (batch, *grid, c) -> real (batch, *grid, c)."""
        return v.abs()


class Complex(nn.Module):
    """The complex function u + i v; u alone where v is left out."""

    def forward(self, u: Tensor, v: Tensor | None = None) -> Tensor:
        """Real (batch or 1, *grid, c), one or both -> complex (batch, *grid, c)."""
        u = u.to(wide(u))
        return torch.complex(u, torch.zeros_like(u) if v is None else v.to(u.dtype))
