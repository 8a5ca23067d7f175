"""The block `dropout`: channels silenced at random while training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from opdsl.ir.block import BYTES, Block, Cost
from opdsl.ir.ends import Behaviour
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Dropout(Block):
    """w = v m / (1 - p), m = 0 with probability p, else 1, drawn for each number in training.

    v : D -> R^n gives w : D -> R^n on any domain D. In evaluation it is the identity. The expected
    value of w is v at every resolution.

    ```op
    edition 2026

    model Robust {
      domain D = grid(x: 0..1, min = 16)
      input v : D -> R^3
      output w : D -> R^3

      w = v |> linear(out = 32) |> dropout(p = 0.1) |> linear(out = 3)
    }
    ```

    Attributes:
        p: probability that a number becomes zero, 0 <= p < 1; given without a name.

    Source: Srivastava et al. 2014, JMLR 15:1929.
    """

    positional = ("p",)
    ragged = "pointwise"
    samples = (
        {"inputs": (3,), "p": 0.25},
        {"inputs": (1,), "p": 0.0},
    )

    p: float = Field(ge=0, lt=1, description="the probability that a number becomes zero")

    def infer(self, x: Space) -> Space:
        """Return the space of the input."""
        return x

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Return the facts about v."""
        return inputs[0]

    def cost(self, x: Space) -> Cost:
        """Count one multiplication for each number."""
        return Cost(0, x.numbers(), x.numbers() * BYTES)

    def lower(self, _x: Space) -> nn.Module:
        """See `opdsl.nn.layers.pointwise.Dropout`."""
        from opdsl.nn.layers import pointwise

        return pointwise.Dropout(self.p)
