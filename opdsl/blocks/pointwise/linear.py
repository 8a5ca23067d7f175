"""The block `linear`: one matrix at every point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from opdsl.ir import ends
from opdsl.ir.block import BYTES, Block, Cost
from opdsl.ir.channel_groups import COPIES, all_copies, one_copy
from opdsl.ir.dims import PositiveCount, decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Linear(Block):
    """w(x) = W v(x) + b, with one matrix W for all points.

    v : D -> R^n gives w : D -> R^out on any domain D; complex functions have complex weights. It
    acts on the channels alone, so the weights are one operator for every resolution.

    ```op
    edition 2026

    model Mix {
      domain D = grid(x: 0..1, y: 0..1, min = 16)
      input v : D -> R^3
      output w : D -> R^8

      w = linear(v, out = 8)
    }
    ```

    Attributes:
        out: number of channels of the result.
        bias: whether b is added.
        copies: number of groups into which the channels are split, for functions that contain
            several variables one after the other. W acts on each group, and `out` counts the
            channels of one.

    Source: Li et al. 2021, arXiv:2010.08895, eq. (2), the term W v.
    """

    complex = True
    ragged = "pointwise"
    samples = (
        {"inputs": (3,), "out": 5},
        {"inputs": (2,), "out": 1, "bias": False},
        {"inputs": ("D -> C^3",), "out": 2},
        {"inputs": (6,), "out": 5, "copies": 2},
        {"inputs": ("D -> C^2",), "out": 3, "copies": 2},
    )

    out: PositiveCount = Field(description="channels of the result")
    bias: bool = Field(default=True, description="whether a trained constant is added")
    copies: PositiveCount = Field(default=1, description=COPIES)

    def infer(self, x: Space) -> Space:
        """Return the domain with `out` channels for each copy."""
        return one_copy(x, self.copies).with_channels(self.out * self.copies)

    def band_preserving(self) -> bool:
        """Return True: it is linear and acts on every point alike."""
        return True

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Return v's facts that a constant leaves, all of them without bias."""
        return ends.add_constant(inputs[0]) if self.bias else inputs[0]

    def cost(self, x: Space) -> Cost:
        """Count a multiplication and an addition for each entry of W at each point."""
        volume, c = x.domain.volume(), one_copy(x, self.copies).channels
        bias_numbers = self.out if self.bias else 0
        w = x.width  # a complex product is four real ones
        cost_of_copy = Cost(
            decided(w * (c * self.out + bias_numbers)),
            volume * (w * w * 2 * c * self.out + w * bias_numbers),
            volume * (w * self.out * BYTES),
        )
        return all_copies(cost_of_copy, self.copies)

    def complex_weights(self, x: Space) -> int:
        """Count all weights if the function is complex."""
        return self.cost(x).params // 2 if x.complex else 0

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.layers.pointwise.Linear` and `ComplexLinear`."""
        from opdsl.nn.layers import grouped, pointwise

        c = one_copy(x, self.copies).channels
        layer = pointwise.ComplexLinear if x.complex else pointwise.Linear
        if self.copies > 1:
            return grouped.GroupedLayer(layer, decided(self.copies), c, self.out, bias=self.bias)
        return layer(decided(c), decided(self.out), bias=self.bias)
