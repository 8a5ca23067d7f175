"""The block `attention`: every point looks at all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from opdsl.blocks.points._quadrature import geometry_of_weights, point_weights
from opdsl.ir import ends, orders
from opdsl.ir.block import BYTES, Block, Cost, GridSizes, Refusal, SideInput
from opdsl.ir.combine_rules import count
from opdsl.ir.dims import Dim, decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import Order
from opdsl.ir.sharding.rules import Rule, reduction
from opdsl.ir.spaces import Domain, Space

if TYPE_CHECKING:
    from torch import nn


HEADS = "heads of attention, into which the channels are split evenly"


class Attention(Block):
    """w(x) = sum over points y of a(x, y) V v(y): attention of every point to all points.

    v : D -> R^n gives w : D -> R^n on any domain D, for any order of the points. With q = Q v, k =
    K v and V v, split into heads of d channels:

    | kind     | a(x, y)                                                     | cost  |
    |----------|-------------------------------------------------------------|-------|
    | softmax  | exp(q(x) k(y) / sqrt d), divided by its sum over all y      | n^2   |
    | galerkin | q(x) k(y) / n, with k and V v normalised at each point      | n     |
    | linear   | f(q(x)) f(k(y)), divided by its sum, f = 1 + elu            | n     |

    All kinds are means over the points and tend to integrals under refinement. All points of a grid
    weigh the same, also the ends of an axis. Points have the weights that their domain declares as
    `measure`: `a(x, y)` is multiplied by the weight of y in all sums, and n is the sum of weights,
    so that a cloud that is denser in one place gives the result of an even cloud.

    ```op
    edition 2026

    model Look {
      domain P = points(2)
      input f : P -> R^8
      output u : P -> R^8

      u = f |> residual { attention(kind = galerkin, heads = 2) }
    }
    ```

    Attributes:
        kind: softmax, galerkin or linear, see the table.
        heads: number of heads, into which the channels are split evenly.

    Source: Vaswani et al. 2017, arXiv:1706.03762; Cao 2021, arXiv:2105.14995, eq. (4);
        Katharopoulos et al. 2020, arXiv:2006.16236.
    """

    ragged = "own"
    tokens: ClassVar[Mapping[int, str]] = {
        0: "all points look alike, so the attention is a mean of equal values",
    }
    drawn_as = "integral"
    samples = (
        {"inputs": (4,), "heads": 2},
        {"inputs": (8,), "kind": "galerkin"},
        {"inputs": ("P -> R^4",), "kind": "linear"},
    )

    kind: Literal["softmax", "galerkin", "linear"] = Field(
        default="softmax", description="how points weigh each other"
    )
    heads: PositiveInt = Field(default=1, description=HEADS)

    def infer(self, x: Space) -> Space:
        """Return the domain with as many channels."""
        split(x.channels, self.heads)
        return x.with_channels(x.channels)

    def integrates(self, x: Space) -> tuple[Domain, ...]:
        """Return the domain of v."""
        return (x.domain,)

    def side_inputs(self, x: Space) -> tuple[SideInput, ...]:
        """Return the geometry of the points of v, unless all points weigh the same."""
        return geometry_of_weights(x.domain)

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Return the facts about a function of the values of v."""
        smoothness = 3 if self.kind == "linear" else ends.SMOOTH  # elu
        return ends.smooth_values(inputs, smoothness)

    def convergence_order(self, inputs: tuple[Behaviour, ...], x: Space) -> Order | None:
        """Return the order of means over all points."""
        return orders.mean(x.domain, self.behaviour_at_ends(inputs, x))

    def cost(self, x: Space) -> Cost:
        """Count four matrices with biases; for `galerkin` two normalisations of each head."""
        c, volume = x.channels, x.domain.volume()
        norms = 4 * (c // self.heads) if self.kind == "galerkin" else 0
        params = 4 * (c * c + c) + norms
        pairs = volume * volume * (4 * c)
        products = pairs if self.kind == "softmax" else volume * (4 * c * (c // self.heads))
        return Cost(decided(params), volume * (8 * c * c) + products, x.numbers() * BYTES)

    def sharding(self, _axis: int, _sizes: GridSizes, x: Space) -> Rule:
        """Sum the products of keys and values over the grid; `softmax` looks at all points."""
        if self.kind == "softmax":
            return Rule("gather", whole=(0,))
        c = decided(x.channels)
        return reduction(c * (c // self.heads) + (c if self.kind == "linear" else 0))

    def saved_per_point(self, x: Space) -> int:
        """Count queries, keys, values and means, with what `kind` makes of them."""
        return {"softmax": 4, "galerkin": 6, "linear": 7}[self.kind] * decided(x.channels)

    def uniform(self, inputs: tuple[bool, ...], _x: Space) -> bool:
        """Return whether the input has one value: equal queries get equal answers."""
        return all(inputs)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.layers.attention.Attention`."""
        from opdsl.nn.layers import attention

        return attention.Attention(
            decided(x.channels), decided(x.channels), self.heads, self.kind, point_weights(x.domain)
        )


def split(channels: Dim, heads: int) -> None:
    """Check that the channels split evenly over the heads.

    Raises:
        Refusal: OP0208, they do not.
    """
    if channels % heads:
        raise Refusal(
            "OP0208",
            f"{count(channels)} do not split evenly over {heads} heads",
            f"{channels} = {channels // heads} * {heads} + {channels % heads}",
            at="heads",
            helps=(f"take a divisor of {channels}",),
        )
