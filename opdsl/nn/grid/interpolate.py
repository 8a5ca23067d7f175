"""Values of a function at points that are not its own: weighted sums of values nearby."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, product
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from opdsl.diagnostics import fault
from opdsl.nn.points.geometry import Geometries, Geometry
from opdsl.nn.points.neighbours.pairs import Period, minimum_image
from opdsl.nn.points.neighbours.search import NeighbourRule, neighbours
from opdsl.nn.precision import wide
from opdsl.nn.shapes import AxisValues, RaggedSizes, Size
from opdsl.sampling import GridSampling, offset, samplings_of, spacings

SLACK = 1e-6  # of the length of an axis: queries so near beyond its end count as rounding

_Item = TypeVar("_Item")
IndexedWeights = tuple[Tensor, Tensor]  # numbers of points and their weights: (queries, k) both


class InterpolationTable(Protocol):
    """Function that chooses for each query the points that count, and their weights."""

    def __call__(
        self, points: Geometry | None, queries: Geometry, size: Size, like: Tensor
    ) -> IndexedWeights:
        """Return indices and weights of points, (queries, k) each.

        Args:
            points: the points of the function; None: those of a grid of `size`.
            queries: where it is wanted.
            size: points of that grid on each axis.
            like: a tensor with the dtype and device of the weights.
        """


class InterpolatePoints(nn.Module):
    """w(x) = sum over points y of weight(x, y) v(y).

    Args:
        table: chooses the points y for each x, and their weights.
        there: makes the queries from `size` and `like`; None: each call brings them.
        given: whether each call brings the points of v too.
    """

    def __init__(self, table: InterpolationTable, there: nn.Module | None, *, given: bool) -> None:
        super().__init__()
        self.table, self.there, self.given = table, there, given

    def forward(
        self, x: Tensor, size: Size, asked: Sequence[Geometries] = (), ragged: RaggedSizes = ()
    ) -> Tensor:
        """(batch, *grid, c) -> (batch, *size, c).

        Args:
            x: v; (1, points of all samples, c) where its domain is packed.
            size: the grid of the result.
            asked: coordinates of points, first those of v.
            ragged: of v and of the result the points of each sample, None where not packed.

        Raises:
            OpError: OP0908, a query is outside of the grid, or there are too few points; OP0612, a
                coordinate is not finite.
        """
        like = torch.empty(0, dtype=wide(x), device=x.device)
        places = [tuple(g.to(x.device) for g in geometries) for geometries in asked]
        points: Sequence[Geometry | None] = places.pop(0) if self.given else (None,)
        queries = places.pop(0) if self.there is None else (_grid_geometry(self.there, size, like),)
        grid = tuple(x.shape[1:-1])
        packed = ragged or (None, None)
        if max(len(points), len(queries)) == 1 and not any(packed):
            index, weights = self.table(points[0], queries[0], grid, like)
            return _weighted_sum(x.flatten(1, -2), index, weights).reshape(
                len(x), *size, x.shape[-1]
            )
        count = next((len(sizes) for sizes in packed if sizes is not None), 0)
        samples = count or max(len(x), len(points), len(queries))
        pairs = zip(_per_sample(points, samples), _per_sample(queries, samples), strict=True)
        tables = [self.table(p, q, grid, like) for p, q in pairs]
        own = packed[0] or (math.prod(grid),) * samples
        index = torch.cat([t[0] + at for t, at in zip(tables, (0, *accumulate(own)), strict=False)])
        values = x if packed[0] else x.expand(samples, *x.shape[1:]).flatten(1, -2)
        packed_values = values.flatten(0, 1)[None]
        result = _weighted_sum(packed_values, index, torch.cat([t[1] for t in tables]))
        return result if packed[1] else result.reshape(samples, *size, x.shape[-1])


class InverseDistance:
    """The `count` nearest points, weighted by 1 / distance^power.

    Args:
        place: makes the points of a grid; None: each call brings points.
        count: number of neighbours.
        power: of the distance.
        period: the length after which space repeats, for each coordinate.
    """

    def __init__(
        self, place: nn.Module | None, count: int, power: float, period: Period | None
    ) -> None:
        self.place, self.power = place, power
        self.rule = NeighbourRule(None, count, period)

    def __call__(
        self, points: Geometry | None, queries: Geometry, size: Size, like: Tensor
    ) -> IndexedWeights:
        """See `InterpolationTable`."""
        if points is None:
            assert self.place is not None
            points = _grid_geometry(self.place, size, like)
        result = neighbours(points, queries, self.rule)
        index = result.points.reshape(len(queries), self.rule.count or 1)
        if self.rule.count == 1:
            return index, torch.ones(index.shape, dtype=like.dtype, device=like.device)
        y, x = points.points.to(like.dtype), queries.points.to(like.dtype)
        distances = torch.linalg.vector_norm(
            minimum_image(x[:, None] - y[index], self.rule.period), dim=-1
        )
        # a query that is a point has its value; two points at one place share it
        distances = distances.clamp(min=torch.finfo(distances.dtype).tiny)
        parts = (distances.amin(1, keepdim=True) / distances) ** self.power
        return index, parts / parts.sum(1, keepdim=True)


class Multilinear:
    """The corners of the cell of a regular grid around each query, with multilinear weights.

    Args:
        lo: the lower end of each axis.
        hi: the upper end.
        periodic: whether the axis closes on itself.
        samplings: where the points of each axis are; None: as `opdsl.nn.grid.coords.coords` has
            them. Between an end without a point and the first point, the line through the two next
            points continues.
        strict: whether a query beyond an end is refused; else it gets the value at the end.
    """

    def __init__(
        self,
        lo: AxisValues,
        hi: AxisValues,
        periodic: tuple[bool, ...],
        samplings: tuple[GridSampling, ...] | None = None,
        *,
        strict: bool,
    ) -> None:
        self.axes = tuple(zip(lo, hi, periodic, strict=True))
        self.samplings = samplings_of(periodic, samplings)
        self.strict = strict

    def __call__(
        self,
        points: Geometry | None,  # noqa: ARG002  those of the grid
        queries: Geometry,
        size: Size,
        like: Tensor,
    ) -> IndexedWeights:
        """See `InterpolationTable`."""
        x = queries.points.to(like.dtype)
        if self.strict and not torch.compiler.is_compiling():  # a tracer has no values to check
            self._check(x)
        sides = [self._sides(x[:, i], i, n) for i, n in enumerate(size)]
        index, weights = [], []
        for corner in product((0, 1), repeat=len(size)):
            number, weight = torch.zeros_like(x[:, 0]).long(), torch.ones_like(x[:, 0])
            for n, side, (numbers, parts) in zip(size, corner, sides, strict=True):
                number, weight = number * n + numbers[side], weight * parts[side]
            index.append(number)
            weights.append(weight)
        return torch.stack(index, 1), torch.stack(weights, 1)

    def _sides(self, x: Tensor, axis: int, n: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return indices of the points of the axis below and above x, and their weights."""
        lo, hi, periodic = self.axes[axis]
        sampling = self.samplings[axis]
        first = offset(sampling)
        # a single point with both ends has no spacings
        count = n - 1 if sampling == "both" else spacings(sampling, n)
        t = (x - lo) * (count / (hi - lo))
        t = t - first if first else t
        if not periodic:
            t = t.clamp(-first, count - first)
        below = t.detach().floor()
        below = below if periodic else below.clamp(0, max(n - 2, 0))
        part, number = t - below, below.long()
        return (number % n, (number + 1) % n), (1 - part, part)

    def _check(self, x: Tensor) -> None:
        """Raise OP0908 for queries beyond the ends of the grid."""
        beyond = torch.zeros_like(x)
        for i, (lo, hi, periodic) in enumerate(self.axes):
            if not periodic:
                beyond[:, i] = torch.maximum(lo - x[:, i], x[:, i] - hi).detach() - SLACK * (
                    hi - lo
                )
        # written so that NaN is outside too
        count = int((~(beyond <= 0)).any(1).sum())
        if count:
            raise fault(
                "OP0908",
                f"{count} of {len(x)} points lie outside of the grid, by up to {beyond.max():.2g}",
                notes=("there is no cell around them",),
                helps=(
                    "declare the grid so that it holds all points",
                    "or take the value at its edge: `interpolate(..., outside = nearest)`",
                ),
                file="points",
            )


# --- parts -------------------------------------------------------------------------------------


def _weighted_sum(values: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Sum weighted values at the indices: (batch, n, c) -> (batch, queries, c)."""
    parts = values[:, index].to(weights.dtype) * weights[..., None]
    return parts.sum(2).to(values.dtype)


def _grid_geometry(place: nn.Module, size: Size, like: Tensor) -> Geometry:
    return Geometry(place(size=size, like=like).flatten(0, -2))


def _per_sample(placed: Sequence[_Item], samples: int) -> Sequence[_Item]:
    return [placed[0]] * samples if len(placed) == 1 else placed
