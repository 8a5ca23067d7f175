"""A kernel integral between the points of two domains: points, a grid or a sphere.

Samples with points of their own form one list of pairs, with indices into the batch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from opdsl.diagnostics import fault
from opdsl.nn.layers.embedding import Sinusoids
from opdsl.nn.layers.modulate import Mlp
from opdsl.nn.layers.pointwise import ACTIVATIONS, Linear
from opdsl.nn.points.geometry import Geometries, Geometry, point_counts
from opdsl.nn.points.integral.kernel_sum import Terms, kernel_sum
from opdsl.nn.points.integral.mollifier import MOLLIFIERS, Mollifier, mollifier_integral
from opdsl.nn.points.integral.sum_terms import DenseLayer
from opdsl.nn.points.measure import WeightRule, quadrature_weights
from opdsl.nn.points.neighbours.edges import edge_pairs
from opdsl.nn.points.neighbours.ghosts import Ghosts, ghosts
from opdsl.nn.points.neighbours.pairs import Period
from opdsl.nn.points.neighbours.search import NeighbourRule, Pairs, batch_pairs, neighbours
from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import AxisValues, RaggedSizes, Size
from opdsl.nn.sphere.sampling import latitudes
from opdsl.sampling import GridSampling, end_weights, samplings_of

CACHED_GRIDS = 8  # grids whose coordinates and weights are cached

_PointValues = tuple[Tensor, Tensor, Tensor | None]  # coordinates, values, volumes
KernelKind = Literal["linear", "nonlinear", "linear_kernelonly", "nonlinear_kernelonly"]
Reduction = Literal["mean", "sum", "integral"]


@dataclass(frozen=True, slots=True)
class Side:
    """Domain of the points or of the queries of a kernel integral.

    Attributes:
        place: makes the points of a grid from `size` and `like`; None: each call brings them.
        cells: makes their quadrature weights in the same way.
        measure: how weights are found where a geometry has none.
        period: of the space of points, for each coordinate.
    """

    place: nn.Module | None = None
    cells: nn.Module | None = None
    measure: WeightRule = "uniform"
    period: Period | None = None


class Gno(nn.Module):
    """w(x) = mean, sum or integral over neighbours y of k(x, y) v(y); k is a network.

    The first layer of k is split, W [x; y; v] = Wx x + Wy y + Wv v, and applied to points before
    they are paired. Coordinates stay in float32 or better where autocast makes v narrow: neighbours
    are close, and it is their difference that counts.

    Args:
        here: the domain of v.
        there: the domain of the result.
        widths: of the layers of k, the first of x, y and maybe v(y).
        rule: which points are neighbours; None: along the edges of the geometry.
        act: the activation of k.
        kind: whether k depends on v, and whether it multiplies v.
        full: whether k is a matrix, in one row.
        embedding: of coordinates.
        mollifier: weight of a neighbour by its distance.
        reduction: over the neighbours.
        period: of space, for neighbours along edges; `rule` has its own.

    Attributes:
        first: the first layer of k.
        rest: the layers behind it.

    Source: Li et al. 2020, arXiv:2003.03485, eq. (6).
    """

    def __init__(  # noqa: PLR0913  the block's parameters, and two domains
        self,
        here: Side,
        there: Side,
        widths: Size,
        rule: NeighbourRule | None,
        *,
        act: str,
        kind: KernelKind = "linear",
        full: bool = False,
        embedding: Sinusoids | None = None,
        mollifier: Mollifier = "none",
        reduction: Reduction = "mean",
        period: Period | None = None,
    ) -> None:
        super().__init__()
        self.period = period
        self.here, self.there, self.rule = here, there, rule
        self.kind, self.full, self.act = kind, full, act
        self.mollifier, self.reduction = mollifier, reduction
        self.embedding = embedding or Sinusoids("none", 0, 1.0)
        mlp = Mlp(widths, act)
        first = mlp[0]
        assert isinstance(first, Linear)
        self.first, self.rest = first, nn.Sequential(OrderedDict([*mlp.named_children()][1:]))
        self.grids: dict[tuple[object, ...], Geometry] = {}

    def forward(
        self, x: Tensor, size: Size, asked: Sequence[Geometries] = (), ragged: RaggedSizes = ()
    ) -> Tensor:
        """(batch, *grid, c) -> (batch, *size, out).

        Args:
            x: v; (1, points of all samples, c) where its domain is packed.
            size: the grid of the result.
            asked: coordinates of points, first those of x.
            ragged: of x and of the result the points of each sample, None where it is not packed.

        Raises:
            OpError: OP0908, a query has no neighbours; OP0612, a coordinate is not finite; OP0907,
                a geometry has no edges, where neighbours are along them; OP0910, quadrature weights
                are missing.
        """
        geometries = list(asked)
        grid = tuple(x.shape[1:-1])
        points = geometries.pop(0) if self.here.place is None else (self._on(self.here, grid, x),)
        queries = (
            geometries.pop(0) if self.there.place is None else (self._on(self.there, size, x),)
        )
        points, queries = _on_device(points, x), _on_device(queries, x)
        packed = ragged or (None, None)
        if max(len(points), len(queries)) == 1 and not any(packed):
            values = x.flatten(1, -2).transpose(0, 1)  # (points, batch, c)
            result = self._integral(points, queries, values, 1).transpose(0, 1)
            return result.expand(x.shape[0], -1, -1).reshape(x.shape[0], *size, result.shape[-1])
        samples = _sample_count(x, points, queries, packed)
        values = x if packed[0] else x.expand(samples, *x.shape[1:]).flatten(1, -2)
        result = self._integral(points, queries, values.flatten(0, 1)[:, None], samples)[:, 0]
        return result[None] if packed[1] else result.reshape(samples, *size, result.shape[-1])

    # a tracer must not see the cache
    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch does not type it
    def _on(self, side: Side, size: Size, x: Tensor) -> Geometry:
        """Return the points of a grid, cached by side, size, dtype and device."""
        key = (side, size, wide(x), x.device)
        if key not in self.grids:
            if len(self.grids) >= CACHED_GRIDS:
                self.grids.clear()
            with torch.inference_mode(mode=False):  # an inference tensor could not enter a gradient
                like = torch.empty(0, dtype=wide(x), device=x.device)
                self.grids[key] = _grid_geometry(side, size, like)
        return self.grids[key]

    def _integral(
        self, points: Geometries, queries: Geometries, values: Tensor, samples: int
    ) -> Tensor:
        """Integrate over the points of all samples: (points, batch, c) -> (queries, batch, out)."""
        pairs = self._pairs(points, queries, samples)
        y, x = _concat_points(points, values), _concat_points(queries, values)
        y, x = _repeat_for_samples(y, points, samples), _repeat_for_samples(x, queries, samples)
        weights = (
            _concat_weights(self.here, points, values) if self.reduction == "integral" else None
        )
        weighted = weights is not None
        counts = weights if weighted else _concat_shares(points, values)
        if counts is not None:
            counts = _repeat_for_samples(counts, points, samples)
        around = ghosts(pairs)
        if around is not None:
            pairs = around.pairs
            y, values, counts = _ghost_values(around, y, values, counts)
        mollified = self._mollified(x, y, pairs)
        if counts is not None and not weighted:
            mollified = _product(counts[pairs.points], mollified)
        total = self._sum(x, y, values, counts if weighted else None, mollified, pairs)
        return self._scaled(total, pairs, mollified, x.shape[1], weighed=weighted)

    def _pairs(self, points: Geometries, queries: Geometries, samples: int) -> Pairs:
        """Find the pairs of all samples, with indices into the batch."""
        points, queries = _one_per_sample(points, samples), _one_per_sample(queries, samples)
        if self.rule is None:
            result = [edge_pairs(x, period=self.period) for x in points]
        else:
            result = [neighbours(p, q, self.rule) for p, q in zip(points, queries, strict=True)]
        return batch_pairs(result, point_counts(points), point_counts(queries))

    def _mollified(self, x: Tensor, y: Tensor, pairs: Pairs) -> Tensor | None:
        """Evaluate the mollifier at each pair, with gradients to both coordinates; (pairs,)."""
        if self.mollifier == "none":
            return None
        assert self.rule is not None
        assert self.rule.radius is not None
        step = (x[pairs.queries] - y[pairs.points]) / self.rule.radius
        return MOLLIFIERS[self.mollifier](step.square().sum(-1).clamp(max=1))

    def _sum(
        self,
        x: Tensor,
        y: Tensor,
        values: Tensor,
        weights: Tensor | None,
        mollified: Tensor | None,
        pairs: Pairs,
    ) -> Tensor:
        kernel_only = self.kind.endswith("kernelonly")
        if weights is not None and kernel_only:
            mollified = _product(weights[pairs.points], mollified)
        weighted = values if weights is None else values * weights[:, None, None].to(values.dtype)
        at_points, at_queries = self._first(x, y, values)
        terms = Terms(at_points, at_queries, None if kernel_only else weighted, mollified)
        return kernel_sum(terms, pairs, self._layers(), ACTIVATIONS[self.act], full=self.full)

    def _layers(self) -> list[DenseLayer]:
        return [(x.weight, x.bias) for x in self.rest if isinstance(x, Linear)]

    def _first(self, x: Tensor, y: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the first layer at points, (points, batch or 1, h), and queries, (queries, h)."""
        dtype = wide(values)
        with no_autocast(values):
            x, y = self.embedding(x), self.embedding(y)
            d, weight = x.shape[1], self.first.weight.to(dtype)
            at_queries = x @ weight[:, :d].T + self.first.bias.to(dtype)
            at_points = (y @ weight[:, d : 2 * d].T)[:, None]
            if self.kind.startswith("nonlinear"):
                at_points = at_points + values.to(dtype) @ weight[:, 2 * d :].T
        return at_points, at_queries

    def _scaled(
        self, total: Tensor, pairs: Pairs, mollified: Tensor | None, dims: int, *, weighed: bool
    ) -> Tensor:
        """Turn the sum over neighbours into the mean or the integral."""
        if self.reduction == "sum" or weighed:
            return total
        counts = pairs.counts.to(wide(total)).clamp(min=1)
        if mollified is not None:
            counts = counts.new_zeros(len(counts)).index_add(0, pairs.queries, mollified)
            counts = counts.clamp(min=torch.finfo(counts.dtype).tiny)
        if self.reduction == "integral":
            assert self.rule is not None
            assert self.rule.radius is not None
            counts = counts / mollifier_integral(self.mollifier, dims, self.rule.radius)
        return (total / counts[:, None, None]).to(total.dtype)

    def extra_repr(self) -> str:
        """Describe the rule of neighbours, and the reduction."""
        return f"{self.rule or 'along edges'}, {self.reduction}"


# --- points of samples -------------------------------------------------------------------------


def _on_device(placed: Geometries, x: Tensor) -> Geometries:
    return tuple(g.to(x.device) for g in placed)


def _sample_count(x: Tensor, points: Geometries, queries: Geometries, packed: RaggedSizes) -> int:
    count = next((len(sizes) for sizes in packed if sizes is not None), 0)
    return count or max(x.shape[0], len(points), len(queries))


def _one_per_sample(placed: Geometries, samples: int) -> Geometries:
    return placed * samples if len(placed) == 1 else placed


def _concat_points(placed: Geometries, values: Tensor) -> Tensor:
    """Concatenate the coordinates of geometries."""
    return torch.cat([g.points.to(wide(values)) for g in placed])


def _repeat_for_samples(x: Tensor, placed: Geometries, samples: int) -> Tensor:
    """Repeat values of one geometry that all samples share."""
    return x if len(placed) == samples else x.repeat(samples, *(1 for _ in x.shape[1:]))


def _ghost_values(found: Ghosts, y: Tensor, values: Tensor, weights: Tensor | None) -> _PointValues:
    """Gather coordinates, values and weights of ghost points from those of their owners."""
    y = y[found.owners] + found.shifts.to(dtype=y.dtype, device=y.device)
    return y, values[found.owners], None if weights is None else weights[found.owners]


def _product(x: Tensor, y: Tensor | None) -> Tensor:
    return x if y is None else x * y


# --- quadrature weights ------------------------------------------------------------------------


def _concat_shares(placed: Geometries, values: Tensor) -> Tensor | None:
    """Concatenate the shares of geometries; None: all points count the same."""
    result = [x.shares for x in placed if x.shares is not None]
    return torch.cat([x.to(wide(values)) for x in result]) if result else None


def _concat_weights(side: Side, placed: Geometries, values: Tensor) -> Tensor | None:
    """Concatenate the quadrature weights of geometries; None: all points count the same."""
    result = [quadrature_weights(g, side.measure, side.period) for g in placed]
    weights = [x.to(wide(values)) for x in result if x is not None]
    if weights and len(weights) < len(result):
        missing = next(i for i, x in enumerate(result) if x is None)
        raise fault(
            "OP0910",
            f"sample {missing} of the batch has no weights, and others have",
            helps=("give weights or cells for all samples", "or declare a `measure`"),
            file="gno",
        )
    return torch.cat(weights) if weights else None


def _grid_geometry(side: Side, size: Size, like: Tensor) -> Geometry:
    """Make the geometry of a grid: its points and their quadrature weights."""
    assert side.place is not None
    points = side.place(size=size, like=like).flatten(0, -2)
    cells = None if side.cells is None else side.cells(size=size, like=like).flatten()
    return Geometry(points, cells)


class GridWeights(nn.Module):
    """Quadrature weights of a grid, see `opdsl.nn.layers.integral.GridIntegral`."""

    def __init__(
        self,
        lo: AxisValues,
        hi: AxisValues,
        periodic: tuple[bool, ...],
        samplings: tuple[GridSampling, ...] | None = None,
    ) -> None:
        super().__init__()
        self.lengths = tuple(b - a for a, b in zip(lo, hi, strict=True))
        self.periodic = periodic
        self.samplings = samplings_of(periodic, samplings)

    def forward(self, *, size: Size, like: Tensor) -> Tensor:
        """Return the weights of a grid, (1, *size, 1); they sum to the volume."""
        result = torch.ones((), dtype=torch.float64)
        axes = zip(size, self.lengths, self.periodic, self.samplings, strict=True)
        for n, length, periodic, sampling in axes:
            line = torch.ones(n, dtype=torch.float64)
            if n > 1:
                line[0], line[-1] = end_weights(sampling, periodic=periodic)
            result = result[..., None] * (line * (length / line.sum()))
        return result[None, ..., None].to(dtype=like.dtype, device=like.device)


class SphereWeights(nn.Module):
    """Quadrature weights of a sphere: those of its latitudes, equal in longitude."""

    def __init__(self, sampling: str) -> None:
        super().__init__()
        self.sampling = sampling

    def forward(self, *, size: Size, like: Tensor) -> Tensor:
        """Return the weights of a sphere, (1, nlat, nlon, 1); they sum to 4 pi."""
        _, weights = latitudes(size[0], self.sampling)
        around = (weights * (2 * torch.pi / size[1]))[:, None].expand(-1, size[1])
        return around[None, ..., None].to(dtype=like.dtype, device=like.device)
