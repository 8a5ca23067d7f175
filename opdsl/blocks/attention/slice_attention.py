"""The block `slice_attention`: points gathered into slices, and attention among the slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from opdsl.blocks.attention.attention import HEADS, split
from opdsl.blocks.points._quadrature import geometry_of_weights, point_weights
from opdsl.ir import ends, orders
from opdsl.ir.block import BYTES, Block, Cost, GridSizes, SideInput
from opdsl.ir.dims import decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import Order
from opdsl.ir.sharding.rules import Rule, reduction
from opdsl.ir.spaces import Domain, Space

if TYPE_CHECKING:
    from torch import nn


class SliceAttention(Block):
    """w(x) = sum over slices s of p_s(x) z'_s, z' = attention(z), z_s = mean of v weighted by p_s.

    v : D -> R^n gives w : D -> R^n on any domain D. Each head assigns every point to `slices`
    slices by p(x) = softmax(A v(x) / t); a slice is the weighted mean of B v over the points, and
    the slices attend to each other. The cost is linear in the number of points. Where points have a
    `measure`, the means are integrals with it, so that a cloud that is denser in one place gives
    the result of an even cloud; on a grid all points weigh the same. The means converge under
    refinement.

    ```op
    edition 2026

    model Slices {
      domain P = points(2, geometry = per_sample)
      input f : P -> R^8
      output u : P -> R^8

      u = f |> residual { norm(kind = layer) |> slice_attention(slices = 16, heads = 2) }
    }
    ```

    Attributes:
        slices: number of slices of each head.
        heads: number of heads, into which the channels are split evenly.

    Source: Wu et al. 2024, arXiv:2402.02366, eq. (1) to (4) (Transolver, irregular meshes).
    """

    ragged = "own"
    tokens: ClassVar[Mapping[int, str]] = {
        0: "all points look alike, so the attention is a mean of equal values",
    }
    drawn_as = "integral"
    samples = (
        {"inputs": (4,), "heads": 2, "slices": 3},
        {"inputs": ("P -> R^4",), "slices": 5},
    )

    slices: PositiveInt = Field(default=32, description="how many there are in each head")
    heads: PositiveInt = Field(default=1, description=HEADS)

    def infer(self, x: Space) -> Space:
        """Return the domain with as many channels."""
        split(x.channels, self.heads)
        return x.with_channels(x.channels)

    def integrates(self, x: Space) -> tuple[Domain, ...]:
        """Return the domain of v."""
        return (x.domain,)

    def side_inputs(self, x: Space) -> tuple[SideInput, ...]:
        """Return the geometry of points, unless all points weigh the same."""
        return geometry_of_weights(x.domain)

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Return the facts about a function of the values of v."""
        return ends.add_constant(inputs[0])

    def convergence_order(self, inputs: tuple[Behaviour, ...], x: Space) -> Order | None:
        """Return the order of means over all points."""
        return orders.mean(x.domain, ends.add_constant(inputs[0]))

    def cost(self, x: Space) -> Cost:
        """Count three matrices at each point, the slices of each head, and attention among them."""
        c, m, volume = x.channels, self.slices, x.domain.volume()
        d = c // self.heads
        params = 3 * (c * c + c) + d * m + m + self.heads + 3 * d * d
        among = self.heads * (6 * m * d * d + 4 * m * m * d)
        flops = volume * (6 * c * c + 2 * c * m + 4 * c * m) + among
        return Cost(decided(params), flops, x.numbers() * BYTES)

    def sharding(self, _axis: int, _sizes: GridSizes, x: Space) -> Rule:
        """Sum each slice, a vector for each head, and its weights over the grid."""
        return reduction(self.slices * (decided(x.channels) + self.heads))

    def saved_per_point(self, x: Space) -> int:
        """Count two projections and the means, and shares before and after the softmax.

        With several heads the two products with the shares copy them.
        """
        shares = 2 if self.heads == 1 else 4
        return 3 * decided(x.channels) + shares * self.heads * self.slices

    def uniform(self, inputs: tuple[bool, ...], _x: Space) -> bool:
        """Return whether the input has one value: equal queries get equal answers."""
        return all(inputs)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.layers.slice_attention.SliceAttention`."""
        from opdsl.nn.layers import slice_attention

        return slice_attention.SliceAttention(
            decided(x.channels), self.slices, self.heads, point_weights(x.domain)
        )
