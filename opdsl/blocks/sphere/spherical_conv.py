"""The block `spherical_conv`: a matrix for each degree of spherical harmonics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeInt, StrictFloat, StrictInt

from opdsl.ir import ends, orders
from opdsl.ir.block import BYTES, Block, Bound, Cost, GridSizes, Refusal, Work
from opdsl.ir.dims import Poly, PositiveCount, decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.modes import MIX, together, transform_work
from opdsl.ir.orders import Order
from opdsl.ir.ranks import Axes, count_numbers, own_channels, ranks_of
from opdsl.ir.regrid import transform
from opdsl.ir.sharding.rules import Rule
from opdsl.ir.spaces import KINDS, Domain, Sampling, Space

if TYPE_CHECKING:
    from torch import nn


MOST_DEGREES = 10**6  # larger numbers are no plausible degree


class SphericalConv(Block):
    """w = S^-1(R_l . S(v)) + b: every degree l <= lmax of v is multiplied by its own matrix R_l.

    v : S -> R^n gives w : to -> R^out on spheres. S is the spherical harmonic transform. One matrix
    serves all orders of its degree, so the operator commutes with every rotation of the sphere; for
    that reason it is real. The sampling decides which degrees a grid represents exactly: with n
    latitudes n - 1 for `gauss_legendre`, n - 2 for `lobatto` and (n + 1) // 2 - 1 for
    `equiangular` and `centres`; orders up to m need 2 m + 1 longitudes. The weights are one
    operator for every resolution.

    | `by` | matrices | commutes with |
    | --- | --- | --- |
    | `degree` | R_l | all rotations, if real |
    | `mode` | R_lm, for degree and order | rotations about the axis |
    | `all` | one R: truncation to lmax, and one matrix for all degrees | all rotations |

    `numbers = complex`, as in neuraloperator and makani, turns the phase of each order too, so that
    it commutes with rotations about the axis only. Complex weights may have factors like those of
    `spectral_conv`.

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
        lmax: the greatest degree with weights.
        out: number of channels of the result; by default that of v.
        to: the grid of the result, of the declaration of S; by default S.
        bias: whether a trained constant b is added.
        orders: the greatest order with weights; by default lmax.
        by: what has a matrix of its own: degree, mode or all, see the table.
        numbers: whether the matrices are real or complex.
        separable: whether R is diagonal, so that each channel depends on itself only.
        factor: form of complex weights: dense, cp, tucker or tt.
        rank: of a factorised weight: a fraction of the numbers of a dense one, or whole numbers.

    Source: Driscoll and Healy 1994, doi:10.1006/aama.1994.1008, theorem 1; Bonev et al. 2023,
        arXiv:2306.03838, eq. (8).
    """

    kinds = frozenset({"sphere"})
    sized = True
    kernels = ("fft", "dft")
    drawn_as = "integral"
    samples = (
        {"inputs": ("S -> R^3",), "lmax": 4, "out": 2},
        {"inputs": ("S -> R^2",), "lmax": 2, "to": "S/2", "bias": False},
        {"inputs": ("S -> R^3",), "lmax": 4, "out": 2, "orders": 2, "numbers": "complex"},
        {"inputs": ("S -> R^2",), "lmax": 3, "by": "mode", "orders": 2},
        {"inputs": ("S -> R^2",), "lmax": 3, "by": "all"},
        {"inputs": ("S -> R^3",), "lmax": 3, "separable": True},
        {
            "inputs": ("S -> R^3",),
            "lmax": 4,
            "numbers": "complex",
            "factor": "tucker",
            "rank": 0.5,
        },
        {"inputs": ("S -> R^3",), "lmax": 4, "numbers": "complex", "factor": "cp", "rank": 3},
        {"inputs": ("S -> R^3",), "lmax": 4, "numbers": "complex", "factor": "tt", "rank": 0.5},
    )

    lmax: NonNegativeInt = Field(le=MOST_DEGREES, description="the greatest degree with weights")
    out: PositiveCount | None = Field(default=None, description="channels of the result")
    to: Domain | None = Field(default=None, description="the grid of the result")
    bias: bool = Field(default=True, description="whether a trained constant is added")
    orders: NonNegativeInt | None = Field(
        default=None, description="the greatest order with weights"
    )
    by: Literal["degree", "mode", "all"] = Field(
        default="degree", description="what has a matrix of its own"
    )
    numbers: Literal["real", "complex"] = Field(
        default="real", description="whether the matrices are real or complex"
    )
    separable: bool = Field(default=False, description="whether each channel meets itself only")
    factor: Literal["dense", "cp", "tucker", "tt"] = Field(
        default="dense", description="form of complex weights"
    )
    rank: StrictInt | StrictFloat | tuple[StrictInt, ...] = Field(
        default=1.0, description="of the factors: a part of the dense weight, or whole numbers"
    )

    def infer(self, x: Space) -> Space:
        """Return `to` with `out` channels."""
        to = self.to or x.domain
        if to.kind != "sphere" or to.name != x.domain.name:
            raise Refusal(
                "OP0313",
                f"`{to}` is not the sphere `{x.domain.name}` at some resolution",
                f"`{to}` is {KINDS[to.kind]}",
                at="to",
                helps=(f"name it: `to = {x.domain.name} / 2`",),
            )
        self._check(x)
        return Space(domain=to, channels=self.out or x.channels)

    def _check(self, x: Space) -> None:
        if self.greatest_order > self.lmax:
            raise Refusal(
                "OP0208",
                f"degree {self.lmax} has no order {self.orders}",
                f"orders go to {self.lmax} at most",
                at="orders",
            )
        if self.separable:
            own_channels(x, self.out)
        if self.factor != "dense" and self.numbers == "real":
            raise Refusal(
                "OP0208",
                "real matrices have no factors here",
                "factors are complex",
                at="factor",
                helps=("write `numbers = complex`, or leave `factor` out",),
            )
        counts: tuple[object, ...] = (x.channels, self.out)
        if not any(isinstance(y, Poly) for y in counts):
            self._ranks(x)

    @property
    def greatest_order(self) -> int:
        """The greatest order that has weights."""
        return self.lmax if self.orders is None else self.orders

    def _axes(self, x: Space) -> Axes:
        """Return the axes of the weight."""
        out = self.out or x.channels
        matrix = {"channels": x.channels} if self.separable else {"in": x.channels, "out": out}
        counts = {
            "degree": {"degree": self.lmax + 1},
            "mode": {"degree": self.lmax + 1, "order": self.greatest_order + 1},
            "all": {},
        }[self.by]
        sizes = {key: decided(n) for key, n in matrix.items()} | counts
        return Axes(tuple(sizes), tuple(sizes.values()))

    def _ranks(self, x: Space) -> tuple[int, ...]:
        return ranks_of(self.factor, self._axes(x), self.rank)

    def bounds(self, x: Space) -> tuple[Bound, ...]:
        """Require latitudes and longitudes for degree `lmax` on the grids of v and of w."""
        domains = (x.domain,) if self.to in (None, x.domain) else (x.domain, self.to)
        return tuple(y for domain in domains if domain for y in self._bounds(domain))

    def _bounds(self, domain: Domain) -> tuple[Bound, ...]:
        sampling = domain.sampling or "gauss_legendre"
        m = self.greatest_order
        rows, columns = least_latitudes(self.lmax, sampling), 2 * m + 1
        keeps = f"l <= {self.lmax}"
        exact = f"quadrature on {sampling} latitudes: degree {self.lmax} needs {rows}"
        orders = f"sampling theorem: 2 * {m} + 1 = {columns} samples"
        return (
            Bound(domain, 0, rows, keeps, exact, lambda n: _cure(degrees(n, sampling)), "degrees"),
            Bound(domain, 1, columns, self._kept(), orders, self._order_cure, self._what),
        )

    @property
    def _what(self) -> str:
        return "degrees" if self.orders is None else "orders"

    def _kept(self) -> str:
        return f"l <= {self.lmax}" if self.orders is None else f"m <= {self.orders}"

    def _order_cure(self, longitudes: int) -> str:
        fits = (longitudes - 1) // 2
        return _cure(fits) if self.orders is None else f"orders = {fits}"

    def behaviour_at_ends(self, _inputs: tuple[Behaviour, ...], x: Space) -> Behaviour:
        """Return that harmonics are smooth."""
        return ends.free(self.infer(x).domain)

    def convergence_order(self, inputs: tuple[Behaviour, ...], x: Space) -> Order | None:
        """Return the order of integrals over the sphere."""
        return orders.integral(x.domain, inputs[0])

    def sharding(self, axis: int, _sizes: GridSizes, x: Space) -> Rule | None:
        """Return its degrees and orders where each process has some latitudes."""
        if axis != 0:
            return None
        return Rule(
            "spectral",
            counts=(self.lmax + 1, self.greatest_order + 1),
            matrix=2 * self._mixed(decided(x.channels), self.infer(x)),
            weights="own",
        )

    def cost(self, x: Space) -> Cost:
        """Count the numbers of R, and the transforms in both directions."""
        out, c = self.infer(x), x.channels
        orders = self._kept_orders()
        width = 1 if self.numbers == "real" else 2
        params = width * self._numbers(x) + (out.channels if self.bias else 0)
        rows = [Poly.atom(y.domain.atom(0)) * (4 * orders * y.channels) for y in (x, out)]
        flops = (
            transform(x)
            + transform(out)
            + sum(rows, Poly())
            + width * 4 * orders * self._mixed(decided(c), out)
        )
        return Cost(decided(params), flops, out.numbers() * BYTES)

    def _numbers(self, x: Space) -> int:
        """Count the real or complex numbers of the weight."""
        shape = self._axes(x).shape
        if self.factor == "dense":
            return math.prod(shape)
        return count_numbers(self.factor, shape, self._ranks(x))

    def _kept_orders(self) -> int:
        """Count the pairs of degree and order: a triangle, then all orders."""
        m = self.greatest_order
        return (m + 1) * (m + 2) // 2 + (self.lmax - m) * (m + 1)

    def _mixed(self, c: int, out: Space) -> int:
        return c if self.separable else c * decided(out.channels)

    def wasteful(self, x: Space) -> str | None:
        """Return why a dense weight would be smaller, or None."""
        dense, factorised = math.prod(self._axes(x).shape), self._numbers(x)
        if self.factor == "dense" or factorised < dense:
            return None
        return f"its factors have {2 * factorised:,} numbers, a dense weight has {2 * dense:,}"

    def work(self, kernel: str, sizes: GridSizes, x: Space) -> Work:
        """Count the transforms of longitudes and latitudes in both directions, and the products."""
        c, out = x.channels, self.infer(x).channels
        ways = zip((c, out), (sizes[0], sizes[-1]), strict=True)
        forward, inverse = (self._way(kernel, decided(channels), size) for channels, size in ways)
        pairs = self._whole_band() if kernel == "fft" else self._kept_orders()
        return together(
            forward, Work(gemm=MIX * pairs * self._mixed(decided(c), self.infer(x))), inverse
        )

    def _whole_band(self) -> int:
        """Count the pairs of degree and order in the rectangle that contains the triangle."""
        return (self.lmax + 1) * (self.greatest_order + 1)

    def _way(self, kernel: str, channels: int, size: tuple[int, ...]) -> Work:
        """Count one transform in one direction; `fft` splits (re, im) and copies both."""
        rows, band = size[0], (range(self.greatest_order + 1),)
        pairs = self._whole_band() if kernel == "fft" else self._kept_orders()
        copies = 3 if kernel == "fft" else 1
        bytes_moved = copies * 2 * BYTES * channels * rows * len(band[0])
        latitudes = Work(gemm=4.0 * channels * rows * pairs, moved=float(bytes_moved))
        along = transform_work(kernel, channels * rows, size[1:], band, real=True)
        return together(along, latitudes)

    def complex_weights(self, x: Space) -> int:
        """Count the matrices if `numbers = complex`; the bias is real."""
        return self._numbers(x) if self.numbers == "complex" else 0

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.sphere.harmonics.SphericalConv`."""
        from opdsl.nn.sphere import harmonics

        return harmonics.SphericalConv(
            decided(x.channels),
            decided(self.infer(x).channels),
            self.lmax,
            sampling=x.domain.sampling or "gauss_legendre",
            bias=self.bias,
            orders=self.greatest_order,
            by=self.by,
            real=self.numbers == "real",
            separable=self.separable,
            factor=self.factor,
            ranks=self._ranks(x),
        )


def least_latitudes(lmax: int, sampling: Sampling) -> int:
    """Return the least number of latitudes at which the transform is exact to degree `lmax`."""
    equal_angles = 2 * lmax + 1
    least = {"gauss_legendre": lmax + 1, "lobatto": lmax + 2}
    return least.get(sampling, equal_angles)


def degrees(latitudes: int, sampling: Sampling) -> int:
    """Return the greatest degree for which `latitudes` latitudes are exact."""
    exact = {
        "gauss_legendre": latitudes - 1,
        "lobatto": latitudes - 2,
        "equiangular": (latitudes + 1) // 2 - 1,
        "centres": (latitudes + 1) // 2 - 1,
    }
    return max(0, exact[sampling])


def _cure(lmax: int) -> str:
    return f"lmax = {lmax}"
