"""The block `mul`: the product of two functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from opdsl.ir.block import BYTES, Block, Cost
from opdsl.ir.combine_rules import common_components, same_channels, same_domain, same_field
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Mul(Block):
    """w = u v at each point and channel; written `a * b`.

    Both functions live on one domain and have as many channels.

    ```op
    edition 2026

    model Muls {
      domain D = grid(x: 0..1, boundary = periodic, min = 16)
      input a : D -> R^3
      input b : D -> R^3
      output w : D -> R^3

      w = a * b
    }
    ```

    Source: pointwise arithmetic; nothing to cite.
    """

    complex: ClassVar[bool] = True
    arity: ClassVar[tuple[int, int | None]] = (2, 2)
    ragged: ClassVar[Literal["each", "pointwise", "own"]] = "pointwise"
    samples: ClassVar[tuple[dict[str, Any], ...]] = ({"inputs": (3, 3)}, {"inputs": (1, 1)})

    def infer(self, *x: Space) -> Space:
        """The space of both."""
        same_domain("multiply", x)
        same_field("multiply", x)
        same_channels("multiply", x)
        return x[0].model_copy(update={"components": common_components(x)})

    def cost(self, *x: Space) -> Cost:
        """One operation for each number."""
        return Cost(0, x[0].numbers(), x[0].numbers() * BYTES)

    def lower(self, *x: Space) -> nn.Module:  # noqa: ARG002  the same for every space
        """See `opdsl.nn.layers.arithmetic.Mul`."""
        from opdsl.nn.layers import arithmetic

        return arithmetic.Mul()
