"""Fixed-radius and k-nearest neighbours on a CPU, by a k-d tree in float64.

Time is n log n, memory a block of pairs beside the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from opdsl.nn.points.neighbours.pairs import (
    RADIUS_TOLERANCE,
    Candidates,
    Period,
    k_closest,
    wrap_into_period,
)

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]

LEAF_SIZE = 8  # points in a leaf: the fastest of 8, 16, 32, 64 for 4000 and 200,000 points
MAX_PAIRS_PER_BLOCK = 1 << 24  # pairs that are searched together, where the density is even
SAMPLE = 256  # queries from which the number of pairs is estimated
SPARE_FACTOR = (
    8  # times as many points behind the k-th are looked at while they are as far as it is
)


class KdTree:
    """k-d tree of points, on a torus where there is a period.

    Args:
        points: (n, d), finite.
        period: the length after which space repeats, for each axis.
    """

    def __init__(self, points: Tensor, period: Period | None = None) -> None:
        self.period, self.n = period, len(points)
        self.tree = self._tree(self._coordinates(points))

    def count(self, queries: Tensor, radius: float) -> Tensor:
        """Count the points within the radius of each query, (m,)."""
        result = self.tree.query_ball_point(self._coordinates(queries), radius, return_length=True)
        return torch.from_numpy(np.asarray(result, dtype=np.int64))

    def within(self, queries: Tensor, radius: float) -> tuple[Tensor, Tensor]:
        """Find indices of queries and of the points within their radius, sorted by both."""
        numbers, rows = self._coordinates(queries), self._rows(queries, radius)
        keys, at = [], 0
        for block in np.split(numbers, range(rows, len(queries), rows)):
            # a second tree, of the queries, avoids one Python list for each query
            tree = self._tree(block)
            pairs = tree.sparse_distance_matrix(self.tree, radius, output_type="ndarray")
            key = (pairs["i"] + at) * self.n + pairs["j"]
            key.sort()
            keys.append(key)
            at += len(block)
        owners, points = np.divmod(np.concatenate(keys), max(1, self.n))
        return torch.from_numpy(owners), torch.from_numpy(points)

    def nearest(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Find indices and distances of the nearest points, (m, count) each."""
        places = self._coordinates(queries)
        numbers, distances = np.zeros((len(places), count), int), np.zeros((len(places), count))
        pending, spare = np.arange(len(places)), 1
        while len(pending):
            k = min(self.n, count + spare)
            far, indices = map(np.asarray, self.tree.query(places[pending], k=range(1, k + 1)))
            # if the last point is farther than the `count`-th, all ties of the latter were returned
            complete = (far[:, -1] > far[:, count - 1] * RADIUS_TOLERANCE) | (k == self.n)
            result = _resolve_ties(indices[complete], far[complete], count, self.n)
            numbers[pending[complete]], distances[pending[complete]] = result
            pending, spare = pending[~complete], spare * SPARE_FACTOR
        return torch.from_numpy(numbers), torch.from_numpy(distances)

    def _rows(self, queries: Tensor, radius: float) -> int:
        """Return the number of queries in a block: all of them unless there are very many pairs."""
        if len(queries) * self.n <= MAX_PAIRS_PER_BLOCK:
            return max(1, len(queries))
        sample = queries[:: -(-len(queries) // SAMPLE)]
        mean = self.count(sample, radius).double().mean().item()
        return max(1, min(len(queries), int(MAX_PAIRS_PER_BLOCK / max(mean, 1))))

    def _coordinates(self, x: Tensor) -> _Floats:
        return wrap_into_period(x.detach().double(), self.period).numpy()

    def _tree(self, numbers: _Floats) -> cKDTree:
        from scipy.spatial import cKDTree

        box = None if self.period is None else [p or 0.0 for p in self.period]
        return cKDTree(numbers, leafsize=LEAF_SIZE, boxsize=box)  # type: ignore[arg-type]  # stubs know None only


def _resolve_ties(near: _Ints, far: _Floats, count: int, points: int) -> tuple[_Ints, _Floats]:
    """Choose `count` of the nearest (m, k), by index among those equally far: (m, count)."""
    unresolved = (far[:, count:] <= far[:, count - 1 : count] * RADIUS_TOLERANCE).any(1)
    order = np.argsort(near[:, :count], axis=1)
    numbers = np.take_along_axis(near[:, :count], order, 1)
    distances = np.take_along_axis(far[:, :count], order, 1)
    if unresolved.any():
        owners = torch.arange(int(unresolved.sum())).repeat_interleave(far.shape[1])
        flat = (torch.from_numpy(x[unresolved].ravel()) for x in (near, far))
        result = k_closest(Candidates(owners, *flat), count, points)
        numbers[unresolved], distances[unresolved] = (x.numpy() for x in result)
    return numbers, distances
