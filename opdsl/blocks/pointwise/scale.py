"""The block `scale`: a function times a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opdsl.ir.block import BYTES, Block, Cost
from opdsl.ir.ends import Behaviour
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Scale(Block):
    """w = factor * v, with a number that is not trained; written `2.0 * v`, `v / 2`, `-v`.

    v : D -> R^n gives w : D -> R^n on any domain D, and complex functions likewise. The channels
    keep their names.

    ```op
    edition 2026

    model Half {
      domain D = grid(x: 0..1, boundary = periodic, min = 16)
      input v : D -> R^3
      output w : D -> R^3

      w = v / 2
    }
    ```

    Attributes:
        factor: the number; given without a name.

    Source: pointwise arithmetic; nothing to cite.
    """

    complex = True
    positional = ("factor",)
    ragged = "pointwise"
    samples = (
        {"inputs": (3,), "factor": -0.5},
        {"inputs": (1,), "factor": 2.0},
    )

    factor: float

    def infer(self, x: Space) -> Space:
        """Return the space of the input; its channels keep their names."""
        return x

    def band_preserving(self) -> bool:
        """Return True: it is linear and acts on every point alike."""
        return True

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Return the facts about v."""
        return inputs[0]

    def cost(self, x: Space) -> Cost:
        """Count one multiplication for each number."""
        return Cost(0, x.numbers(), x.numbers() * BYTES)

    def lower(self, _x: Space) -> nn.Module:
        """See `opdsl.nn.layers.arithmetic.Scale`."""
        from opdsl.nn.layers import arithmetic

        return arithmetic.Scale(self.factor)
