"""A kernel integral between the points of two domains.

What comes in: a function on points, a grid or a sphere, channels-last, and coordinates of points
that no grid gives. What goes out: a function on the other domain. Sums run over edges, pairs of a
query and a neighbour; no loop in Python runs over points.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn

from opdsl.nn.geometry import Placed, stacked
from opdsl.nn.grid import Ends, Size
from opdsl.nn.neighbours import Neighbours, Pairs, alike
from opdsl.nn.pointwise import Linear
from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.sphere import latitudes
from opdsl.nn.vector import Mlp

KEPT = 8  # grids whose coordinates and weights are remembered

Asked = tuple[Placed, ...]
Reduction = Literal["mean", "sum", "integral"]


class Gno(nn.Module):
    """w(x) = mean, sum or integral over neighbours y of k(x, y) v(y); k is a network.

    The first layer of k is split, W [x; y; v] = Wx x + Wy y + Wv v, and applied to points before
    they are paired. Coordinates stay in float32 or better where autocast makes v narrow: neighbours
    are close, and it is their difference that counts.

    Args:
        here: where the points of v are, as a module with `size` and `like`; None: they are given.
        there: the same for the result.
        widths: of the layers of k, the first that of x, y and maybe v(y).
        radius: how far neighbours are.
        act: the activation of k.
        sees: whether k sees v(y).
        reduction: over the neighbours.
        cells: of each point of v the volume that it stands for, as a module with `size` and `like`;
            None: an integral gives each neighbour its share of the ball.
        nearest: whether a query without neighbours takes the nearest point.

    Attributes:
        first: the first layer of k.
        rest: the layers behind it.
    """

    def __init__(  # noqa: PLR0913  the block's parameters, and two domains
        self,
        here: nn.Module | None,
        there: nn.Module | None,
        widths: Size,
        radius: float,
        *,
        act: str,
        sees: bool,
        reduction: Reduction = "mean",
        cells: nn.Module | None = None,
        nearest: bool = False,
    ) -> None:
        super().__init__()
        self.here, self.there, self.cells = here, there, cells
        self.sees, self.reduction = sees, reduction
        self.neighbours = Neighbours(radius, nearest=nearest)
        whole = Mlp(widths, act)
        first = whole[0]
        assert isinstance(first, Linear)
        self.first, self.rest = first, nn.Sequential(OrderedDict([*whole.named_children()][1:]))
        self.grids: dict[tuple[object, ...], Tensor] = {}

    def forward(self, x: Tensor, size: Size, asked: Asked = ()) -> Tensor:
        """(batch, *grid, c) -> (batch, *size, c).

        Args:
            x: the function.
            size: the grid of the result.
            asked: where points are, first those of x.

        Raises:
            OpError: OP0908, a query has no neighbours; OP0612, a coordinate is not finite.
        """
        grid, exact = tuple(x.shape[1:-1]), torch.empty(0, dtype=wide(x), device=x.device)
        given = [stacked(place, exact) for place in asked]
        points = given.pop(0) if self.here is None else self._on(self.here, grid, x)
        queries = given.pop(0) if self.there is None else self._on(self.there, size, x)
        points, queries = points.to(x.device), queries.to(x.device)
        cells = None if self.cells is None else self._on(self.cells, grid, x)[0]
        values = x.flatten(1, -2)
        found = self.neighbours(points, queries)
        if len(found) == 1:
            w = self._integral(points[0], queries[0], values, found[0], cells)
        else:
            samples = zip(*alike(points, queries, values), found, strict=True)
            w = torch.cat([self._integral(p, q, v[None], near, cells) for p, q, v, near in samples])
        return w.reshape(w.shape[0], *size, x.shape[-1])

    # what is remembered is no part of a graph
    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch does not type it
    def _on(self, place: nn.Module, size: Size, x: Tensor) -> Tensor:
        """What a grid tells of its points: (1, points, numbers)."""
        key = (place, size, wide(x), x.device)
        if key not in self.grids:
            if len(self.grids) >= KEPT:
                self.grids.clear()
            with torch.inference_mode(mode=False):  # else a later gradient could not use it
                like = torch.empty(0, dtype=wide(x), device=x.device)
                self.grids[key] = place(size=size, like=like).flatten(1, -2)
        return self.grids[key]

    def _integral(
        self, points: Tensor, queries: Tensor, values: Tensor, pairs: Pairs, cells: Tensor | None
    ) -> Tensor:
        """(n, d), (m, d), (batch, n, c) -> (batch, m, c)."""
        kernel: Tensor = self.rest(self._first(points, queries, values, pairs))
        weighed = values if cells is None else values * cells.to(values.dtype)
        terms = kernel * weighed[:, pairs.points]
        batch, _, c = terms.shape
        # many numbers are added up
        total = terms.new_zeros(batch, len(queries), c, dtype=wide(terms))
        total = total.index_add(1, pairs.queries, terms.to(total.dtype))
        return self._scaled(total, pairs, points.shape[-1]).to(terms.dtype)

    def _scaled(self, total: Tensor, pairs: Pairs, dims: int) -> Tensor:
        """The mean, the sum or the integral from the sum over neighbours."""
        if self.reduction == "sum" or self.cells is not None:
            return total
        mean = total / pairs.counts[:, None]
        return mean * ball(dims, self.neighbours.radius) if self.reduction == "integral" else mean

    def _first(self, points: Tensor, queries: Tensor, values: Tensor, pairs: Pairs) -> Tensor:
        """The first layer at every edge: (batch or 1, edges, width)."""
        d, dtype = points.shape[-1], wide(values)
        with no_autocast(values):
            weight = self.first.weight.to(dtype)
            at_queries = queries.to(dtype) @ weight[:, :d].T + self.first.bias.to(dtype)
            at_points = (points.to(dtype) @ weight[:, d : 2 * d].T)[None]
            if self.sees:
                at_points = at_points + values.to(dtype) @ weight[:, 2 * d :].T
            edges = at_queries[pairs.queries] + at_points[:, pairs.points]
        return edges.to(values.dtype)

    def extra_repr(self) -> str:
        """The radius and the reduction."""
        return f"radius={self.neighbours.radius}, {self.reduction}"


def ball(dims: int, radius: float) -> float:
    """pi^(d/2) r^d / Gamma(d/2 + 1), the volume of a ball."""
    return math.pow(math.sqrt(math.pi) * radius, dims) / math.gamma(dims / 2 + 1)


class GridCells(nn.Module):
    """The weights of the trapezoidal rule; on periodic axes all are equal."""

    def __init__(self, lo: Ends, hi: Ends, periodic: tuple[bool, ...]) -> None:
        super().__init__()
        self.lengths = tuple(b - a for a, b in zip(lo, hi, strict=True))
        self.periodic = periodic

    def forward(self, *, size: Size, like: Tensor) -> Tensor:
        """-> (1, *size, 1); they sum to the volume."""
        found = torch.ones((), dtype=torch.float64)
        for n, length, periodic in zip(size, self.lengths, self.periodic, strict=True):
            line = torch.ones(n, dtype=torch.float64)
            if not periodic and n > 1:
                line[0] = line[-1] = 0.5
            found = found[..., None] * (line * (length / line.sum()))
        return found[None, ..., None].to(dtype=like.dtype, device=like.device)


class SphereCells(nn.Module):
    """The quadrature of the sampling in latitude, equal weights in longitude."""

    def __init__(self, sampling: str) -> None:
        super().__init__()
        self.sampling = sampling

    def forward(self, *, size: Size, like: Tensor) -> Tensor:
        """-> (1, nlat, nlon, 1); they sum to 4 pi."""
        _, weights = latitudes(size[0], self.sampling)
        around = (weights * (2 * torch.pi / size[1]))[:, None].expand(-1, size[1])
        return around[None, ..., None].to(dtype=like.dtype, device=like.device)
