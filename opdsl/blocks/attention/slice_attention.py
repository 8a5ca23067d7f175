"""The block `slice_attention`: points gathered into slices, and attention among the slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from opdsl.blocks.attention.attention import HEADS, split
from opdsl.blocks.points._quadrature import measured, weighed
from opdsl.ir.block import BYTES, Block, BoxKind, Cost, Ragged, SideInput
from opdsl.ir.spaces import Domain, Space

if TYPE_CHECKING:
    from torch import nn


class SliceAttention(Block):
    """w(x) = sum over slices s of p_s(x) z'_s, z' = attention(z), z_s = mean of v weighed by p_s.

    Each head assigns every point to `slices` slices, p(x) = softmax(A v(x) / t), in parts that add
    up to one; a slice is the mean of B v over its points, and the slices look at each other. What
    grows with the number of points is linear in it. On points of which their domain declares a
    `measure`, the means are integrals with it, so that a cloud which is denser in one place gives
    what an even one gives; on a grid all points count the same.

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
        slices: how many there are in each head.
        heads: into how many heads the channels are split.

    Source: Wu et al. 2024, arXiv:2402.02366, eq. (1) to (4) (Transolver, irregular meshes).
    """

    ragged: ClassVar[Ragged] = "own"
    tokens: ClassVar[Mapping[int, str]] = {
        0: "all points look alike, so the attention is a mean of equal values",
    }
    drawn_as: ClassVar[BoxKind | None] = "integral"
    samples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"inputs": (4,), "heads": 2, "slices": 3},
        {"inputs": ("P -> R^4",), "slices": 5},
    )

    slices: PositiveInt = Field(default=32, description="how many there are in each head")
    heads: PositiveInt = Field(default=1, description=HEADS)

    def infer(self, x: Space) -> Space:
        """As many channels on the same domain."""
        split(x.channels, self.heads)
        return x.with_channels(x.channels)

    def integrates(self, x: Space) -> tuple[Domain, ...]:
        """Over all points."""
        return (x.domain,)

    def side_inputs(self, x: Space) -> tuple[SideInput, ...]:
        """Where the points are, if they stand for more than one over their number."""
        return weighed(x.domain)

    def cost(self, x: Space) -> Cost:
        """Three matrices at each point, slices of each head and back, and attention among them."""
        c, m, volume = x.channels, self.slices, x.domain.volume()
        d = c // self.heads
        params = 3 * (c * c + c) + d * m + m + self.heads + 3 * d * d
        among = self.heads * (6 * m * d * d + 4 * m * m * d)
        flops = volume * (6 * c * c + 2 * c * m + 4 * c * m) + among
        return Cost(params, flops, x.numbers() * BYTES)

    def uniform(self, inputs: tuple[bool, ...], _x: Space) -> bool:
        """Equal points ask the same and get the same answer."""
        return all(inputs)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.layers.slice_attention.SliceAttention`."""
        from opdsl.nn.layers import slice_attention

        return slice_attention.SliceAttention(
            x.channels, self.slices, self.heads, measured(x.domain)
        )
