"""The block `fourier_features`: waves of the values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat, PositiveInt

from opdsl.blocks.pointwise.apply import TRANSCENDENTAL
from opdsl.ir import ends
from opdsl.ir.block import BYTES, Block, Cost
from opdsl.ir.dims import decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class FourierFeatures(Block):
    """w = (sin(2 pi B v), cos(2 pi B v)): random waves of the values, mostly of coordinates.

    v : D -> R^n gives w : D -> R^(2 count) on any domain D. B is drawn once from a normal
    distribution, is not trained, and is saved with the weights. It acts at each point alone and
    converges under refinement.

    ```op
    edition 2026

    model Waves {
      domain D = grid(x: 0..1, y: 0..1, min = 8)
      input a : D -> R^1
      output w : D -> R^17

      w = concat(a, coords(D) |> fourier_features(count = 8))
    }
    ```

    Attributes:
        count: number of waves; the result has twice as many channels.
        scale: standard deviation of their frequencies, in periods per unit of v.

    Source: Tancik et al. 2020, arXiv:2006.10739, eq. (5).
    """

    ragged = "pointwise"
    samples = (
        {"inputs": (2,), "count": 3},
        {"inputs": ("R^1",), "count": 2, "scale": 0.5},
    )

    count: PositiveInt = Field(description="waves; twice as many channels")
    scale: PositiveFloat = Field(default=1.0, description="standard deviation of the frequencies")

    def infer(self, x: Space) -> Space:
        """Return the domain with 2 `count` channels."""
        return x.with_channels(2 * self.count)

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Return the facts about a function of the values of v."""
        return ends.add_constant(inputs[0])

    def convergence_order(self, _inputs: tuple[Behaviour, ...], _x: Space) -> Order:
        """Return that it acts at each point alone."""
        return EXACT

    def cost(self, x: Space) -> Cost:
        """Count a matrix product, a sine and a cosine."""
        volume = x.domain.volume()
        flops = 2 * x.channels * self.count + 2 * TRANSCENDENTAL * self.count
        return Cost(0, volume * flops, volume * (2 * self.count * BYTES))

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.layers.modulate.FourierFeatures`."""
        from opdsl.nn.layers import modulate

        return modulate.FourierFeatures(decided(x.channels), self.count, self.scale)
