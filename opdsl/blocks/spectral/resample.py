"""The block `resample`: the same function on another grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from opdsl.bases import Bases
from opdsl.ir import ends, orders
from opdsl.ir.block import BYTES, Block, Cost, GridSizes, Refusal, copy_cost
from opdsl.ir.ends import Behaviour
from opdsl.ir.interpolants import interpolants, is_plain
from opdsl.ir.orders import Order
from opdsl.ir.regrid import same_interval, transform
from opdsl.ir.sharding.rules import CHANNELS, Rule
from opdsl.ir.spaces import Domain, Space

if TYPE_CHECKING:
    from torch import nn


class Resample(Block):
    """w = v on the grid `to`: the trigonometric interpolant of v, sampled there.

    v : D -> R^n gives w : to -> R^n, where D and `to` are grids of one declaration, and complex
    functions likewise. It is exact for functions whose frequencies both grids resolve, at odd and
    even sizes, up and down; frequencies beyond the coarser grid are removed and not aliased. By
    default every axis is treated as periodic: a jump between the ends of an axis causes Gibbs
    oscillations. On the grid of v it is the identity.

    `basis` chooses other functions than waves on axes with two ends. `sine` is for functions that
    vanish at both ends, `cosine` for slopes that vanish there, `quarter_sine` and `quarter_cosine`
    for one of each. `auto` follows the boundary: it subtracts the linear function with the values
    at the two ends and expands the rest in sines; at Neumann ends the functions are even. Cell
    centres take cosines. The result is then exact at the points of v. For a smooth v the error in
    the mean square has order 5/2 with the linear function and sines, and 3/2 with cosines; it is
    smaller than any power if v continues smoothly as an odd or even function.

    ```op
    edition 2026

    model Coarse {
      domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 16)
      input v : D -> R^3
      output w : D / 2 -> R^3

      w = resample(v, to = D / 2)
    }
    ```

    `kind = linear` (one axis) and `kind = cubic` (two) serve weights that were trained with them:
    they interpolate between the first and the last point, which become the first and the last point
    of the new grid. On a periodic axis that shifts the function by up to a spacing.

    Attributes:
        to: a grid of the declaration of D: `D`, `D / 2`.
        kind: fourier, linear or cubic.
        basis: fourier, auto, sine, cosine, quarter_sine, quarter_cosine or sine_cosine (as `auto`);
            one word for all axes or one for each. Periodic axes have waves with `auto` too.

    Source: scipy.signal.resample, on each axis; Trefethen 2000, doi:10.1137/1.9780898719598;
        `linear` and `cubic`: neuralop/layers/resample.py at 93d3f06.
    """

    complex = True
    kinds = frozenset({"grid"})
    sized = True
    samples = (
        {"inputs": (3,), "to": "D/2"},
        {"inputs": (1,), "to": "D"},
        {"inputs": (2,), "to": "D/2", "basis": "auto"},
    )

    to: Domain = Field(description="the grid of the result")
    kind: Literal["fourier", "linear", "cubic"] = Field(
        default="fourier", description="the interpolant"
    )
    basis: Bases = Field(default="fourier", description="the functions of `kind = fourier`")

    def infer(self, x: Space) -> Space:
        """Return `to` with the channels of the input."""
        same_interval(x, self.to)
        self._check_axes(x)
        interpolants(self.basis, self.to)
        return x.on(self.to)

    def _check_axes(self, x: Space) -> None:
        if self.kind != "fourier" and not is_plain(self.basis):
            raise Refusal(
                "OP0208",
                f"`kind = {self.kind}` has no basis",
                "this interpolant consists of polynomials",
                at="basis",
                helps=("leave `kind` out, or `basis`",),
            )
        axes = {"linear": 1, "cubic": 2}.get(self.kind, x.domain.dims)
        if axes == x.domain.dims and not (x.complex and self.kind != "fourier"):
            return
        raise Refusal(
            "OP0208",
            f"`kind = {self.kind}` interpolates real functions of {axes} "
            f"{'axis' if axes == 1 else 'axes'}",
            f"`{x}` is another kind of function",
            at="kind",
            helps=("`kind = fourier` is exact on any number of axes",),
        )

    def is_identity(self, x: Space) -> bool:
        """Return whether `to` is the domain of v."""
        return self.to == x.domain

    def band_preserving(self) -> bool:
        """Return whether the interpolant is the trigonometric one."""
        return self.kind == "fourier" and is_plain(self.basis)

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Return the parity of half waves without a polynomial; else nothing is known at ends."""
        if self.kind == "fourier" and not is_plain(self.basis):
            families, lifts = zip(*interpolants(self.basis, self.to), strict=True)
            if set(lifts) == {"none"}:
                return ends.waves(self.to, families)
        return Behaviour(ends.free(self.to).axes, inputs[0].smoothness)

    def convergence_order(self, inputs: tuple[Behaviour, ...], x: Space) -> Order:
        """Return the order of the interpolant.

        `linear` and `cubic` take first and last points of both grids for one place, which they are
        on an axis with both ends; the cubic of torch (a = -3/4) has only order 1, see Keys 1981,
        doi:10.1109/TASSP.1981.1163711.
        """
        if self.kind == "fourier" and not is_plain(self.basis):
            return orders.interpolant(x.domain, inputs[0], interpolants(self.basis, x.domain))
        if self.kind == "fourier":
            return orders.coefficients(x.domain, inputs[0])
        both = all(a.points == "both" for a in x.domain.axes)
        if self.kind == "linear" and both:
            return Order(min(2, inputs[0].smoothness), "linear interpolation")
        return Order(1, f"{self.kind} interpolation")

    def sharding(self, _axis: int, _sizes: GridSizes, _x: Space) -> Rule:
        """Return that it acts on each channel alone."""
        return CHANNELS

    def cost(self, x: Space) -> Cost:
        """Count a fast transform along each axis at the old size, and one at the new size."""
        out = self.infer(x)
        if self.to == x.domain:
            return copy_cost(out.numbers())
        return Cost(0, transform(x) + transform(out), out.numbers() * BYTES)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.spectral.resample.resample` and `opdsl.nn.grid.conv.Interpolate`."""
        from opdsl.nn.grid.conv import Interpolate
        from opdsl.nn.spectral.resample import SHIFTED, Resample

        if self.kind != "fourier":
            return Interpolate(self.kind)
        samplings = x.domain.samplings
        if is_plain(self.basis) and not any(y in SHIFTED for y in samplings):
            return Resample()
        families, lifts = zip(*interpolants(self.basis, self.to), strict=True)
        return Resample(families, lifts, samplings)
