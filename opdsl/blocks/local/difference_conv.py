"""The block `difference_conv`: a stencil of differences, which tends to a derivative."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from opdsl.ir import ends
from opdsl.ir.block import BYTES, Block, Bound, Cost, GridSizes, Refusal
from opdsl.ir.dims import PositiveCount, decided
from opdsl.ir.ends import SMOOTH, Behaviour, End, Seam
from opdsl.ir.orders import Order
from opdsl.ir.spaces import Space
from opdsl.ir.stencil import check_reflection, stencil_bounds

if TYPE_CHECKING:
    from torch import nn

MOST_AXES = 3


class DifferenceConv(Block):
    """w(x) = sum_j W_j (v(x + j h) - v(x)) width / h: differences to the neighbours, divided by h.

    v : D -> R^n gives w : D -> R^out on a grid D of one to three axes with at least `kernel` points
    on each. Under refinement it tends to the derivative sum_j W_j (j . grad v) width: the stencil
    shrinks with the grid, the result does not. Each axis is divided by its own spacing h. At the
    spacing `width` the factor is one, so `width` is best about the spacing of the grid on which the
    model is trained.

    ```op
    edition 2026

    model Slopes {
      domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 16)
      input v : D -> R^3
      output w : D -> R^8

      w = difference_conv(v, out = 8, width = 1/32)
    }
    ```

    Attributes:
        out: number of channels of the result; by default that of v.
        kernel: points of the stencil on each axis, odd.
        width: a length in the unit of the axes; one number for all axes or one for each.
        edges: v beyond the ends of axes that are not periodic: `replicate` or `reflect` it, or
            `zeros`; with `zeros` periodic axes are treated so too. Beyond an end no difference is
            known: the points next to it have an error, so the mean square converges with order 1/2
            there and with 1 inside. With `zeros` the jump at the end over h grows, and there is no
            limit.
        mix: whether each channel of the result depends on all channels, or on its own only.

    Source: Liu-Schiaffini et al. 2024, arXiv:2402.16845, eq. (7); on grids of one spacing its
        program divides by that spacing.
    """

    kinds = frozenset({"grid"})
    samples = (
        {"inputs": (3,), "out": 4, "width": 0.5},
        {"inputs": (2,), "mix": False, "edges": "reflect"},
        {"inputs": (2,), "kernel": 5, "edges": "zeros"},
    )

    out: PositiveCount | None = Field(default=None, description="channels of the result")
    kernel: PositiveInt = Field(default=3, description="points of the stencil, odd")
    width: PositiveFloat | tuple[PositiveFloat, ...] = Field(
        default=1 / 32, description="the spacing at which nothing is scaled"
    )
    edges: Literal["replicate", "reflect", "zeros"] = Field(
        default="replicate", description="what is beyond the ends of an axis"
    )
    mix: bool = Field(default=True, description="whether channels meet")

    @field_validator("kernel")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("a stencil has a middle: an odd number of points")
        return value

    def infer(self, x: Space) -> Space:
        """Return the grid with `out` channels."""
        self._check(x)
        return x.with_channels(self.out or x.channels)

    def _check(self, x: Space) -> None:
        if x.domain.dims > MOST_AXES:
            raise Refusal(
                "OP0301",
                f"`{self.keyword()}` is defined on one to three axes",
                f"`{x.domain}` has {x.domain.dims}",
            )
        check_reflection(x.domain, self.edges)
        if isinstance(self.width, tuple) and len(self.width) != x.domain.dims:
            raise Refusal(
                "OP0208",
                f"`width` has {len(self.width)} values for {x.domain.dims} axes",
                "one value for each axis, or one for all",
                at="width",
            )
        if not self.mix and self.out not in (None, x.channels):
            raise Refusal(
                "OP0303",
                f"without mixing {x.channels} channels stay, not {self.out}",
                "each channel meets itself only",
                at="out",
                helps=(f"change the channels by `linear(out = {self.out})`",),
            )

    def bounds(self, x: Space) -> tuple[Bound, ...]:
        """Require a grid at least as wide as the stencil."""
        return stencil_bounds(x.domain, self.kernel)

    def diverges(self, _x: Space) -> str | None:
        """Return the reason if the edges are zeros: the jump over the spacing grows without end."""
        if self.edges != "zeros" or self.kernel == 1:
            return None
        return "divides the jump to zero at the ends by the spacing"

    def receptive_field(self, sizes: GridSizes, _x: Space) -> tuple[int, ...]:
        """Return half of the stencil."""
        return (self.kernel // 2,) * len(sizes[-1])

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], x: Space) -> Behaviour:
        """Return that nothing is known at ends about derivatives, whose kinks are jumps."""
        smoothness = min(inputs[0].smoothness - 1, 1 if self._broken(inputs[0], x) else SMOOTH)
        return Behaviour(ends.free(x.domain).axes, smoothness)

    def _broken(self, v: Behaviour, x: Space) -> bool:
        """Return whether the derivative at an end is wrong: v jumps, or its slope is not zero."""
        rows = zip(x.domain.periodic, v.axes, strict=True)
        broken = (
            at.seam != Seam.SMOOTH if closed else End.FLAT not in at.lower & at.upper
            for closed, at in rows
        )
        return self.kernel > 1 and any(broken)

    def convergence_order(self, inputs: tuple[Behaviour, ...], _x: Space) -> Order:
        """Return 1, that of one-sided differences, or less for a function with kinks or jumps.

        At a kink the derivative is wrong by O(1) at a part h of the points, at a jump by O(1 / h);
        in the mean square these are the orders 1/2 and -1/2.
        """
        kinks = Order(inputs[0].smoothness - 1.5, "differences of a function with kinks or jumps")
        return min(Order(1, "differences that are not central"), kinks, key=lambda y: y.value)

    def cost(self, x: Space) -> Cost:
        """Count one product for each point of the stencil, and one more for each axis."""
        out, c = self.infer(x), x.channels
        inward = c if self.mix else 1
        weights = self.kernel**x.domain.dims * inward * out.channels
        sums = sum(self.kernel**i for i in range(x.domain.dims)) * inward * out.channels
        volume = x.domain.volume()
        return Cost(weights, volume * (2 * (weights + sums)), out.numbers() * BYTES)

    def saves_inputs(self, _x: Space) -> bool:
        """Return False: the gradient needs the copy with points around the ends."""
        return False

    def saved_per_point(self, x: Space) -> int:
        """Count this copy."""
        return decided(x.channels)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.grid.difference.DifferenceConv`."""
        from opdsl.nn.grid import difference

        domain = x.domain
        wraps = (y and self.edges != "zeros" for y in domain.periodic)
        widths = self.width if isinstance(self.width, tuple) else (self.width,) * domain.dims
        return difference.DifferenceConv(
            decided(x.channels),
            decided(self.infer(x).channels),
            self.kernel,
            lengths=tuple(a.hi - a.lo for a in domain.axes),
            widths=widths,
            closed=domain.periodic,
            samplings=domain.declared_samplings,
            edges=tuple("wrap" if y else self.edges for y in wraps),
            groups=decided(1 if self.mix else x.channels),
        )
