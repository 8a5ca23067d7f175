"""The block `integrate`: the integral of a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from opdsl.blocks.points._quadrature import measured, weighed
from opdsl.ir.block import BYTES, Block, Cost, Ragged, Refusal, SideInput
from opdsl.ir.spaces import KINDS, VECTOR, Domain, Extend, Space

if TYPE_CHECKING:
    from torch import nn


class Integrate(Block):
    """w = integral of v over its domain, a vector.

    On grids the trapezoidal rule, on periodic axes with equal weights; on a sphere the quadrature
    of its sampling, with area 4 pi. On points a sum with what each stands for, as their domain
    declares by `measure`. Where that is `uniform` no geometry is asked for: it is the mean, which
    is the integral only if the points are spread evenly in a domain of measure 1.

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

    ragged: ClassVar[Ragged] = "own"
    samples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"inputs": (3,)},
        {"inputs": ("P -> R^2",)},
        {"inputs": ("S -> R^2",)},
    )

    def infer(self, x: Space) -> Space:
        """As many channels, without a domain."""
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
        """Over the whole domain."""
        return (x.domain,)

    def side_inputs(self, x: Space) -> tuple[SideInput, ...]:
        """Where the points are, if they stand for more than one over their number."""
        return weighed(x.domain)

    def cost(self, x: Space) -> Cost:
        """A product and a sum for each number."""
        return Cost(0, x.numbers() * 2, self.infer(x).numbers() * BYTES)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.layers.integral.Integrate`."""
        from opdsl.nn.layers import integral

        domain = x.domain
        if domain.kind == "sphere":
            return integral.SphereIntegral(domain.sampling or "gauss_legendre")
        if domain.scattered:
            return integral.PointIntegral(measured(domain))
        lengths = tuple(a.hi - a.lo for a in domain.axes)
        return integral.GridIntegral(lengths, domain.periodic)
