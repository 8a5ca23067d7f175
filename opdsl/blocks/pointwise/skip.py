"""The block `skip`: what carries a function past a block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from opdsl.ir.block import BYTES, Block, Cost, Refusal
from opdsl.ir.channel_groups import COPIES, all_copies, one_copy
from opdsl.ir.combine_rules import count
from opdsl.ir.dims import PositiveCount, decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Skip(Block):
    """w = v (identity), w = W v (linear), or w = g v with one number g for each channel (soft).

    v : D -> R^n gives w : D -> R^out on any domain D; for complex functions W is complex and g
    real. It acts at each point alone and converges under refinement.

    ```op
    edition 2026

    model Gated {
      domain D = grid(x: 0..1, min = 16)
      input v : D -> R^3
      output w : D -> R^3

      w = gelu(linear(v, out = 3)) + skip(v, kind = soft)
    }
    ```

    Attributes:
        kind: identity, linear (a matrix without bias) or soft (gates g that begin as one).
        out: number of channels of the result for `linear`; by default that of v.
        copies: number of groups into which the channels are split, for functions that contain
            several variables one after the other. W or g acts on each group, and `out` counts the
            channels of one.

    Source: neuralop/layers/skip_connections.py at 93d3f06, where `soft` is called `soft-gating`.
    """

    complex = True
    ragged = "pointwise"
    samples = (
        {"inputs": (3,)},
        {"inputs": (3,), "kind": "soft"},
        {"inputs": (3,), "kind": "linear", "out": 5},
        {"inputs": ("D -> C^3",), "kind": "soft"},
        {"inputs": ("D -> C^3",), "kind": "linear", "out": 2},
        {"inputs": (6,), "kind": "soft", "copies": 3},
        {"inputs": (6,), "kind": "linear", "out": 4, "copies": 2},
    )

    kind: Literal["identity", "linear", "soft"] = Field(
        default="identity", description="what is done on the way"
    )
    out: PositiveCount | None = Field(
        default=None, description="channels of the result, for `kind = linear`"
    )
    copies: PositiveCount = Field(default=1, description=COPIES)

    def infer(self, x: Space) -> Space:
        """Return the domain with `out` channels."""
        copy = one_copy(x, self.copies)
        c = copy.channels
        if self.kind != "linear" and self.out not in (None, c):
            raise Refusal(
                "OP0303",
                f"a skip of the kind `{self.kind}` keeps its channels",
                f"{count(c)} come in, not {self.out}",
                at="out",
                helps=(f"use a matrix: `skip(kind = linear, out = {self.out})`",),
            )
        if self.kind == "identity":
            return x
        return copy.with_channels((self.out or c) * self.copies)

    def band_preserving(self) -> bool:
        """Return True: it is linear and acts on every point alike."""
        return True

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Return the facts about v."""
        return inputs[0]

    def cost(self, x: Space) -> Cost:
        """Count nothing, one real number for each channel, or a matrix."""
        c, w = one_copy(x, self.copies).channels, x.width
        out = self.out or c
        volume, matrix = x.domain.volume(), c * out
        params = {"identity": 0, "linear": w * matrix, "soft": out}[self.kind]
        # a complex product is four real products and four sums: w * w with w = 2
        flops = {"identity": 0, "linear": w * w * 2 * matrix, "soft": w * out}[self.kind]
        return all_copies(
            Cost(decided(params), volume * flops, volume * (w * out * BYTES)), self.copies
        )

    def complex_weights(self, x: Space) -> int:
        """Count the matrix if the function is complex."""
        return self.cost(x).params // 2 if x.complex and self.kind == "linear" else 0

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.layers.skip.Skip`."""
        from opdsl.nn.layers import grouped, skip

        c, real = one_copy(x, self.copies).channels, not x.complex
        if self.copies > 1:
            return grouped.GroupedLayer(
                skip.Skip, decided(self.copies), self.kind, c, self.out or c, real=real
            )
        return skip.Skip(self.kind, decided(c), decided(self.out or c), real=real)
