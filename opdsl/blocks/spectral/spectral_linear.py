"""The block `spectral_linear`: a matrix for each Fourier coefficient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

from opdsl.ir.block import BYTES, Block, Cost
from opdsl.ir.complex_parts import needs_complex
from opdsl.ir.dims import Poly, PositiveCount, decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.modes import MIX
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class SpectralLinear(Block):
    """w_k = R_k s_k: each Fourier coefficient is multiplied by its own complex matrix.

    s : spectrum(D, m) -> C^n gives w : spectrum(D, m) -> C^out. Between `fft` and `ifft` it is the
    spectral convolution; `linear` on a spectrum has one matrix for all frequencies instead. It does
    not depend on the resolution. The coefficients belong to Fourier modes on every axis;
    `spectral_conv(basis = auto)` takes half-waves on axes with ends.

    ```op
    edition 2026

    model Convolve {
      domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 17)
      input v : D -> R^3
      output w : D -> R^5

      w = fft(v, modes = 8) |> spectral_linear(out = 5) |> ifft(to = D)
    }
    ```

    Attributes:
        out: number of channels of the result; by default that of s.

    Source: Li et al. 2021, arXiv:2010.08895, eq. (4), the product with R.
    """

    kinds = frozenset({"spectrum"})
    complex = True
    samples = (
        {"inputs": ("K -> C^3",), "out": 5},
        {"inputs": ("K -> C^2",)},
    )

    out: PositiveCount | None = Field(default=None, description="channels of the result")

    def infer(self, x: Space) -> Space:
        """Return the modes with `out` channels."""
        needs_complex(self.keyword(), x)
        return x.with_channels(self.out or x.channels)

    def convergence_order(self, _inputs: tuple[Behaviour, ...], _x: Space) -> Order:
        """Return that it acts on each mode alone."""
        return EXACT

    def cost(self, x: Space) -> Cost:
        """Count a complex product and sum for each entry of each matrix."""
        out = self.infer(x)
        entries = math.prod(x.domain.frequencies) * x.channels * out.channels
        return Cost(decided(2 * entries), Poly.of(MIX * entries), out.numbers() * BYTES)

    def complex_weights(self, x: Space) -> int:
        """Count all weights."""
        return self.cost(x).params // 2

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.spectral.linear.SpectralLinear`."""
        from opdsl.nn.spectral import linear

        out = self.infer(x).channels
        return linear.SpectralLinear(decided(x.channels), decided(out), x.domain.frequencies)
