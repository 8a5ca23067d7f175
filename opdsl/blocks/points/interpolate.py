"""The block `interpolate`: the same function at other points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveFloat

from opdsl.blocks.points._geometry import coordinate_count, periods_of, place_of
from opdsl.ir import ends
from opdsl.ir.block import BYTES, Block, Cost, Refusal, SideInput
from opdsl.ir.dims import PositiveCount, decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import Order
from opdsl.ir.spaces import KINDS, Domain, Space

if TYPE_CHECKING:
    from torch import nn

    from opdsl.nn.grid.interpolate import InterpolationTable


class Interpolate(Block):
    """w(x) = sum of weight(x, y) v(y) over some points y near x; the weights sum to one.

    v : D -> R^n gives w : to -> R^n, where D and `to` are points, grids or spheres in one space;
    nothing is trained.

    | kind     | points y              | weights                  | error, spacing h | continuous |
    |----------|-----------------------|--------------------------|------------------|------------|
    | nearest  | the nearest           | 1                        | h                | no         |
    | distance | the `count` nearest   | 1 / distance^`power`     | h                | but where  |
    |          |                       |                          |                  | y change   |
    | linear   | the corners of a cell | multilinear              | h^2              | yes        |

    All kinds return the value of v where x is one of its points. The kind `linear` is for functions
    on grids, of any number of axes, and exact for functions that are linear along each. Distances
    respect the periodic axes of grids and the periods of points. For `linear`, `outside` decides
    about a point beyond the edge of a grid by more than a millionth of its length; the other kinds
    have no edge.

    ```op
    edition 2026

    model Onto {
      domain P = points(2, geometry = per_sample)
      domain L = grid(x: 0..1, y: 0..1, size = 16)
      input f : P -> R^3
      output w : P -> R^3

      w = f
        |> interpolate(to = L, kind = distance, count = 6)
        |> interpolate(to = P, kind = linear)
    }
    ```

    Attributes:
        to: the domain of the result.
        kind: nearest, distance or linear, see the table.
        count: number of points that contribute, for `distance`.
        power: exponent of the distance, for `distance`; the greater, the more weight has the
            nearest.
        outside: w at a point beyond the grid, for `linear`: an error, or v at the nearest edge
            point.

    Source: Shepard 1968, doi:10.1145/800186.810616 (`distance`).
    """

    sized = True
    ragged = "own"
    samples = (
        {"inputs": ("P -> R^3",), "to": "Q"},
        {"inputs": ("P -> R^2",), "to": "Q", "kind": "distance", "count": 3},
        {"inputs": ("S -> R^2",), "to": "S", "kind": "distance", "count": 4, "power": 1.0},
        {"inputs": (2,), "to": "D", "kind": "linear"},
        {"inputs": (3,), "to": "D/2", "kind": "linear", "outside": "nearest"},
    )

    to: Domain = Field(description="the domain of the result")
    kind: Literal["nearest", "distance", "linear"] = Field(
        default="nearest", description="which points count, and how much"
    )
    count: PositiveCount = Field(default=8, description="points that are weighed by distance")
    power: PositiveFloat = Field(default=2.0, description="of the distance")
    outside: Literal["error", "nearest"] = Field(
        default="error", description="what a point beyond the grid is"
    )

    def infer(self, x: Space) -> Space:
        """Return `to` with as many channels."""
        domain, name = x.domain, self.keyword()
        dims, to_dims = coordinate_count(domain, None, name), coordinate_count(self.to, "to", name)
        if dims != to_dims:
            raise Refusal(
                "OP0313",
                f"`{domain}` and `{self.to}` lie in spaces of {dims} and {to_dims} dimensions",
                f"{to_dims} coordinates",
                at="to",
                helps=(f"declare both with as many coordinates: `points({dims})`",),
            )
        if self.kind == "linear" and not domain.regular:
            raise Refusal(
                "OP0301",
                "`kind = linear` is defined on grids only",
                f"`{domain}` is {KINDS[domain.kind]}",
                at="kind",
                helps=("write `kind = distance`", "or carry it onto a grid first"),
            )
        if len({p for p in self._periods(x) if any(p)}) > 1:
            raise Refusal("OP0313", f"`{domain}` and `{self.to}` have other periods", at="to")
        return x.on(self.to)

    def _periods(self, x: Space) -> tuple[tuple[float | None, ...], ...]:
        periods = periods_of(x.domain), periods_of(self.to)
        return tuple(p for p in periods if p is not None)

    def side_inputs(self, x: Space) -> tuple[SideInput, ...]:
        """Return the coordinates of both domains where they are points."""
        return tuple(
            SideInput(y.name, "coordinates", y) for y in (x.domain, self.to) if y.scattered
        )

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Return that nothing is known."""
        return Behaviour(ends.free(self.to).axes, inputs[0].smoothness)

    def convergence_order(self, _inputs: tuple[Behaviour, ...], x: Space) -> Order | None:
        """Return the order of the interpolation between the points of a grid."""
        if not x.domain.regular:
            return None
        if self.kind == "linear":
            return Order(2, "linear interpolation")
        return Order(1, "neighbours instead of the function at a point")

    def cost(self, x: Space) -> Cost:
        """Count a product, a sum and a distance for each point that contributes, but no search."""
        out, dims = self.infer(x), coordinate_count(x.domain, None)
        contributors = {"nearest": 1, "distance": self.count, "linear": 2**dims}[self.kind]
        weighting = out.domain.volume() * (0 if self.kind == "nearest" else 3 * dims * contributors)
        return Cost(0, weighting + out.numbers() * (2 * contributors), out.numbers() * BYTES)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.grid.interpolate.InterpolatePoints`."""
        from opdsl.nn.grid import interpolate

        on_points = x.domain.scattered
        return interpolate.InterpolatePoints(self._table(x), place_of(self.to), given=on_points)

    def _table(self, x: Space) -> InterpolationTable:
        from opdsl.nn.grid import interpolate

        if self.kind == "linear":
            axes = x.domain.axes
            ends = tuple(a.lo for a in axes), tuple(a.hi for a in axes)
            placed = x.domain.periodic, x.domain.declared_samplings
            return interpolate.Multilinear(*ends, *placed, strict=self.outside == "error")
        period = next((p for p in self._periods(x) if any(p)), None)
        count = 1 if self.kind == "nearest" else self.count
        return interpolate.InverseDistance(place_of(x.domain), decided(count), self.power, period)
