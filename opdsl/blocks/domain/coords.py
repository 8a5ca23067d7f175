"""The block `coords`: the coordinates of the points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from opdsl.ir import ends
from opdsl.ir.block import Block, Cost, Refusal, SideInput, copy_cost
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.spaces import KINDS, Domain, Space
from opdsl.ir.steps import Extend

if TYPE_CHECKING:
    from torch import nn

SPACE = ("x", "y", "z")  # names of the coordinates of points


class Coords(Block):
    """w(x) = x: one channel for each coordinate, in the unit of length of the program.

    The result is w : domain -> R^d. The `sampling` of an axis says where its points are: by default
    a periodic axis of n points has them at lo + i (hi - lo) / n, since `hi` is `lo` again, and any
    other axis includes both ends, lo + i (hi - lo) / (n - 1). Points have the coordinates that a
    call of the model gives under the name of the domain. Points of a sphere are unit vectors x, y,
    z, which have no seam. No other block adds coordinates by itself.

    ```op
    edition 2026

    model Where {
      domain D = grid(x: 0..1, y: -1..1, boundary = periodic, min = 16)
      input a : D -> R^1
      output w : D -> R^3

      w = concat(a, coords(D))
    }
    ```

    With `kind = fraction` a sphere has two coordinates instead, i / latitudes and j / longitudes,
    which have a seam and move with the resolution by up to one part in `latitudes`; they serve
    weights that were trained with them.

    On a periodic axis the coordinate jumps from `hi` to `lo`, and Fourier layers see the jump at
    every resolution: a model converges with order one then. With `kind = circle` such an axis has
    two channels, cos and sin of 2 pi (x - lo) / (hi - lo), which do not jump.

    Attributes:
        domain: a grid, points or a sphere; given without a name.
        kind: position; fraction on a sphere; circle on a grid with a periodic axis.

    Source: Li et al. 2021, arXiv:2010.08895, section 5.
    """

    positional = ("domain",)
    sized = True
    ragged = "own"
    samples = (
        {"inputs": (), "domain": "D"},
        {"inputs": (), "domain": "D/2"},
        {"inputs": (), "domain": "D", "kind": "circle"},
    )

    domain: Domain = Field(description="the domain")
    kind: Literal["position", "fraction", "circle"] = Field(
        default="position", description="what a coordinate is"
    )

    def infer(self) -> Space:
        """Return the domain with a channel for each coordinate, with its name."""
        self._check_domain()
        names = self._names()
        return Space(domain=self.domain, channels=len(names), components=names)

    def _names(self) -> tuple[str, ...]:
        if self.domain.scattered:
            d = self.domain.ambient or 0
            return SPACE[:d] if d <= len(SPACE) else tuple(f"x{i + 1}" for i in range(d))
        if self.kind == "circle":
            axes = zip(self.domain.axes, self.domain.periodic, strict=True)
            pairs = [(f"cos_{a.name}", f"sin_{a.name}") if p else (a.name,) for a, p in axes]
            return tuple(x for pair in pairs for x in pair)
        in_space = self.domain.kind == "sphere" and self.kind == "position"
        return SPACE if in_space else tuple(a.name for a in self.domain.axes)

    def _check_domain(self) -> None:
        domain = self.domain
        if self.kind == "fraction" and domain.kind != "sphere":
            raise Refusal(
                "OP0208",
                "fractions are coordinates of a sphere only",
                f"`{domain}` is {KINDS[domain.kind]}",
                at="kind",
                helps=("leave `kind` out",),
            )
        if self.kind == "circle" and not (domain.regular and any(domain.periodic)):
            raise Refusal(
                "OP0208",
                "a circle is the place of a point on an axis that closes on itself",
                f"`{domain}` has no such axis",
                at="kind",
                helps=("leave `kind` out",),
            )
        if not (domain.regular or domain.scattered or domain.kind == "sphere"):
            raise Refusal(
                "OP0301",
                "`coords` is defined on grids, points and spheres only",
                f"`{domain}` is {KINDS[domain.kind]}",
                at="domain",
            )
        if any(isinstance(x, Extend) for part in domain.parts for x in part.steps):
            raise Refusal(
                "OP0301",
                "`coords` is defined on a grid itself, not on an extension of one",
                f"`{domain}` extends `{domain.name}`",
                at="domain",
                notes=(
                    "the added points close the domain to a ring and have no place of their own",
                ),
                helps=(f"take them before: `coords({domain.name}) |> pad(to = {domain})`",),
            )

    def behaviour_at_ends(self, _inputs: tuple[Behaviour, ...]) -> Behaviour:
        """Return that nothing is known at ends; on a periodic axis a position jumps."""
        smooth = self.kind == "circle" or (self.kind == "position" and not self.domain.regular)
        known = ends.free(self.domain) if smooth else ends.unknown(self.domain)
        of_grid = self.kind == "position" and self.domain.regular
        return Behaviour(known.axes, coordinates=of_grid)

    def convergence_order(self, _inputs: tuple[Behaviour, ...]) -> Order:
        """Return that coordinates are exact, but fractions of a sphere move with its resolution."""
        if self.kind == "fraction":
            return Order(1, "fractions of a sphere move with the resolution")
        return EXACT

    def side_inputs(self) -> tuple[SideInput, ...]:
        """Return the coordinates of points."""
        coordinates = (SideInput(self.domain.name, "coordinates", self.domain),)
        return coordinates if self.domain.scattered else ()

    def cost(self) -> Cost:
        """Count a copy; the arithmetic is negligible."""
        return copy_cost(self.infer().numbers())

    def lower(self) -> nn.Module:
        """See `opdsl.nn.grid.coords.coords`."""
        from opdsl.nn.grid import coords
        from opdsl.nn.points import inputs
        from opdsl.nn.sphere import sampling

        if self.domain.scattered:
            return inputs.PointCoordinates()
        if self.kind == "fraction":
            return coords.Coords((0.0, 0.0), (1.0, 1.0), (True, True))
        if self.domain.kind == "sphere":
            return sampling.UnitVectors(self.domain.sampling or "gauss_legendre")
        axes = self.domain.axes
        return coords.Coords(
            tuple(a.lo for a in axes),
            tuple(a.hi for a in axes),
            self.domain.periodic,
            self.domain.declared_samplings,
            circle=self.kind == "circle",
        )
