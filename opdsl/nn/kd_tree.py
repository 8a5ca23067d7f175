"""The neighbours of points on a CPU, by a k-d tree in float64.

What comes in: points and queries, (n, d) and (m, d), finite. What goes out: pairs, sorted. Time is
n log n, memory a block of pairs beside the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from opdsl.nn.nearby import TOUCH, Found, Period, closest, joined_pairs, wrapped

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

LEAF = 8  # points in a leaf: the fastest of 8, 16, 32, 64 for 4000 and 200,000 points
BLOCK = 1 << 24  # pairs that are searched together, where the density is even
SAMPLE = 256  # queries by which the number of pairs is estimated
SPARE = 8  # points behind the k-th that are looked at for ties


class Tree:
    """A k-d tree of the points; on a torus where there is a period."""

    def __init__(self, points: Tensor, period: Period | None = None) -> None:
        self.period, self.n = period, len(points)
        self.tree = self._tree(self._numbers(points))

    def count(self, queries: Tensor, radius: float) -> Tensor:
        """How many points are within the radius of each query."""
        found = self.tree.query_ball_point(self._numbers(queries), radius, return_length=True)
        return torch.from_numpy(np.asarray(found, dtype=np.int64))

    def within(self, queries: Tensor, radius: float) -> Found:
        """The points within the radius of each query."""
        numbers, rows = self._numbers(queries), self._rows(queries, radius)
        keys, at = [], 0
        for block in np.split(numbers, range(rows, len(queries), rows)):
            # a tree of the queries too spares a list in Python for each of them
            pairs = self._tree(block).sparse_distance_matrix(
                self.tree, radius, output_type="ndarray"
            )
            key = (pairs["i"] + at) * self.n + pairs["j"]
            key.sort()
            keys.append(key)
            at += len(block)
        owners, points = np.divmod(np.concatenate(keys), max(1, self.n))
        return Found(torch.from_numpy(owners), torch.from_numpy(points))

    def nearest(self, queries: Tensor, count: int) -> Found:
        """The nearest points of each query, with distances."""
        numbers, asked = self._numbers(queries), np.arange(len(queries))
        done: list[Found] = []
        spare = SPARE
        while len(asked):
            k = min(self.n, count + spare)
            far, near = map(np.asarray, self.tree.query(numbers[asked], k=range(1, k + 1)))
            whole = (far[:, -1] > far[:, count - 1] * TOUCH) | (k == self.n)
            done.append(_candidates(asked[whole], near[whole], far[whole]))
            asked, spare = asked[~whole], spare * 4
        if not done:
            done.append(_candidates(asked, np.zeros((0, 1), int), np.zeros((0, 1))))
        return closest(joined_pairs(done), count, self.n)

    def _rows(self, queries: Tensor, radius: float) -> int:
        """Queries of a block: all of them unless there are very many pairs."""
        if len(queries) * self.n <= BLOCK:
            return max(1, len(queries))
        some = queries[:: -(-len(queries) // SAMPLE)]
        each = self.count(some, radius).double().mean().item()
        return max(1, min(len(queries), int(BLOCK / max(each, 1))))

    def _numbers(self, x: Tensor) -> np.ndarray:
        return wrapped(x.detach().double(), self.period).numpy()

    def _tree(self, numbers: np.ndarray) -> cKDTree:
        from scipy.spatial import cKDTree

        box = None if self.period is None else [p or 0.0 for p in self.period]
        return cKDTree(numbers, leafsize=LEAF, boxsize=box)  # type: ignore[arg-type]  # stubs know None only


def _candidates(queries: np.ndarray, points: np.ndarray, distances: np.ndarray) -> Found:
    """(m,), (m, k), (m, k) -> m k pairs."""
    owners = torch.from_numpy(np.repeat(queries, points.shape[1]))
    return Found(owners, torch.from_numpy(points.ravel()), torch.from_numpy(distances.ravel()))
