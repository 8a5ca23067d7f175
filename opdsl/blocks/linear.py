"""The block `linear`: one matrix at every point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from opdsl.ir.block import BYTES, Block, Cost
from opdsl.ir.dims import PositiveCount
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Linear(Block):
    """w(x) = W v(x) + b: the same matrix at every point.

    It acts on the channels alone, so it is the same operator at every resolution.

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
        out: channels of the result.
        bias: whether b is added.

    Source: Li et al. 2021, arXiv:2010.08895, eq. (2), the term W v.
    """

    complex: ClassVar[bool] = True
    samples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"inputs": (3,), "out": 5},
        {"inputs": (2,), "out": 1, "bias": False},
        {"inputs": ("D -> C^3",), "out": 2},
    )

    out: PositiveCount = Field(description="channels of the result")
    bias: bool = Field(default=True, description="whether a trained constant is added")

    def infer(self, *x: Space) -> Space:
        """`out` channels on the same domain."""
        return x[0].with_channels(self.out)

    def carries(self, *x: Space) -> bool:  # noqa: ARG002  the same for every space
        """It is linear, and the same at every point."""
        return True

    def cost(self, *x: Space) -> Cost:
        """A multiplication and an addition for each entry of W at each point."""
        volume, c = x[0].domain.volume(), x[0].channels
        added = self.out if self.bias else 0
        w = x[0].width  # a complex product is four real ones
        return Cost(
            w * (c * self.out + added),
            volume * (w * w * 2 * c * self.out + w * added),
            volume * (w * self.out * BYTES),
        )

    def lower(self, *x: Space) -> nn.Module:
        """See `opdsl.nn.pointwise.Linear` and `ComplexLinear`."""
        from opdsl.nn import pointwise

        if x[0].complex:
            return pointwise.ComplexLinear(x[0].channels, self.out, bias=self.bias)
        return pointwise.Linear(x[0].channels, self.out, bias=self.bias)
