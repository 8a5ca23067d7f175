"""The block `pool`: one vector for all points of a domain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from opdsl.blocks.points._quadrature import geometry_of_weights, point_weights
from opdsl.ir import orders
from opdsl.ir.block import BYTES, Block, Cost, GridSizes, Refusal, SideInput
from opdsl.ir.dims import decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import Order
from opdsl.ir.sharding.rules import Rule
from opdsl.ir.spaces import KINDS, VECTOR, Domain, Space
from opdsl.ir.steps import Extend

if TYPE_CHECKING:
    from torch import nn


class Pool(Block):
    """w = max over the domain of v, or the mean of v over it, as a vector; each channel by itself.

    v : D -> R^n gives w : R^n, where D is a grid, points or a sphere. The maximum is that of the
    values at the points: as they become denser it grows to the maximum of a continuous function,
    and its error falls like the square of their distance. The mean is the integral divided by the
    volume, with the weights of `integrate`; all points weigh the same where their measure is
    `uniform`.

    ```op
    edition 2026

    model Class {
      domain P = points(3, geometry = per_sample)
      input f : P -> R^3
      output w : R^4

      w = concat(f, coords(P))
        |> mlp(widths = [32, 64])
        |> pool(kind = max)
        |> mlp(widths = [32, 4])
    }
    ```

    Attributes:
        kind: max or mean; given without a name.

    Source: Qi et al. 2017, arXiv:1612.00593, eq. (1) (PointNet).
    """

    ragged = "own"
    positional = ("kind",)
    samples = (
        {"inputs": ("P -> R^3",)},
        {"inputs": ("P -> R^2",), "kind": "mean"},
        {"inputs": (2,), "kind": "mean"},
        {"inputs": ("S -> R^2",), "kind": "mean"},
        {"inputs": ("S -> R^2",)},
    )

    kind: Literal["max", "mean"] = Field(
        default="max", description="the greatest value or the mean"
    )

    def infer(self, x: Space) -> Space:
        """Return the space of vectors with as many channels."""
        domain = x.domain
        if not (domain.regular or domain.scattered or domain.kind in {"sphere", "any"}):
            message = "`pool` is defined on grids, points and spheres only"
            raise Refusal("OP0301", message, f"this is {KINDS[domain.kind]}", at=0)
        if any(isinstance(y, Extend) for part in domain.parts for y in part.steps):
            raise Refusal(
                "OP0301",
                "`pool` is defined on a grid itself, not on an extension of one",
                f"`{domain}` extends `{domain.name}`",
                at=0,
                helps=(f"leave the extension first: `crop(to = {domain.name})`",),
            )
        return Space(domain=VECTOR, channels=x.channels)

    def side_inputs(self, x: Space) -> tuple[SideInput, ...]:
        """Return the geometry of points for a mean, unless all points weigh the same."""
        return geometry_of_weights(x.domain) if self.kind == "mean" else ()

    def integrates(self, x: Space) -> tuple[Domain, ...]:
        """Return the domain of v for a mean."""
        return (x.domain,) if self.kind == "mean" else ()

    def convergence_order(self, inputs: tuple[Behaviour, ...], x: Space) -> Order | None:
        """Return the order of the mean, and 2 for the greatest value on a grid."""
        if self.kind == "mean" or any(y.scattered for y in x.domain.parts):
            return orders.integral(x.domain, inputs[0])
        return Order(2, "a maximum between the points")

    def sharding(self, _axis: int, _sizes: GridSizes, x: Space) -> Rule:
        """Compare or sum the values of all parts, for each channel."""
        numbers = decided(x.channels) * x.width
        return Rule("reduce", numbers=numbers, maximum=self.kind == "max")

    def cost(self, x: Space) -> Cost:
        """Count a product and a sum for each number, or a comparison."""
        flops = 2 if self.kind == "mean" else 1
        return Cost(0, x.numbers() * flops, self.infer(x).numbers() * BYTES)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.layers.pool`."""
        from opdsl.nn.layers import pool

        return pool.GlobalMax() if self.kind == "max" else self._mean(x.domain)

    def _mean(self, domain: Domain) -> nn.Module:
        from opdsl.nn.layers import integral, pool

        if domain.kind == "sphere":
            return pool.SphereMean(domain.sampling or "gauss_legendre")
        if domain.scattered:
            return pool.PointMean(point_weights(domain))
        placed = domain.periodic, domain.declared_samplings
        return integral.GridIntegral((1.0,) * domain.dims, *placed)
