"""The block `conv`: a local stencil."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt, field_validator

from opdsl.ir import ends
from opdsl.ir.block import BYTES, Block, Bound, Cost, GridSizes
from opdsl.ir.dims import PositiveCount, decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.spaces import Space
from opdsl.ir.stencil import stencil_bounds

if TYPE_CHECKING:
    from torch import nn


class Conv(Block):
    """w(x_i) = sum over offsets o of W_o v(x_(i + o)) + b: a convolution with a small stencil.

    v : D -> R^n gives w : D -> R^out on a grid D with at least `kernel` points on each axis. It
    runs at any resolution but has no limit under refinement: the stencil covers `kernel` points, so
    its width shrinks with the grid. `difference_conv` and `disco_conv` converge.

    ```op
    edition 2026

    model Local {
      domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 16)
      input v : D -> R^3
      output w : D -> R^8

      w = conv(v, out = 8, kernel = 3)  # op: allow(not-convergent)
    }
    ```

    Attributes:
        out: number of channels of the result.
        kernel: points of the stencil on each axis, odd.
        bias: whether b is added.
        edges: `domain`: periodic axes wrap, on other axes v is zero beyond the ends; `zeros`: v is
            zero beyond the ends of all axes.

    Source: LeCun et al. 1998, doi:10.1109/5.726791.
    """

    kinds = frozenset({"grid"})
    samples = (
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
        """Return the grid with `out` channels."""
        return x.with_channels(self.out)

    def bounds(self, x: Space) -> tuple[Bound, ...]:
        """Require a grid at least as wide as the stencil."""
        return stencil_bounds(x.domain, self.kernel)

    def diverges(self, _x: Space) -> str | None:
        """Return the reason: the stencil is a number of points, not a length."""
        if self.kernel == 1:
            return None
        return f"has a stencil of {self.kernel} points, which shrinks with the grid"

    def receptive_field(self, sizes: GridSizes, _x: Space) -> tuple[int, ...]:
        """Return half of the stencil."""
        return (self.kernel // 2,) * len(sizes[-1])

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], x: Space) -> Behaviour:
        """Return the facts of `linear` for a stencil of one point; else nothing is known."""
        if self.kernel > 1:
            return ends.unknown(x.domain)
        return ends.add_constant(inputs[0]) if self.bias else inputs[0]

    def convergence_order(self, _inputs: tuple[Behaviour, ...], _x: Space) -> Order | None:
        """Return that a stencil of one point is exact; a wider one has no limit."""
        return EXACT if self.kernel == 1 else None

    def cost(self, x: Space) -> Cost:
        """Count one matrix product for each point of the stencil."""
        weights = self.kernel**x.domain.dims * x.channels * self.out
        volume = x.domain.volume()
        constants = self.out if self.bias else 0
        return Cost(weights + constants, volume * (2 * weights), volume * (self.out * BYTES))

    def saved_per_point(self, x: Space) -> int:
        """Count the shifted copies of v, one for each offset; one stands for the input."""
        offsets: int = self.kernel**x.domain.dims
        return (offsets - 1) * decided(x.channels)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.grid.conv.Conv`."""
        from opdsl.nn.grid import conv

        wraps = tuple(y and self.edges == "domain" for y in x.domain.periodic)
        return conv.Conv(decided(x.channels), decided(self.out), self.kernel, wraps, bias=self.bias)
