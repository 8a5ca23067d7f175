"""Exact neighbour search without a matrix of all distances.

A k-d tree searches on a CPU, a cell list on other devices. Results are cached by geometry.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from opdsl.diagnostics import OpError, fault
from opdsl.nn.byte_lru_cache import ByteLRUCache
from opdsl.nn.points.geometry import Geometry
from opdsl.nn.points.neighbours.cell_list import CellList
from opdsl.nn.points.neighbours.kd_tree import KdTree
from opdsl.nn.points.neighbours.pairs import RADIUS_TOLERANCE, NeighbourSearch, Period, sort_pairs

MAX_PAIRS = 1 << 28  # of one search; their numbers alone take 4 GiB
SAMPLE = 256  # queries from which the number of pairs is estimated
USUAL_NEIGHBOURS = 32  # neighbours of a query at the radius that a diagnostic advises


@dataclass(frozen=True, slots=True)
class NeighbourRule:
    """Which points are neighbours of a query.

    Attributes:
        radius: greatest distance, in the unit of the coordinates, compared to six digits.
        count: number of neighbours, the nearest ones; of points equally far the ones with lower
            indices. With a radius too: so many of those within it.
        period: for each axis the length after which space repeats, None where it does not.
            Distances are those on the torus; coordinates may lie anywhere.
        nearest: whether a query without neighbours takes the nearest point.
        allow_isolated: whether a query may have no neighbours.
    """

    radius: float | None
    count: int | None = None
    period: Period | None = None
    nearest: bool = False
    allow_isolated: bool = False

    def __post_init__(self) -> None:
        assert self.radius is not None or self.count is not None
        if self.period is not None and not any(self.period):
            object.__setattr__(self, "period", None)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Point `points[i]` is a neighbour of query `queries[i]`; sorted by query, then by point.

    Attributes:
        points, queries: (pairs,), indices.
        counts: (m,), number of neighbours of each query.
        rows: (m + 1,), where the pairs of each query begin, and the number of pairs.
        images: (pairs,), in a periodic space, the row of `shifts` that moves the point next to the
            query: it is at `y[points] + shifts[images]`. None: nothing is moved.
        shifts: (s, d), in float64, the shifts that occur, whole periods.
    """

    points: Tensor
    queries: Tensor
    counts: Tensor
    rows: Tensor
    images: Tensor | None = None
    shifts: Tensor | None = None

    def __len__(self) -> int:
        return len(self.points)


PAIR_CACHE = ByteLRUCache[Pairs](lambda x: (x.points, x.queries, x.counts, x.rows, x.images))


# the number of pairs depends on the data, so a search cannot be traced
@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch does not type it
def neighbours(points: Geometry, queries: Geometry, rule: NeighbourRule) -> Pairs:
    """Search the neighbours of each query among the points, once for each pair of geometries.

    Raises:
        OpError: as `search`.
    """
    key = (points.key, queries.key, rule, points.points.device)
    return PAIR_CACHE.get(key, lambda: search(points.points, queries.points, rule))


def batch_pairs(found: Sequence[Pairs], points: Sequence[int], queries: Sequence[int]) -> Pairs:
    """Concatenate the pairs of all samples, with indices into the packed batch.

    Args:
        found: of each sample.
        points, queries: their numbers in each sample.
    """
    if len(found) == 1:
        return found[0]
    of_points, of_queries, of_pairs = (_offsets(x) for x in (points, queries, map(len, found)))
    offsets = list(zip(found, of_points, of_queries, of_pairs, strict=True))
    result = Pairs(
        torch.cat([x.points + at for x, at, _, _ in offsets]),
        torch.cat([x.queries + at for x, _, at, _ in offsets]),
        torch.cat([x.counts for x in found]),
        torch.cat([found[0].rows[:1], *(x.rows[1:] + at for x, _, _, at in offsets)]),
    )
    tables = [(x.images, x.shifts) for x in found if x.images is not None and x.shifts is not None]
    if len(tables) < len(found):
        return result
    starts = _offsets(len(x) for _, x in tables)
    images = torch.cat([x + at for (x, _), at in zip(tables, starts, strict=True)])
    shifts = torch.cat([x for _, x in tables])
    return Pairs(result.points, result.queries, result.counts, result.rows, images, shifts)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # as above
def search(points: Tensor, queries: Tensor, rule: NeighbourRule) -> Pairs:
    """Search the neighbours of queries (m, d) among points (n, d), without a cache.

    Raises:
        OpError: OP0907, there are no points; OP0908, a query has no neighbours, or there are fewer
            than `rule.count`; OP0909, there are too many; OP0612, a coordinate is not finite.
    """
    check_finite(points, queries)
    # inference tensors could never enter a gradient
    with torch.inference_mode(mode=False), torch.no_grad():
        # clones: results of an inference tensor are inference tensors, also in the cache
        points, queries = points.detach().clone(), queries.detach().clone()
        if len(queries) and not len(points):
            raise _no_points(len(queries))
        kind = KdTree if points.device.type == "cpu" else CellList
        result: NeighbourSearch = kind(points, rule.period)
        return _as_pairs(points, queries, rule, *_matches(result, len(points), queries, rule))


def check_finite(*coordinates: Tensor) -> None:
    """Check that coordinates are finite.

    Raises:
        OpError: OP0612, a coordinate is not finite.
    """
    wrong = [len(x) - int(torch.isfinite(x).all(-1).sum()) for x in coordinates]
    if any(wrong):
        counts = ", ".join(f"{k} of {len(x)}" for k, x in zip(wrong, coordinates, strict=True) if k)
        raise fault(
            "OP0612",
            f"coordinates hold NaN or infinite values, at {counts} points",
            helps=("clean them: `torch.isfinite(xyz).all(-1)` says which points are right",),
            file="points",
        )


# --- parts -------------------------------------------------------------------------------------


def _offsets(sizes: Iterable[int]) -> list[int]:
    return [0, *accumulate(sizes)][:-1]


def _matches(
    made: NeighbourSearch, n: int, queries: Tensor, rule: NeighbourRule
) -> tuple[Tensor, Tensor]:
    """Find indices of queries and of their neighbours, (pairs,) each, sorted by both."""
    if not len(queries):
        empty = torch.zeros(0, dtype=torch.int64, device=queries.device)
        return empty, empty
    if rule.count is not None:
        owners, numbers = _nearest_pairs(made, n, queries, rule)
    else:
        assert rule.radius is not None
        _check_pair_count(made, n, queries, rule.radius)
        owners, numbers = made.within(queries, rule.radius * RADIUS_TOLERANCE)
    isolated = (torch.bincount(owners, minlength=len(queries)) == 0).nonzero()[:, 0]
    if not len(isolated) or rule.allow_isolated:
        return owners, numbers
    closest, distances = made.nearest(queries[isolated], 1)
    if not rule.nearest:
        raise _no_neighbours(len(isolated), len(queries), rule, distances.max().item())
    return sort_pairs(torch.cat((owners, isolated)), torch.cat((numbers, closest[:, 0])), n)


def _nearest_pairs(
    made: NeighbourSearch, n: int, queries: Tensor, rule: NeighbourRule
) -> tuple[Tensor, Tensor]:
    """Find the pairs of the `rule.count` nearest points, without those beyond the radius."""
    assert rule.count is not None
    if rule.radius is None and n < rule.count:
        raise _too_few_points(rule.count, n)
    numbers, distances = made.nearest(queries, min(rule.count, n))
    owners = torch.arange(len(queries), device=queries.device)[:, None].expand_as(numbers)
    if rule.radius is None:
        return owners.flatten(), numbers.flatten()
    near = distances <= rule.radius * RADIUS_TOLERANCE
    return owners[near], numbers[near]


def _as_pairs(
    points: Tensor, queries: Tensor, rule: NeighbourRule, owners: Tensor, numbers: Tensor
) -> Pairs:
    counts = torch.bincount(owners, minlength=len(queries))
    rows = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
    return with_shifts(Pairs(numbers, owners, counts, rows), points, queries, rule.period)


def with_shifts(pairs: Pairs, points: Tensor, queries: Tensor, period: Period | None) -> Pairs:
    """Add to each pair the whole periods by which its point is moved next to its query."""
    if period is None or not any(period):
        return pairs
    owners, numbers = pairs.queries, pairs.points
    steps = [
        torch.zeros_like(numbers)
        if p is None
        else torch.round((q[owners].double() - y[numbers].double()) / p).long()
        for y, q, p in zip(points.unbind(1), queries.unbind(1), period, strict=True)
    ]
    distinct_steps, images = torch.unique(torch.stack(steps, 1), dim=0, return_inverse=True)
    lengths = torch.tensor([p or 0.0 for p in period], dtype=torch.float64)
    return replace(pairs, images=images, shifts=distinct_steps * lengths.to(distinct_steps.device))


def _check_pair_count(made: NeighbourSearch, n: int, queries: Tensor, radius: float) -> None:
    """Raise OP0909 for a radius within which there are too many pairs."""
    m = len(queries)
    if m * n <= MAX_PAIRS:
        return
    sample = queries[:: -(-m // SAMPLE)]
    pairs = round(made.count(sample, radius * RADIUS_TOLERANCE).double().mean().item() * m)
    if pairs > MAX_PAIRS:
        advised = made.nearest(sample, min(USUAL_NEIGHBOURS, n))[1].amax(1).median().item()
        raise _too_many_pairs(pairs, n, m, radius, advised)


def _too_many_pairs(pairs: int, n: int, m: int, radius: float, usual: float) -> OpError:
    return fault(
        "OP0909",
        f"within radius {radius:g} there are about {pairs:.2g} pairs of {n} points and {m} queries",
        notes=(
            f"their numbers alone would take {pairs * 16 / 2**30:.0f} GiB",
            f"at most {MAX_PAIRS:.2g} pairs are searched",
            f"each query has about {pairs // m} neighbours",
        ),
        helps=(
            f"take a smaller radius: {usual:.2g} gives about {USUAL_NEIGHBOURS} neighbours",
            "check the unit of the coordinates against that of the radius",
        ),
        file="points",
    )


def _too_few_points(count: int, n: int) -> OpError:
    return fault(
        "OP0908",
        f"{count} neighbours of each query are asked for, but there are {n} points",
        helps=(f"ask for at most {n}, or give a radius",),
        file="points",
    )


def _no_points(queries: int) -> OpError:
    return fault(
        "OP0907",
        f"there are no points that {queries} queries could have as neighbours",
        helps=("leave out samples without points",),
        file="points",
    )


def _no_neighbours(alone: int, count: int, rule: NeighbourRule, needed: float) -> OpError:
    return fault(
        "OP0908",
        f"{alone} of {count} query points have no neighbours within radius {rule.radius:g}",
        notes=("a kernel integral over no points would be zero in silence",),
        helps=(
            f"take a radius of at least {_round_up(needed)}",
            "or take the nearest point: `gno(..., empty = nearest)`",
        ),
        file="points",
    )


def _round_up(x: float) -> str:
    """Write a number with four digits, rounded up."""
    digit = 10.0 ** (math.floor(math.log10(x)) - 3)
    return f"{math.ceil(x / digit) * digit:.4g}"
