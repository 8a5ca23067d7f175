"""The block `spherical_conv`: a matrix for each degree of spherical harmonics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, NonNegativeInt

from opdsl.ir.block import BYTES, Block, Bound, Cost, Refusal
from opdsl.ir.dims import Poly, PositiveCount
from opdsl.ir.regrid import transform
from opdsl.ir.spaces import KINDS, Domain, Sampling, Space

if TYPE_CHECKING:
    from torch import nn


class SphericalConv(Block):
    """w = S^-1(R_l . S(v)) + b: every degree l <= lmax of v is multiplied by its own matrix R_l.

    S is the spherical harmonic transform. A matrix serves all orders of its degree, so the operator
    commutes with every rotation of the sphere; for the same reason it is real. How many degrees
    a grid holds exactly depends on its sampling: with n latitudes n - 1 for `gauss_legendre`,
    n - 2 for `lobatto` and (n + 1) // 2 - 1 for `equiangular`; all orders need 2 lmax + 1
    longitudes.

    ```op
    edition 2026

    model Weather {
      domain S = sphere(lat, lon, sampling = gauss_legendre, min = (32, 64))
      input v : S -> R^3
      output w : S -> R^8

      w = v |> spherical_conv(lmax = 20, out = 8)
    }
    ```

    Attributes:
        lmax: the greatest degree kept.
        out: channels of the result; as many as come in by default.
        to: the grid of the result, of the same declaration; that of v by default.
        bias: whether a trained constant b is added.

    Source: Driscoll and Healy 1994, doi:10.1006/aama.1994.1008, theorem 1; Bonev et al. 2023,
        arXiv:2306.03838, eq. (8).
    """

    kinds: ClassVar[frozenset[str]] = frozenset({"sphere"})
    sized: ClassVar[bool] = True
    samples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"inputs": ("S -> R^3",), "lmax": 4, "out": 2},
        {"inputs": ("S -> R^2",), "lmax": 2, "to": "S/2", "bias": False},
    )

    lmax: NonNegativeInt = Field(description="the greatest degree kept")
    out: PositiveCount | None = Field(default=None, description="channels of the result")
    to: Domain | None = Field(default=None, description="the grid of the result")
    bias: bool = Field(default=True, description="whether a trained constant is added")

    def infer(self, *x: Space) -> Space:
        """`out` channels on `to`."""
        to = self.to or x[0].domain
        if to.kind != "sphere" or to.name != x[0].domain.name:
            raise Refusal(
                "OP0313",
                f"`{to}` is not the sphere `{x[0].domain.name}` at some resolution",
                f"`{to}` is {KINDS[to.kind]}",
                at="to",
                helps=(f"name it: `to = {x[0].domain.name} / 2`",),
            )
        return Space(domain=to, channels=self.out or x[0].channels)

    def bounds(self, *x: Space) -> tuple[Bound, ...]:
        """Latitudes and longitudes for degree `lmax`, where v comes from and where w goes to."""
        there = (x[0].domain,) if self.to in (None, x[0].domain) else (x[0].domain, self.to)
        return tuple(y for domain in there if domain for y in self._bounds(domain))

    def _bounds(self, domain: Domain) -> tuple[Bound, ...]:
        sampling = domain.sampling or "gauss_legendre"
        rows, columns = least_latitudes(self.lmax, sampling), 2 * self.lmax + 1
        keeps = f"l <= {self.lmax}"
        exact = f"quadrature on {sampling} latitudes: degree {self.lmax} needs {rows}"
        orders = f"sampling theorem: 2 * {self.lmax} + 1 = {columns} samples"
        return (
            Bound(domain, 0, rows, keeps, exact, lambda n: _cure(degrees(n, sampling)), "degrees"),
            Bound(domain, 1, columns, keeps, orders, lambda n: _cure((n - 1) // 2), "degrees"),
        )

    def cost(self, *x: Space) -> Cost:
        """A real matrix for each degree; transforms there and back."""
        out = self.infer(*x)
        degree, c = self.lmax + 1, x[0].channels
        orders = degree * (degree + 1) // 2
        params = degree * c * out.channels + (out.channels if self.bias else 0)
        rows = [Poly.atom(y.domain.atom(0)) * (4 * orders * y.channels) for y in (x[0], out)]
        flops = transform(x[0]) + transform(out) + sum(rows, Poly()) + 4 * orders * c * out.channels
        return Cost(params, flops, out.numbers() * BYTES)

    def lower(self, *x: Space) -> nn.Module:
        """See `opdsl.nn.harmonics.SphericalConv`."""
        from opdsl.nn import harmonics

        sampling, out = x[0].domain.sampling or "gauss_legendre", self.infer(*x).channels
        return harmonics.SphericalConv(
            x[0].channels, out, self.lmax, sampling=sampling, bias=self.bias
        )


def least_latitudes(lmax: int, sampling: Sampling) -> int:
    """The latitudes at which the transform is exact to degree `lmax`."""
    return {"gauss_legendre": lmax + 1, "lobatto": lmax + 2, "equiangular": 2 * lmax + 1}[sampling]


def degrees(latitudes: int, sampling: Sampling) -> int:
    """The greatest degree for which so many latitudes are exact."""
    exact = {
        "gauss_legendre": latitudes - 1,
        "lobatto": latitudes - 2,
        "equiangular": (latitudes + 1) // 2 - 1,
    }
    return max(0, exact[sampling])


def _cure(lmax: int) -> str:
    return f"lmax = {lmax}"
