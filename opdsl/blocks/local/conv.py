"""The block `conv`: a local stencil."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, field_validator

from opdsl.ir.block import BYTES, Block, Bound, Cost, GridSizes
from opdsl.ir.dims import PositiveCount
from opdsl.ir.spaces import Space
from opdsl.ir.stencil import stencil_bounds

if TYPE_CHECKING:
    from torch import nn


class Conv(Block):
    """v(x_i) = sum over offsets o of W_o u(x_(i + o)) + b: a convolution with a small stencil.

    It runs at any resolution, but it has no limit under refinement: the stencil covers `kernel`
    points, so its width shrinks with the grid. A model with a `conv` is shape-agnostic and not
    convergent, and its certificate says so.

    ```op
    edition 2026

    model Stencil {
      domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 16)
      input u : D -> R^3
      output v : D -> R^8

      v = u |> conv(out = 8, kernel = 3)  # op: allow(not-convergent)
    }
    ```

    Attributes:
        out: channels of the result.
        kernel: points of the stencil on each axis, odd.
        bias: whether b is added.
        edges: `domain`: axes that close on themselves wrap, on the others v is zero beyond the
            ends; `zeros`: so on all axes.

    Source: LeCun et al. 1998, doi:10.1109/5.726791.
    """

    kinds: ClassVar[frozenset[str]] = frozenset({"grid"})
    samples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"inputs": (3,), "out": 5, "kernel": 3},
        {"inputs": (1,), "out": 1, "kernel": 1},
        {"inputs": (2,), "out": 2, "kernel": 3, "bias": False, "edges": "zeros"},
    )

    out: PositiveCount
    kernel: PositiveInt = Field(default=3)
    bias: bool = Field(default=True)
    edges: Literal["domain", "zeros"] = Field(default="domain")

    @field_validator("kernel")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("a stencil has a middle: an odd number of points")
        return value

    def infer(self, x: Space) -> Space:
        """`out` channels on the same grid."""
        return x.with_channels(self.out)

    def bounds(self, x: Space) -> tuple[Bound, ...]:
        """The ring of neighbours must not be wider than the grid."""
        return stencil_bounds(x.domain, self.kernel)

    def diverges(self, _x: Space) -> str | None:
        """Its width is a number of points, not a length."""
        if self.kernel == 1:
            return None
        return f"has a stencil of {self.kernel} points, which shrinks with the grid"

    def receptive_field(self, sizes: GridSizes, _x: Space) -> tuple[int, ...]:
        """Half of the stencil."""
        return (self.kernel // 2,) * len(sizes[-1])

    def cost(self, x: Space) -> Cost:
        """One matrix product for each point of the stencil."""
        weights = self.kernel**x.domain.dims * x.channels * self.out
        volume = x.domain.volume()
        constants = self.out if self.bias else 0
        return Cost(weights + constants, volume * (2 * weights), volume * (self.out * BYTES))

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.grid.conv.Conv`."""
        from opdsl.nn.grid import conv

        wraps = tuple(y and self.edges == "domain" for y in x.domain.periodic)
        return conv.Conv(x.channels, self.out, self.kernel, wraps, bias=self.bias)
