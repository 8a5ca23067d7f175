"""Fixed-radius and k-nearest neighbours by a cell list, in plain torch, for accelerators.

Points are sorted by cell; a query looks at the cells around its own. Only occupied cells take
memory, and candidates are examined in blocks, so memory is that of the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from opdsl.nn.points.neighbours.pairs import (
    RADIUS_TOLERANCE,
    Candidates,
    Period,
    concat_candidates,
    k_closest,
    sort_pairs,
    to_widest_float,
    wrap_into_period,
)

MAX_CANDIDATES = 1 << 21  # candidates in one block, unless a single query has more
MAX_CELLS = 1 << 20  # on an axis, so that the number of a cell in space fits in 60 bits
MAX_AXES = 3  # axes that are divided into cells: the longest ones; distances use all axes
MAX_CROWD = 32  # points in the fullest cell at the first radius of a search of nearest points
MAX_HALVINGS = 40
CELL_SLACK = 1 + 1e-5  # a cell than the radius, so that rounding moves no neighbour two cells away


class CellList:
    """Cell list of points for searches of any radius, on a torus where there is a period.

    Args:
        points: (n, d), finite.
        period: the length after which space repeats, for each axis.
    """

    def __init__(self, points: Tensor, period: Period | None = None) -> None:
        self.period = period
        self.points = wrap_into_period(to_widest_float(points), period)

    def count(self, queries: Tensor, radius: float) -> Tensor:
        """Count the points within the radius of each query, (m,)."""
        result = self._near(self._place(queries), radius)
        return torch.bincount(result.queries, minlength=len(queries))

    def within(self, queries: Tensor, radius: float) -> tuple[Tensor, Tensor]:
        """Find indices of queries and of the points within their radius, sorted by both."""
        result = self._near(self._place(queries), radius)
        return sort_pairs(result.queries, result.points, len(self.points))

    def nearest(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Find indices and distances of the nearest points, (m, count) each.

        Balls around the queries grow until they hold enough points.
        """
        places = self._place(queries)
        pending = torch.arange(len(queries), device=queries.device)
        radius, results = self._dense(count), [self._none()]
        while len(pending):
            result = self._near(places[pending], radius * RADIUS_TOLERANCE)
            inside = result.queries[result.distances <= radius]
            complete = torch.bincount(inside, minlength=len(pending)) >= count
            selected = complete[result.queries]
            owners = pending[result.queries[selected]]
            results.append(Candidates(owners, result.points[selected], result.distances[selected]))
            pending, radius = pending[~complete], radius * 2
        return k_closest(concat_candidates(results), count, len(self.points))

    def _place(self, queries: Tensor) -> Tensor:
        return wrap_into_period(to_widest_float(queries), self.period)

    def _none(self) -> Candidates:
        number = torch.zeros(0, dtype=torch.int64, device=self.points.device)
        return Candidates(number, number, self.points.new_zeros(0))

    def _near(self, places: Tensor, radius: float) -> Candidates:
        """Find all pairs within the radius, unsorted, with distances."""
        if not len(places) or not len(self.points):
            return self._none()
        grid = _CellGrid(self.points, radius, self.period)
        parts = [self._none()]
        for owners, numbers in grid.candidates(places):
            differences = places[owners] - self.points[numbers]
            distances = self._on_torus(differences).square().sum(-1).sqrt()
            near = distances <= radius
            parts.append(Candidates(owners[near], numbers[near], distances[near]))
        return concat_candidates(parts)

    def _on_torus(self, apart: Tensor) -> Tensor:
        if self.period is None:
            return apart
        columns = [
            x if p is None else torch.minimum(x.abs(), p - x.abs())
            for x, p in zip(apart.unbind(-1), self.period, strict=True)
        ]
        return torch.stack(columns, -1)

    def _dense(self, count: int) -> float:
        """Choose a first radius at which no cell is crowded, so that the first balls are cheap."""
        lo, hi = self.points.amin(0), self.points.amax(0)
        extent = (hi - lo).max().item()
        radius = extent * (count / len(self.points)) ** (1 / min(MAX_AXES, self.points.shape[1]))
        for _ in range(MAX_HALVINGS):
            grid = _CellGrid(self.points, radius, self.period) if radius > 0 else None
            if grid is None or grid.fullest <= MAX_CROWD + 8 * count:
                break
            radius /= 2
        # 0 if all points coincide: then any radius does, as the balls grow
        return radius or 1.0


class _CellGrid:
    """Points sorted by their cell; cells are not smaller than the radius."""

    def __init__(self, points: Tensor, radius: float, period: Period | None) -> None:
        lo, hi = points.amin(0), points.amax(0)
        ends = torch.stack((lo, hi)).cpu()
        spans = (ends[1] - ends[0]).tolist()
        periods = period or (None,) * len(spans)
        # an axis without a period comes last: on it the cells around a query have consecutive codes
        longest = sorted(range(len(spans)), key=lambda i: -spans[i])[:MAX_AXES]
        self.axes = sorted(longest, key=lambda i: periods[i] is None)
        self.cuts = [_CellAxis(ends[0, i].item(), spans[i], radius, periods[i]) for i in self.axes]
        codes = self._code(
            [cut.cell(points[:, i]) for i, cut in zip(self.axes, self.cuts, strict=True)]
        )
        self.codes, self.order = torch.sort(codes)

    @property
    def fullest(self) -> int:
        """Count of points in the fullest cell."""
        return int(torch.unique_consecutive(self.codes, return_counts=True)[1].max())

    def candidates(self, places: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield indices of queries and of points in the cells around them, block by block."""
        first, last = self._runs(places)
        sizes = last - first
        total = sizes.sum(1).cumsum(0).cpu()
        at = 0
        while at < len(places):
            done = int(total[at - 1]) if at else 0
            end = max(at + 1, int(torch.searchsorted(total, done + MAX_CANDIDATES, right=True)))
            block = slice(at, end)
            runs, steps = _run_indices(sizes[block].flatten())
            owners = torch.div(runs, sizes.shape[1], rounding_mode="floor") + at
            yield owners, self.order[first[block].flatten()[runs] + steps]
            at = end

    def _runs(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Find begin and end in `order` of the cells around each query, (m, runs) each."""
        own = [cut.cell(places[:, i]) for i, cut in zip(self.axes, self.cuts, strict=True)]
        *around, along = [cut.around(x) for cut, x in zip(self.cuts, own, strict=True)]
        if self.cuts[-1].period is None:  # one run, from the cell before to the cell behind
            low, high = [self.cuts[-1].clamped(own[-1] + i) for i in (-1, 1)]
            ends = [(low, high)]
        else:
            ends = [(x, x) for x in along]
        first, last = [], []
        for cells in product(*around):
            for low, high in ends:
                first.append(torch.searchsorted(self.codes, self._code([*cells, low])))
                last.append(torch.searchsorted(self.codes, self._code([*cells, high]), right=True))
        return torch.stack(first, 1), torch.stack(last, 1)

    def _code(self, cells: list[Tensor]) -> Tensor:
        code = torch.zeros_like(cells[0])
        for x, cut in zip(cells, self.cuts, strict=True):
            code = code * cut.count + x
        return code


class _CellAxis:
    """Axis that is divided into cells.

    On a periodic axis cells fill the period; on another there is an empty cell at each end, for
    queries beyond the ends.
    """

    def __init__(self, lo: float, span: float, radius: float, period: float | None) -> None:
        self.period = period
        if period is not None:
            fit = int(min(MAX_CELLS, period / (radius * CELL_SLACK)))
            # of two cells, each is the neighbour of the other on both sides: pairs would double
            self.lo, self.count = 0.0, fit if fit >= 3 else 1
            self.width = period / self.count
            return
        self.lo, self.width = lo, max(radius * CELL_SLACK, span / (MAX_CELLS - 8))
        self.count = int(span / self.width) + 5

    def cell(self, x: Tensor) -> Tensor:
        """Return the index of the cell of x; far outside, of a cell without points around it."""
        at = torch.floor((x - self.lo) / self.width)
        if self.period is not None:
            return at.clamp(0, self.count - 1).long()
        return self.clamped(at.clamp(-4, self.count).long() + 2)

    def clamped(self, cell: Tensor) -> Tensor:
        """Return the nearest existing cell, on an axis with two ends."""
        return cell.clamp(0, self.count - 1)

    def around(self, cell: Tensor) -> list[Tensor]:
        """Return the indices of the cell and its neighbours."""
        if self.count == 1:
            return [cell]
        if self.period is None:
            return [cell + i for i in (-1, 0, 1)]
        return [torch.remainder(cell + i, self.count) for i in (-1, 0, 1)]


def _run_indices(sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat run i `sizes[i]` times, with 0, 1, 2 ... counted in each run."""
    runs = torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)
    starts = sizes.cumsum(0) - sizes
    return runs, torch.arange(len(runs), device=sizes.device) - starts[runs]
