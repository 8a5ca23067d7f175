"""The block `spectral_mlp`: one small network for all Fourier coefficients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, NonNegativeFloat, PositiveInt

from opdsl.ir.block import BYTES, Block, Cost, Refusal
from opdsl.ir.complex_parts import needs_complex
from opdsl.ir.dims import decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.modes import MIX
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class SpectralMlp(Block):
    """t_k = S(W_2 sigma(W_1 s_k + b_1) + b_2): one perceptron for all coefficients s_k.

    s : spectrum(D, m) -> C^n gives t : spectrum(D, m) -> C^n. sigma is relu of the real and of the
    imaginary part; the soft threshold S moves both parts towards zero by `shrink` and sets smaller
    ones to zero. The matrices are block diagonal. Coefficients are amplitudes, as `fft` defines
    them, so a threshold means the same at every resolution; in the original they grow with the
    grid. They belong to Fourier modes on every axis; `spectral_conv(basis = auto)` takes half-waves
    on axes with ends.

    ```op
    edition 2026

    model Mix {
      domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 17)
      input v : D -> R^8
      output w : D -> R^8

      w = v + (fft(v, modes = 8) |> spectral_mlp(blocks = 4) |> ifft(to = D))
    }
    ```

    Attributes:
        blocks: number of groups into which the channels are split evenly, one block of the matrices
            each.
        expansion: number of hidden channels, as a multiple of n.
        shrink: threshold of S, in the unit of the coefficients.

    Source: Guibas et al. 2022, arXiv:2111.13587, section 4.
    """

    kinds = frozenset({"spectrum"})
    complex = True
    samples = (
        {"inputs": ("K -> C^4",), "blocks": 2},
        {"inputs": ("K -> C^3",), "expansion": 2, "shrink": 0.0},
    )

    blocks: PositiveInt = Field(default=1, description="groups of channels")
    expansion: PositiveInt = Field(default=1, description="numbers between both layers")
    shrink: NonNegativeFloat = Field(default=0.01, description="threshold of the result")

    def infer(self, x: Space) -> Space:
        """Return the modes with as many channels."""
        needs_complex(self.keyword(), x)
        if x.channels % self.blocks:
            raise Refusal(
                "OP0208",
                f"{x.channels} channels do not split evenly into {self.blocks} blocks",
                at="blocks",
                helps=(f"take a divisor of {x.channels}",),
            )
        return x.with_channels(x.channels)

    def convergence_order(self, _inputs: tuple[Behaviour, ...], _x: Space) -> Order:
        """Return that it acts on each mode alone."""
        return EXACT

    def cost(self, x: Space) -> Cost:
        """Count two block-diagonal complex matrices and their biases."""
        c = x.channels
        matrix = self.expansion * c * c // self.blocks
        constants = (self.expansion + 1) * c
        volume = x.domain.volume()
        return Cost(
            decided(2 * (2 * matrix + constants)), volume * (2 * MIX * matrix), x.numbers() * BYTES
        )

    def complex_weights(self, x: Space) -> int:
        """Count all weights."""
        return self.cost(x).params // 2

    def saved_per_point(self, x: Space) -> int:
        """Count the parts of two layers and of the shrinkage, for each mode."""
        return 9 * decided(x.channels)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.spectral.mode_mlp.SpectralMLP`."""
        from opdsl.nn.spectral import mode_mlp

        return mode_mlp.SpectralMLP(decided(x.channels), self.blocks, self.expansion, self.shrink)
