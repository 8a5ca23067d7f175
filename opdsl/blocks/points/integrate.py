"""The block `integrate`: the integral of a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opdsl.blocks.points._quadrature import geometry_of_weights, point_weights
from opdsl.ir import orders
from opdsl.ir.block import BYTES, Block, Cost, GridSizes, Refusal, SideInput
from opdsl.ir.dims import decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import Order
from opdsl.ir.sharding.rules import Rule, reduction
from opdsl.ir.spaces import KINDS, VECTOR, Domain, Space
from opdsl.ir.steps import Extend

if TYPE_CHECKING:
    from torch import nn


class Integrate(Block):
    """w = integral of v over its domain, as a vector.

    v : D -> R^n gives w : R^n, where D is a grid, points or a sphere. Grids use the trapezoidal
    rule, which has equal weights on periodic axes; a sphere uses the quadrature of its sampling,
    with area 4 pi. Points use the weights that their domain declares by `measure`. The measure
    `uniform` needs no geometry: w is the mean then, which is the integral only if the points are
    spread evenly in a domain of measure 1. It converges under refinement.

    ```op
    edition 2026

    model Mass {
      domain D = grid(x: 0..2, y: 0..1, min = 8)
      input rho : D -> R^1
      output m : R^1

      m = integrate(rho)
    }
    ```

    Source: Trefethen and Weideman 2014, doi:10.1137/130932132 (the trapezoidal rule).
    """

    ragged = "own"
    samples = (
        {"inputs": (3,)},
        {"inputs": ("P -> R^2",)},
        {"inputs": ("S -> R^2",)},
    )

    def infer(self, x: Space) -> Space:
        """Return the space of vectors with as many channels."""
        domain = x.domain
        if not (domain.regular or domain.scattered or domain.kind in {"sphere", "any"}):
            raise Refusal(
                "OP0301",
                "`integrate` is defined on grids, points and spheres only",
                f"this is {KINDS[domain.kind]}",
                at=0,
            )
        if any(isinstance(y, Extend) for part in domain.parts for y in part.steps):
            raise Refusal(
                "OP0301",
                "`integrate` is defined on a grid itself, not on an extension of one",
                f"`{domain}` extends `{domain.name}`",
                at=0,
                helps=(f"leave the extension first: `crop(to = {domain.name})`",),
            )
        return Space(domain=VECTOR, channels=x.channels)

    def integrates(self, x: Space) -> tuple[Domain, ...]:
        """Return the domain of v."""
        return (x.domain,)

    def side_inputs(self, x: Space) -> tuple[SideInput, ...]:
        """Return the geometry of points, unless all points weigh the same."""
        return geometry_of_weights(x.domain)

    def convergence_order(self, inputs: tuple[Behaviour, ...], x: Space) -> Order | None:
        """Return the order of the quadrature; that of points depends on where they are."""
        return orders.integral(x.domain, inputs[0])

    def sharding(self, _axis: int, _sizes: GridSizes, x: Space) -> Rule:
        """Sum over the grid, for each channel."""
        return reduction(decided(x.channels) * x.width)

    def cost(self, x: Space) -> Cost:
        """Count a product and a sum for each number."""
        return Cost(0, x.numbers() * 2, self.infer(x).numbers() * BYTES)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.layers.integral.Integrate`."""
        from opdsl.nn.layers import integral

        domain = x.domain
        if domain.kind == "sphere":
            return integral.SphereIntegral(domain.sampling or "gauss_legendre")
        if domain.scattered:
            return integral.PointIntegral(point_weights(domain))
        lengths = tuple(a.hi - a.lo for a in domain.axes)
        return integral.GridIntegral(lengths, domain.periodic, domain.declared_samplings)
