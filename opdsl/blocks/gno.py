"""The block `gno`: a kernel integral from one domain to another."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat

from opdsl.blocks.apply import TRANSCENDENTAL, Activation
from opdsl.ir.block import BYTES, Ask, Block, Cost, Refusal
from opdsl.ir.dims import PositiveCount
from opdsl.ir.spaces import KINDS, Domain, Extend, Space

if TYPE_CHECKING:
    from torch import nn

NEIGHBOURS = 16  # of a point, where the cost is told: how many there are, the data decide


class Gno(Block):
    """w(x) = mean over the points y with |x - y| <= radius of k(x, y) v(y).

    k is a network with one result for each channel; with `kind = nonlinear` it sees v(y) too. v
    may live on points, a grid or a sphere, and so may w: this is a way between any two domains in
    one space.

    | reduction | over the neighbours y                          | as points get denser            |
    |-----------|------------------------------------------------|---------------------------------|
    | mean      | sum / how many there are                       | the mean over the ball, by the  |
    |           |                                                | density of the points           |
    | integral  | sum of weight(y) k v: on grids the trapezoidal | the integral over the ball      |
    |           | rule, on spheres their quadrature, on points   | (on points: if they fill it     |
    |           | the volume of the ball / how many there are    | evenly; not on a surface)       |
    | sum       | sum                                            | none, it grows with their number|

    The ball ends inside of the domain, so the error falls more slowly than that of the quadrature:
    on a grid of step h like h^(3/2) in the plane, for random points like 1 / sqrt(n). Distances are
    those of the coordinates: they do not wrap around periodic axes.

    The coordinates of points are given with each call of the module, under the domain's name, and
    are searched once as long as they stay the same. A point x without neighbours is an error, or
    takes the nearest y, as `empty` says.

    ```op
    edition 2026

    model Cloud {
      domain P = points(2, geometry = per_sample)
      domain L = grid(x: 0..1, y: 0..1, size = 16)
      input f : P -> R^3
      output w : L -> R^3

      w = f |> gno(to = L, radius = 0.2, kernel = [32, 32])
    }
    ```

    Attributes:
        to: the domain of the result.
        radius: how far neighbours are, in the unit of the coordinates.
        kernel: widths of the hidden layers of k.
        act: the activation between them.
        kind: linear (k of x and y) or nonlinear (of x, y and v(y)).
        reduction: mean, integral or sum over the neighbours.
        empty: what a point without neighbours is: error or nearest.

    Source: Li et al. 2020, arXiv:2003.03485, eq. (6); Li et al. 2023, arXiv:2309.00583 (GINO).
    """

    sized: ClassVar[bool] = True
    samples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"inputs": ("P -> R^2",), "to": "Q", "radius": 2.0, "kernel": (4,), "act": "tanh"},
        {"inputs": ("P -> R^2",), "to": "Q", "radius": 0.7, "kernel": (3, 3), "kind": "nonlinear"},
        {"inputs": ("Q -> R^1",), "to": "P", "radius": 0.1, "kernel": (2,), "empty": "nearest"},
        {"inputs": ("S -> R^2",), "to": "S", "radius": 1.5, "reduction": "integral"},
    )

    to: Domain = Field(description="the domain of the result")
    radius: PositiveFloat = Field(description="how far neighbours are")
    kernel: tuple[PositiveCount, ...] = Field(
        default=(64, 64), min_length=1, description="widths of the hidden layers of the kernel"
    )
    act: Activation = Field(default="gelu", description="between the layers of the kernel")
    kind: Literal["linear", "nonlinear"] = Field(
        default="linear", description="whether the kernel sees the function"
    )
    reduction: Literal["mean", "integral", "sum"] = Field(
        default="mean", description="over the neighbours"
    )
    empty: Literal["error", "nearest"] = Field(
        default="error", description="what a point without neighbours is"
    )

    def infer(self, *x: Space) -> Space:
        """As many channels on `to`."""
        here, there = ambient(x[0].domain, None), ambient(self.to, "to")
        if here != there:
            raise Refusal(
                "OP0313",
                f"`{x[0].domain}` and `{self.to}` lie in spaces of {here} and {there} dimensions",
                f"{there} coordinates",
                at="to",
                notes=("neighbours are found by the distance of their coordinates",),
                helps=(f"declare both with as many coordinates: `points({here})`",),
            )
        return x[0].on(self.to).with_channels(x[0].channels)

    def asks(self, *x: Space) -> tuple[Ask, ...]:
        """Coordinates of the points of both domains, where they are not those of a grid."""
        return tuple(Ask(y.name, "coordinates", y) for y in (x[0].domain, self.to) if y.scattered)

    def diverges(self, *x: Space) -> str | None:  # noqa: ARG002  the same for every space
        """A sum grows with the number of points."""
        return "adds up more neighbours as points get denser" if self.reduction == "sum" else None

    def _widths(self, x: Space) -> tuple[int, ...]:
        seen = 2 * ambient(x.domain, None) + (x.channels if self.kind == "nonlinear" else 0)
        return (seen, *self.kernel, x.channels)

    def cost(self, *x: Space) -> Cost:
        """The kernel at 16 neighbours of each x, its first layer at the points themselves.

        How many neighbours there are is up to the data: 16 stands for them.
        """
        widths, d = self._widths(x[0]), ambient(self.to, "to")
        params = sum(a * b + b for a, b in pairwise(widths))
        out = self.infer(*x)
        nodes = x[0].domain.volume() * (widths[0] - d) + out.domain.volume() * d
        behind = sum(2 * a * b for a, b in pairwise(widths[1:])) + TRANSCENDENTAL * sum(self.kernel)
        edges = out.domain.volume() * NEIGHBOURS
        flops = nodes * (2 * widths[1]) + edges * (behind + widths[1] + 2 * x[0].channels)
        return Cost(params, flops, out.numbers() * BYTES)

    def lower(self, *x: Space) -> nn.Module:
        """See `opdsl.nn.gno.Gno`."""
        from opdsl.nn import gno

        return gno.Gno(
            _place(x[0].domain),
            _place(self.to),
            self._widths(x[0]),
            self.radius,
            act=self.act,
            sees=self.kind == "nonlinear",
            reduction=self.reduction,
            cells=_cells(x[0].domain) if self.reduction == "integral" else None,
            nearest=self.empty == "nearest",
        )


def ambient(domain: Domain, at: str | None) -> int:
    """The number of coordinates of the points of a domain.

    Raises:
        Refusal: OP0301, its points have none.
    """
    extended = any(isinstance(y, Extend) for part in domain.parts for y in part.steps)
    if domain.scattered and domain.ambient:
        return domain.ambient
    if domain.kind == "sphere":
        return 3
    if domain.regular and not extended:
        return domain.dims
    raise Refusal(
        "OP0301",
        "`gno` is defined on grids, points and spheres only",
        f"`{domain}` extends a grid" if extended else f"this is {KINDS[domain.kind]}",
        at=at or 0,
    )


def _place(domain: Domain) -> nn.Module | None:
    """Where the points of a grid or a sphere are; None for points that are given."""
    from opdsl.nn import grid, sphere

    if domain.scattered:
        return None
    if domain.kind == "sphere":
        return sphere.UnitVectors(domain.sampling or "gauss_legendre")
    axes = domain.axes
    return grid.Coords(tuple(a.lo for a in axes), tuple(a.hi for a in axes), domain.periodic)


def _cells(domain: Domain) -> nn.Module | None:
    """The volumes that the points of a grid or a sphere stand for; None for points."""
    from opdsl.nn import gno

    if domain.scattered:
        return None
    if domain.kind == "sphere":
        return gno.SphereCells(domain.sampling or "gauss_legendre")
    axes = domain.axes
    return gno.GridCells(tuple(a.lo for a in axes), tuple(a.hi for a in axes), domain.periodic)
