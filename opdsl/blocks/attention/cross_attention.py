"""The block `cross_attention`: points of one domain look at those of another."""

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
from opdsl.ir.sharding.rules import Rule
from opdsl.ir.spaces import Domain, Space

if TYPE_CHECKING:
    from torch import nn


class CrossAttention(Block):
    """w(x) = sum over points y of softmax(Q q(x) . K v(y) / sqrt d) V v(y): q attends to v.

    q : E -> R^n and v : D -> R^m give w : E -> R^n on any domains D and E: this is a map from
    functions on one set of points to functions on another. The mean over y tends to an integral
    under refinement of D; points of v have the weights that their domain declares as `measure`. d
    is the number of channels of a head.

    ```op
    edition 2026

    model Ask {
      domain P = points(2)
      domain Q = points(2)
      input f : P -> R^8
      output u : Q -> R^2

      u = cross_attention(coords(Q), f, heads = 2)
    }
    ```

    Attributes:
        heads: number of heads, into which the channels of q are split evenly.

    Source: Vaswani et al. 2017, arXiv:1706.03762; Li et al. 2023, arXiv:2205.13671 (OFormer).
    """

    ragged = "own"
    tokens: ClassVar[Mapping[int, str]] = {
        0: "every point asks the same, so all get one answer: the result has rank one",
        1: "every point answers the same, whatever is asked",
    }
    drawn_as = "integral"
    samples = (
        {"inputs": (4, "P -> R^3"), "heads": 2},
        {"inputs": ("Q -> R^2", 3)},
    )

    heads: PositiveInt = Field(default=1, description=HEADS)

    def infer(self, q: Space, _v: Space) -> Space:
        """Return the domain of q with its number of channels."""
        split(q.channels, self.heads)
        return q.with_channels(q.channels)

    def integrates(self, _q: Space, v: Space) -> tuple[Domain, ...]:
        """Return the domain of v."""
        return (v.domain,)

    def side_inputs(self, _q: Space, v: Space) -> tuple[SideInput, ...]:
        """Return the geometry of the points of v, unless all points weigh the same."""
        return geometry_of_weights(v.domain)

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _q: Space, _v: Space) -> Behaviour:
        """Return the facts about a function of the values of q."""
        return ends.add_constant(inputs[0])

    def convergence_order(self, inputs: tuple[Behaviour, ...], _q: Space, v: Space) -> Order | None:
        """Return the order of means over all points of v."""
        return orders.mean(v.domain, ends.add_constant(inputs[1]))

    def cost(self, q: Space, v: Space) -> Cost:
        """Count four matrices with biases, and all pairs of points."""
        c, d = q.channels, v.channels
        asks, answers = q.domain.volume(), v.domain.volume()
        flops = asks * (4 * c * c) + answers * (4 * c * d) + asks * answers * (4 * c)
        params = 2 * (c * c + c) + 2 * (c * d + c)
        return Cost(decided(params), flops, q.numbers() * BYTES)

    def sharding(self, _axis: int, _sizes: GridSizes, _q: Space, _v: Space) -> Rule:
        """Gather v, at all points of which every query looks."""
        return Rule("gather", whole=(1,))

    def uniform(self, inputs: tuple[bool, ...], _q: Space, _v: Space) -> bool:
        """Return whether the queries have one value: equal queries get equal answers."""
        return inputs[0]

    def lower(self, q: Space, v: Space) -> nn.Module:
        """See `opdsl.nn.layers.attention.Attention`."""
        from opdsl.nn.layers import attention

        return attention.Attention(
            decided(q.channels), decided(v.channels), self.heads, "softmax", point_weights(v.domain)
        )
