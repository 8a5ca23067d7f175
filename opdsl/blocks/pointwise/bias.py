"""The block `bias`: a constant for each channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opdsl.ir import ends
from opdsl.ir.block import BYTES, Block, Cost
from opdsl.ir.dims import decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Bias(Block):
    """w(x) = v(x) + b, with one trained number for each channel.

    v : D -> R^n gives w : D -> R^n on any domain D. b has n numbers, which begin at zero. It acts
    at each point alone and converges under refinement.

    ```op
    edition 2026

    model Shift {
      domain D = grid(x: 0..1, min = 8)
      input v : D -> R^3
      output w : D -> R^3

      w = v |> bias()
    }
    ```

    Source: Lu et al. 2021, arXiv:1910.03193, eq. (2), the term b_0.
    """

    ragged = "pointwise"
    samples = ({"inputs": (3,)}, {"inputs": ("R^2",)})

    def infer(self, x: Space) -> Space:
        """Return the space of the input."""
        return x

    def band_preserving(self) -> bool:
        """Return True: it is linear and acts on every point alike."""
        return True

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Return v's facts that a constant leaves."""
        return ends.add_constant(inputs[0])

    def cost(self, x: Space) -> Cost:
        """Count a parameter for each channel and an addition for each number."""
        return Cost(decided(x.channels), x.numbers(), x.numbers() * BYTES)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.layers.modulate.Bias`."""
        from opdsl.nn.layers import modulate

        return modulate.Bias(decided(x.channels))
