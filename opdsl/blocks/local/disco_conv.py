"""The block `disco_conv`: a convolution with a local kernel of fixed radius."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from opdsl.ir import ends, orders
from opdsl.ir.block import BYTES, Block, Bound, Cost, GridSizes, Refusal
from opdsl.ir.dims import PositiveCount, decided
from opdsl.ir.ends import Behaviour, End, Seam
from opdsl.ir.orders import Order
from opdsl.ir.spaces import Space
from opdsl.ir.stencil import check_reflection
from opdsl.sampling import points_of

if TYPE_CHECKING:
    from torch import nn

ASSUMED = 25  # points of a kernel in `cost`, which does not know the grid
MOST_AXES = 3
ANGLES = {1: 2, 2: 4, 3: 1}  # by the number of axes, if none are asked for
Few = Annotated[int, Field(ge=1, le=1000)]


class DiscoConv(Block):
    """w(x) = integral of k(x - y) v(y) dy + b, where the kernel k vanishes beyond `radius`.

    v : D -> R^n gives w : D -> R^out on a grid of one to three axes or a sphere. k is a sum of
    fixed hat functions with trained weights. Its radius is a length, so a finer grid has more
    points within it and the result converges to the integral. On the sphere distances are angles in
    radians, and offsets are rotated with the point, from the north. Each hat function must meet a
    point, which bounds the resolution; the diagnostic computes the bound.

    ```op
    edition 2026

    model Near {
      domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 32)
      input v : D -> R^3
      output w : D -> R^8

      w = disco_conv(v, out = 8, radius = 3/32)
    }
    ```

    Attributes:
        radius: of the kernel, in the unit of length of the axes, or in radians; longer than one
            spacing, better two or three. More than three rings or four angles need a longer one.
        out: number of channels of the result; by default that of v.
        shape: number of rings, counted across the diameter, and of angles; by default (3, 4) in the
            plane and on the sphere. On one axis angles are its two directions, on three axes there
            is one.
        bias: whether b is added.
        edges: v beyond the ends of axes that are not periodic: `replicate` or `reflect` it, or
            `zeros`; with `zeros` periodic axes are treated so too.
        frozen: number of points of the grid whose stencil is used on every grid, for weights that
            were trained with it; there is no limit under refinement then.

    Source: Ocampo et al. 2023, arXiv:2209.13603; Liu-Schiaffini et al. 2024, arXiv:2402.16845, eq.
        (9).
    """

    kinds = frozenset({"grid", "sphere"})
    traceable_tables = False  # onnxruntime lacks the arctangent in float64
    samples = (
        {"inputs": (3,), "out": 4, "radius": 0.7, "shape": (3, 1)},
        {"inputs": (2,), "radius": 0.7, "shape": (4, 1), "bias": False},
        {"inputs": (2,), "radius": 0.7, "shape": (2, 1), "frozen": 6},
        {"inputs": (2,), "radius": 0.7},
        {"inputs": ("S -> R^3",), "out": 2, "radius": 1.0},
    )

    radius: PositiveFloat = Field(description="of the kernel, a length")
    out: PositiveCount | None = Field(default=None, description="channels of the result")
    shape: tuple[Few, Few] | None = Field(default=None, description="rings and angles")
    bias: bool = Field(default=True, description="whether a trained constant is added")
    edges: Literal["replicate", "reflect", "zeros"] = Field(
        default="replicate", description="what is beyond the ends of an axis"
    )
    frozen: PositiveInt | tuple[PositiveInt, ...] | None = Field(
        default=None, description="the grid whose stencil is used on every grid"
    )

    def infer(self, x: Space) -> Space:
        """Return the domain with `out` channels."""
        self._check(x)
        return x.with_channels(self.out or x.channels)

    def _check(self, x: Space) -> None:
        axes = x.domain.dims
        if axes > MOST_AXES:
            raise Refusal(
                "OP0301",
                f"`{self.keyword()}` is defined on one to three axes",
                f"`{x.domain}` has {axes}",
            )
        rings, angles = self._functions_of(x)
        most = {1: 2, 3: 1}.get(axes)
        if most is not None and angles > most:
            raise Refusal(
                "OP0208",
                f"a kernel on {axes} {'axis' if axes == 1 else 'axes'} has no {angles} angles",
                f"{most} at most",
                at="shape",
                helps=(f"write `shape = ({rings}, {most})`",),
            )
        if x.domain.kind == "sphere" and self.frozen is not None:
            raise Refusal("OP0208", "a kernel on the sphere is never frozen", at="frozen")
        if x.domain.kind == "sphere" and self.radius > math.pi:
            raise Refusal(
                "OP0208",
                "on the sphere nothing is farther than pi",
                f"{self.radius:g}",
                at="radius",
            )
        self._check_reach(x)
        check_reflection(x.domain, self.edges)
        if isinstance(self.frozen, tuple) and len(self.frozen) != axes:
            raise Refusal(
                "OP0208",
                f"`frozen` has {len(self.frozen)} values for {axes} axes",
                "one value for each axis, or one for all",
                at="frozen",
            )

    def _check_reach(self, x: Space) -> None:
        """Refuse a radius longer than an axis: v is continued beyond an end by one copy only."""
        if x.domain.kind == "sphere" or self.edges == "zeros":
            return
        for a in x.domain.axes:
            if (a.periodic or self.edges == "reflect") and self.radius > (a.hi - a.lo):
                raise Refusal(
                    "OP0208",
                    f"a radius of {self.radius:g} is longer than the axis `{a.name}`",
                    f"at most {a.hi - a.lo:g}",
                    at="radius",
                    helps=("for what is everywhere: `spectral_conv` or `integrate`",),
                )

    def behaviour_at_ends(self, _inputs: tuple[Behaviour, ...], x: Space) -> Behaviour:
        """Return that nothing is known at ends."""
        return ends.free(x.domain)

    def convergence_order(self, inputs: tuple[Behaviour, ...], x: Space) -> Order | None:
        """Return 2, of hats with kinks between the points; 1 where zeros beyond an end jump."""
        found = [Order(2, "a kernel with kinks")]
        for axis, closed, at in zip(x.domain.axes, x.domain.periodic, inputs[0].axes, strict=True):
            jumps = self.edges == "zeros" and End.VANISHES not in at.lower & at.upper
            if x.domain.regular and (at.seam == Seam.JUMP if closed else jumps):
                found.append(Order(1, f"a jump at the ends of {axis.name}"))
        return orders.least(*found)

    def bounds(self, x: Space) -> tuple[Bound, ...]:
        """Require that each basis function meets a point, or that a frozen stencil fits."""
        domain = x.domain
        lengths = [a.hi - a.lo for a in domain.axes]
        if self.frozen is not None:
            return tuple(y for i, n in enumerate(lengths) if (y := self._fitting(x, i, n)))
        if domain.kind == "sphere":
            lengths = [math.pi]  # latitudes only: rows near a pole may have few longitudes
        return tuple(self._bound(x, i, y) for i, y in enumerate(lengths))

    def _bound(self, x: Space, axis: int, length: float) -> Bound:
        ends = self._extra_points(x, axis)
        shape = self._functions_of(x)
        least_radius = spacings(shape, x.domain.dims) * length
        return Bound(
            x.domain,
            axis,
            least_points(shape, x.domain.dims, self.radius / length) + ends,
            keeps=f"each function of a kernel of radius {self.radius:g}",
            note=f"each spacing must be shorter than {self.radius * length / least_radius:.3g}",
            # 1% longer: at exactly this radius a function is still zero
            cure=lambda n: f"radius = {1.01 * least_radius / max(n - ends, 1):.3g}",
            what="details",
        )

    def _extra_points(self, x: Space, axis: int) -> int:
        """Return by how much the points of an axis outnumber its spacings."""
        if not x.domain.regular:
            return 0 if x.domain.periodic[axis] else 1
        return points_of(x.domain.samplings[axis], 0)

    def _fitting(self, x: Space, axis: int, length: float) -> Bound | None:
        """Require that a frozen stencil fits on the grid, which supplies the points beyond an end.

        Zeros and repetitions of the last point need no other points.
        """
        periodic = x.domain.periodic[axis]
        if self.edges == "zeros" or (self.edges == "replicate" and not periodic):
            return None
        frozen = self.frozen[axis] if isinstance(self.frozen, tuple) else self.frozen or 1
        ends = self._extra_points(x, axis)
        reach = math.floor(self.radius / length * (frozen - ends) + 1e-9)
        return Bound(
            x.domain,
            axis,
            max(reach + ends, 1),  # `reflect` needs them, and one more where the end has a point
            keeps=f"a frozen stencil that reaches {reach} points far",
            note=f"it looks {reach} points beyond each end",
            cure=lambda _: "edges = zeros",
            what="stencil points",
        )

    def diverges(self, _x: Space) -> str | None:
        """Return the reason if the stencil is frozen: it is a number of points, not a length."""
        return None if self.frozen is None else "has a frozen stencil, which shrinks with the grid"

    def receptive_field(self, sizes: GridSizes, x: Space) -> tuple[int, ...] | None:
        """Return the points within the radius; frozen stencils and spheres count as global."""
        domain = x.domain
        if self.frozen is not None or not domain.regular:
            return None
        ends = (n - self._extra_points(x, axis) for axis, n in enumerate(sizes[0]))
        lengths = (a.hi - a.lo for a in domain.axes)
        return tuple(
            math.floor(self.radius * n / length + 1e-9)
            for n, length in zip(ends, lengths, strict=True)
        )

    def cost(self, x: Space) -> Cost:
        """Count one product for each point of the kernel, assumed to be 25."""
        out, c = self.infer(x), x.channels
        params = self._count(x) * c * out.channels + (out.channels if self.bias else 0)
        flops = x.domain.volume() * (2 * ASSUMED * c * out.channels)
        return Cost(decided(params), flops, out.numbers() * BYTES)

    def _functions_of(self, x: Space) -> tuple[int, int]:
        """Return the numbers of rings and angles."""
        return self.shape or (3, ANGLES[x.domain.dims])

    def _count(self, x: Space) -> int:
        """Count the basis functions of the kernel."""
        rings, angles = self._functions_of(x)
        return (rings + 1) // 2 if angles == 1 else rings // 2 * angles + rings % 2

    def saved_per_point(self, x: Space) -> int:
        """Count v filtered by each function of the kernel, and the margin around v."""
        c = decided(x.channels)
        return self._count(x) * c + c // 2

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.grid.disco.DiscoConv` and `opdsl.nn.sphere.disco.DiscoConv`."""
        from opdsl.nn.grid import disco
        from opdsl.nn.sphere import disco as spherical_disco

        domain, c, out = x.domain, x.channels, self.infer(x).channels
        if domain.kind == "sphere":
            return spherical_disco.DiscoConv(
                decided(c),
                decided(out),
                shape=self._functions_of(x),
                radius=self.radius,
                sampling=domain.sampling or "gauss_legendre",
                bias=self.bias,
            )
        wraps = (y and self.edges != "zeros" for y in domain.periodic)
        frozen = (self.frozen,) * domain.dims if isinstance(self.frozen, int) else self.frozen
        return disco.DiscoConv(
            decided(c),
            decided(out),
            shape=self._functions_of(x),
            radius=self.radius,
            lengths=tuple(a.hi - a.lo for a in domain.axes),
            closed=domain.periodic,
            samplings=domain.declared_samplings,
            edges=tuple("wrap" if y else self.edges for y in wraps),
            bias=self.bias,
            frozen=frozen,
        )


def least_points(shape: tuple[int, int], axes: int, radius: float) -> int:
    """Return the least n for which each basis function meets a point of spacing 1 / n.

    Args:
        shape: rings and angles.
        axes: of the domain.
        radius: as a part of the length.
    """
    return math.floor(spacings(shape, axes) / radius + 1e-9) + 1


def spacings(shape: tuple[int, int], axes: int) -> float:
    """Return how many spacings the radius must exceed, or a basis function is zero at all points.

    The innermost ring is the last to meet a point, where its hat is not zero: between 0
    and 4 / (rings + 1) of the radius, or 3 / (rings + 1) if there is no function in the middle.
    """
    rings, angles = shape
    if rings == 1 or (rings == 2 and angles == 1):
        return 1.0  # the only function is not zero in the middle
    numerator = 3 if rings % 2 == 0 and angles > 1 else 4
    return max(1.0, (_nearest(angles) if axes == 2 else 1.0) * (rings + 1) / numerator)


@lru_cache
def _nearest(angles: int) -> float:
    """Return the distance, in spacings, within which each sector of the plane has a point."""
    turn, line = 2 * math.pi / angles, range(-(angles // 4) - 2, angles // 4 + 3)
    points = [(math.hypot(i, j), math.atan2(i, j)) for i in line for j in line if i or j]

    def within(centre: float) -> float:
        return min(
            r for r, a in points if abs(math.remainder(a - centre, 2 * math.pi)) < turn - 1e-9
        )

    return max(within(a * turn) for a in range(angles))
