"""The block `gno`: a kernel integral from one domain to another."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveFloat

from opdsl.blocks.points._geometry import coordinate_count, declares_period, periods_of, side_of
from opdsl.blocks.pointwise.apply import TRANSCENDENTAL, ActivationName
from opdsl.ir.block import BYTES, Block, Cost, Refusal, SideInput
from opdsl.ir.dims import Poly, PositiveCount, decided
from opdsl.ir.spaces import KINDS, Domain, Space

if TYPE_CHECKING:
    from torch import nn

    from opdsl.nn.points.neighbours.search import NeighbourRule

NEIGHBOURS = 16  # of each point, assumed in `cost`: the data decide how many there are


class Gno(Block):
    """w(x) = sum over neighbours y of k(x, y) v(y) weight(y), or their mean, with a network k.

    v : D -> R^n gives w : to -> R^out, where D and `to` are points, grids or spheres in one space:
    a kernel integral between any two of them. Neighbours of x are the points y within `radius`, the
    `nearest` so many, or with `along = edges` those at the other ends of the edges of a mesh.

    | kind                 | sum of             | numbers of k for each pair             |
    |----------------------|--------------------|----------------------------------------|
    | linear               | k(x, y) v(y)       | n, or with `matrix = full` out x n     |
    | nonlinear            | k(x, y, v(y)) v(y) | n, or with `matrix = full` out x n     |
    | linear_kernelonly    | k(x, y)            | out                                    |
    | nonlinear_kernelonly | k(x, y, v(y))      | out                                    |

    | reduction | over the neighbours y           | limit as points become denser                |
    |-----------|---------------------------------|----------------------------------------------|
    | mean      | sum / number of neighbours      | the mean over the ball, by the density of    |
    |           |                                 | the points                                   |
    | integral  | sum of weight(y) k v            | the integral over the ball                   |
    | sum       | sum                             | none, it grows with their number             |

    The weights of an integral are lengths, areas or volumes: the trapezoidal rule on grids,
    quadrature on spheres. On points they are the weights of the geometry of the call, else the
    sizes of its cells, else the `measure` of the domain. Without any, each neighbour has its share
    of the ball, which is right where points fill space evenly, and not on a surface. The boundary
    of the ball lies inside of the domain, so the error decreases more slowly than that of the
    quadrature: on a grid of step h like h^(3/2) in the plane, for n random points like 1 / sqrt(n).

    With a mollifier m each neighbour has the factor m(|x - y|^2 / r^2), which falls to zero at the
    radius: w is smooth in x, and autograd gives its derivatives with respect to the queries. Means
    are divided by the sum of m. Without a mollifier w jumps where a neighbour enters or leaves,
    which autograd does not see. An embedding presents coordinates to k as sines and cosines.

    Where points declare a `period`, distances are periodic, and k receives the copy of y next to x,
    along edges too; `wrap = false` switches that off. `wrap = true` uses the periodic axes of grids
    as well. The coordinates of points come with each call of the module under the name of the
    domain; the neighbours are computed once as long as they stay equal. k receives x unchanged, so
    coordinates should lie within one period.

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
        radius: greatest distance of neighbours, in the unit of the coordinates.
        nearest: number of neighbours of each point, instead of a radius.
        kernel: widths of the hidden layers of k.
        act: activation between the layers of k, see `apply`.
        kind: linear, nonlinear, linear_kernelonly or nonlinear_kernelonly, see the first table.
        matrix: whether k(x, y) is a `diagonal` or a `full` matrix.
        out: number of channels of the result; by default that of v, which diagonal kernels require.
        embedding: of coordinates for k: none, transformer or nerf.
        frequencies: number of frequencies of the embedding for each coordinate.
        max_positions: p in the frequencies p^(-2 k / `frequencies`), k from 0, of `transformer`.
        mollifier: none, half_cosine, bump, quartic, quadratic or octic.
        reduction: mean, integral or sum over the neighbours, see the second table.
        empty: w at a point without neighbours: an error, the value from the nearest y, or zero.
        wrap: whether distances are periodic; by default where points declare a period.
        along: `distance`, or `edges` of a mesh.

    Source: Li et al. 2020, arXiv:2003.03485, eq. (6); Li et al. 2023, arXiv:2309.00583 (GINO); Lin
        et al. 2025, arXiv:2504.08277 (mollifiers).
    """

    sized = True
    ragged = "own"
    drawn_as = "integral"
    samples = (
        {"inputs": ("P -> R^2",), "to": "Q", "radius": 2.0, "kernel": (4,), "act": "tanh"},
        {"inputs": ("P -> R^2",), "to": "Q", "radius": 0.7, "kernel": (3, 3), "kind": "nonlinear"},
        {"inputs": ("Q -> R^1",), "to": "P", "radius": 0.1, "kernel": (2,), "empty": "nearest"},
        {"inputs": ("S -> R^2",), "to": "S", "radius": 1.5, "reduction": "integral"},
        {"inputs": ("P -> R^2",), "to": "P", "nearest": 4, "matrix": "full", "out": 3},
        {
            "inputs": ("P -> R^2",),
            "to": "Q",
            "radius": 1.5,
            "kernel": (4, 3),
            "kind": "nonlinear_kernelonly",
            "out": 3,
            "embedding": "transformer",
            "frequencies": 2,
            "mollifier": "bump",
            "reduction": "integral",
        },
        {
            "inputs": ("P -> R^3",),
            "to": "Q",
            "radius": 0.3,
            "kernel": (4,),
            "kind": "linear_kernelonly",
            "out": 2,
            "embedding": "nerf",
            "frequencies": 3,
            "reduction": "sum",
            "empty": "zero",
        },
    )

    to: Domain = Field(description="the domain of the result")
    radius: PositiveFloat | None = Field(default=None, description="how far neighbours are")
    nearest: PositiveCount | None = Field(default=None, description="how many neighbours")
    kernel: tuple[PositiveCount, ...] = Field(
        default=(64, 64), min_length=1, description="widths of the hidden layers of the kernel"
    )
    act: ActivationName = Field(default="gelu", description="between the layers of the kernel")
    kind: Literal["linear", "nonlinear", "linear_kernelonly", "nonlinear_kernelonly"] = Field(
        default="linear", description="what the kernel sees, and whether it multiplies the function"
    )
    matrix: Literal["diagonal", "full"] = Field(default="diagonal", description="of the kernel")
    out: PositiveCount | None = Field(default=None, description="channels of the result")
    embedding: Literal["none", "transformer", "nerf"] = Field(
        default="none", description="of coordinates"
    )
    frequencies: PositiveCount = Field(default=32, description="of the embedding")
    max_positions: PositiveFloat = Field(default=10000.0, description="of the embedding")
    mollifier: Literal["none", "half_cosine", "bump", "quartic", "quadratic", "octic"] = Field(
        default="none", description="what neighbours count by their distance"
    )
    reduction: Literal["mean", "integral", "sum"] = Field(
        default="mean", description="over the neighbours"
    )
    empty: Literal["error", "nearest", "zero"] = Field(
        default="error", description="what a point without neighbours is"
    )
    wrap: bool | None = Field(default=None, description="whether distances go around periods")
    along: Literal["distance", "edges"] = Field(
        default="distance", description="what makes two points neighbours"
    )

    def infer(self, x: Space) -> Space:
        """Return `to` with `out` channels."""
        dims, to_dims = coordinate_count(x.domain, None), coordinate_count(self.to, "to")
        if dims != to_dims:
            raise Refusal(
                "OP0313",
                f"`{x.domain}` and `{self.to}` lie in spaces of {dims} and {to_dims} dimensions",
                f"{to_dims} coordinates",
                at="to",
                notes=("neighbours are defined by the distance of their coordinates",),
                helps=(f"declare both with as many coordinates: `points({dims})`",),
            )
        for refusal in (*self._of_neighbours(x), *self._of_the_kernel(x)):
            raise refusal
        return x.on(self.to).with_channels(self.out or x.channels)

    def _of_neighbours(self, x: Space) -> Iterator[Refusal]:
        """Yield contradictions between parameters that define neighbours."""
        if self.along == "edges":
            yield from self._of_edges(x)
        elif self.radius is None and self.nearest is None:
            helps = ("give `radius`, a length, or `nearest`, how many",)
            yield Refusal("OP0205", "`gno` needs to know what neighbours are", helps=helps)
        elif self.radius is not None and self.nearest is not None:
            message = "neighbours are those within `radius` or the `nearest`, not both"
            yield Refusal("OP0208", message, at="nearest", helps=("leave one of them out",))
        if self.empty != "error" and (self.nearest or self.along == "edges"):
            message = f"`empty = {self.empty}` is about a radius, and there is none"
            yield Refusal("OP0208", message, at="empty", helps=("leave it out",))
        if self._wraps(x):
            yield from self._of_wrapping(x)

    def _of_edges(self, x: Space) -> Iterator[Refusal]:
        if self.radius is not None or self.nearest is not None:
            at = "radius" if self.radius is not None else "nearest"
            helps = (f"leave out `{at}`, or write `along = distance`",)
            yield Refusal("OP0208", f"edges are the neighbours, and `{at}` too", at=at, helps=helps)
        if self.to != x.domain:
            message = f"edges of `{x.domain}` do not lead to `{self.to}`"
            yield Refusal("OP0313", message, at="to", helps=(f"write `to = {x.domain}`",))
        if not x.domain.scattered:
            helps = ("write `along = distance` with a radius",)
            message = f"`{x.domain}` has no edges"
            yield Refusal("OP0301", message, f"{KINDS[x.domain.kind]}", at="along", helps=helps)

    def _wraps(self, x: Space) -> bool:
        """Return whether distances are periodic; by default where points declare a period."""
        return declares_period(x.domain, self.to) if self.wrap is None else self.wrap

    def _periods(self, x: Space) -> list[tuple[float | None, ...]]:
        """Return the periods of the coordinates, for each of the two domains that has any."""
        periods = periods_of(x.domain), periods_of(self.to)
        return [p for p in periods if p is not None and any(p)]

    def _of_wrapping(self, x: Space) -> Iterator[Refusal]:
        periods = self._periods(x)
        if not periods:
            yield Refusal(
                "OP0208",
                "`wrap` needs to know the period of space",
                f"neither `{x.domain}` nor `{self.to}` tells it",
                at="wrap",
                helps=("declare points with `period = ...`, or a grid with periodic axes",),
            )
        elif len(set(periods)) > 1:
            yield Refusal("OP0313", f"`{x.domain}` and `{self.to}` have other periods", at="to")
        elif self.radius is not None and 2 * self.radius > min(p for p in periods[0] if p):
            least = min(p for p in periods[0] if p)
            yield Refusal(
                "OP0208",
                f"within a radius of {self.radius:g} a point is met twice, the period is {least:g}",
                f"at most {least / 2:g}",
                at="radius",
                helps=(
                    "for what is everywhere: `spectral_conv` or `integrate`",
                    "`wrap = false` does not go around",
                ),
            )

    def _of_the_kernel(self, x: Space) -> Iterator[Refusal]:
        """Yield contradictions between parameters of the kernel and its mollifier."""
        alone = self.kind.endswith("kernelonly")
        if alone and self.matrix == "full":
            helps = ("leave out `matrix`", f"or write `kind = {self.kind.split('_')[0]}`")
            message = "a kernel that multiplies nothing is no matrix"
            yield Refusal("OP0208", message, at="matrix", helps=helps)
        if not alone and self.matrix == "diagonal" and self.out not in (None, x.channels):
            yield Refusal(
                "OP0303",
                f"a diagonal kernel keeps the {x.channels} channels, it has no {self.out}",
                at="out",
                helps=("write `matrix = full`", f"or `{self.kind}_kernelonly`", "or leave it out"),
            )
        if self.mollifier != "none" and (self.radius is None or self.empty == "nearest"):
            yield Refusal(
                "OP0208",
                "a mollifier falls to zero at the radius"
                + (", and neighbours are found without one" if self.radius is None else ""),
                "the nearest point beyond it would count nothing" if self.radius else "",
                at="mollifier",
                helps=(
                    "give a `radius`" if self.radius is None else "write `empty = error` or `zero`",
                    "or leave out `mollifier`",
                ),
            )

    def side_inputs(self, x: Space) -> tuple[SideInput, ...]:
        """Return the coordinates of both domains where they are points."""
        return tuple(
            SideInput(y.name, "coordinates", y) for y in (x.domain, self.to) if y.scattered
        )

    def integrates(self, x: Space) -> tuple[Domain, ...]:
        """Return the domain of v for `reduction = integral`."""
        return (x.domain,) if self.reduction == "integral" else ()

    def diverges(self, _x: Space) -> str | None:
        """Return the reason for sums, for the nearest points and for edges."""
        if self.along == "edges":
            return "looks along edges, which get shorter as a mesh is refined"
        if self.nearest is not None:
            return "looks at the nearest points, which come closer as they get denser"
        return "adds up more neighbours as points get denser" if self.reduction == "sum" else None

    def _widths(self, x: Space) -> tuple[int, ...]:
        out = self.out or x.channels
        last = out * x.channels if self.matrix == "full" else out
        return (2 * self._coordinates(x) + self._seen(x), *map(decided, self.kernel), decided(last))

    def _coordinates(self, x: Space) -> int:
        """Count the numbers that represent a point in the input of the kernel."""
        d = coordinate_count(x.domain, None)
        return d if self.embedding == "none" else 2 * decided(self.frequencies) * d

    def _seen(self, x: Space) -> int:
        return decided(x.channels) if self.kind.startswith("nonlinear") else 0

    def cost(self, x: Space) -> Cost:
        """Count the kernel at 16 neighbours of each x, its first layer at the points themselves.

        The data decide how many neighbours there are; 16 is an assumption.
        """
        out = self.infer(x)
        params = sum(a * b + b for a, b in pairwise(self._widths(x)))
        flops = self._at_points(x, out) + self._at_pairs(x, out)
        return Cost(params, flops, out.numbers() * BYTES)

    def _at_points(self, x: Space, out: Space) -> Poly:
        """Count the embedding, the first layer, and the last one where it runs after the sum."""
        numbers, first, last = self._coordinates(x), self.kernel[0], self.kernel[-1]
        wave = 0 if self.embedding == "none" else TRANSCENDENTAL * numbers
        behind = 0 if self._at_each_pair else 2 * last * self._widths(x)[-1]
        at_points = x.domain.volume() * (2 * first * (numbers + self._seen(x)) + wave)
        return at_points + out.domain.volume() * (2 * first * numbers + wave + behind)

    @property
    def _at_each_pair(self) -> bool:
        """Return whether the last layer runs for each pair, as it does not commute with the sum."""
        return self.matrix == "diagonal" and not self.kind.endswith("kernelonly")

    def _at_pairs(self, x: Space, out: Space) -> Poly:
        widths, c = self._widths(x), x.channels
        flops = sum(2 * a * b for a, b in pairwise(self.kernel))
        flops += TRANSCENDENTAL * sum(self.kernel) + self.kernel[0]
        if self._at_each_pair:
            flops += 2 * self.kernel[-1] * widths[-1] + 2 * c
        else:
            flops += self.kernel[-1] * (2 * c if self.matrix == "full" else 1)
        return out.domain.volume() * (flops * (self.nearest or NEIGHBOURS))

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.points.integral.gno.Gno`."""
        from opdsl.nn.layers.embedding import Sinusoids
        from opdsl.nn.points.integral import gno

        return gno.Gno(
            side_of(x.domain),
            side_of(self.to),
            self._widths(x),
            self._rule(x),
            act=self.act,
            kind=self.kind,
            full=self.matrix == "full",
            embedding=Sinusoids(self.embedding, decided(self.frequencies), self.max_positions),
            mollifier=self.mollifier,
            reduction=self.reduction,
            period=self._period(x),
        )

    def _rule(self, x: Space) -> NeighbourRule | None:
        """Return the rule for neighbours; None if edges define them."""
        from opdsl.nn.points.neighbours.search import NeighbourRule

        if self.along == "edges":
            return None
        return NeighbourRule(
            self.radius,
            None if self.nearest is None else decided(self.nearest),
            self._period(x),
            nearest=self.empty == "nearest",
            allow_isolated=self.empty == "zero",
        )

    def _period(self, x: Space) -> tuple[float | None, ...] | None:
        return next(iter(self._periods(x)), None) if self._wraps(x) else None
