"""Which points lie near which: exact, without a matrix of all distances.

What comes in: points and queries, (n, d) and (m, d). What goes out: pairs of their numbers, sorted
by the query. On a CPU a k-d tree finds them, on another device blocks of distances.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from opdsl.diagnostics import OpError, fault

# a point at exactly the radius is a neighbour, whatever rounding makes of the distance: on a grid
# whose step divides the radius there are many
TOUCH = 1 + 1e-6
BLOCK = 1 << 24  # distances that are looked at together


@dataclass(frozen=True, slots=True)
class Pairs:
    """Point `points[i]` is a neighbour of query `queries[i]`; `counts` is how many a query has."""

    points: Tensor
    queries: Tensor
    counts: Tensor


class Neighbours:
    """The pairs of points and queries within a radius; the latest coordinates are remembered.

    They are compared by their values, so a geometry that is loaded or moved to a device anew with
    each batch is not searched again.

    Attributes:
        radius: how far neighbours are, in the unit of the coordinates.
        nearest: whether a query that has none takes the nearest point.
    """

    def __init__(self, radius: float, *, nearest: bool) -> None:
        self.radius, self.nearest = radius, nearest
        self.latest: tuple[Tensor, Tensor, tuple[Pairs, ...]] | None = None

    # a search is no arithmetic that could be traced
    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch does not type it
    def __call__(self, points: Tensor, queries: Tensor) -> tuple[Pairs, ...]:
        """(batch or 1, n, d), (batch or 1, m, d) -> for each sample its pairs.

        One for all samples if they share both.

        Raises:
            OpError: as `within`.
        """
        known = self.latest
        if known is None or not (_same(known[0], points) and _same(known[1], queries)):
            # pairs that are made in inference mode could never enter a gradient
            with torch.inference_mode(mode=False), torch.no_grad():
                found = tuple(
                    within(p, q, self.radius, nearest=self.nearest)
                    for p, q in zip(*alike(points, queries), strict=True)
                )
                # copies: the caller may write to theirs
                known = self.latest = (points.clone(), queries.clone(), found)
        return known[2]


def alike(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors (batch or 1, ...) with as many samples each."""
    batch = max(x.shape[0] for x in tensors)
    return tuple(x.expand(batch, *x.shape[1:]) for x in tensors)


def within(points: Tensor, queries: Tensor, radius: float, *, nearest: bool = False) -> Pairs:
    """The points not farther than `radius` from each query.

    Args:
        points: (n, d).
        queries: (m, d).
        radius: in the unit of the coordinates; distances are compared to six digits.
        nearest: a query that has none takes the nearest point.

    Raises:
        OpError: OP0908, a query has none; OP0612, a coordinate is not a finite number.
    """
    _check_finite(points, queries)
    search: _Search = (_Tree if points.device.type == "cpu" else _Blocks)(points)
    numbers, owners = search.within(queries, radius * TOUCH)
    counts = torch.bincount(owners, minlength=len(queries))
    alone = (counts == 0).nonzero()[:, 0]
    if len(alone):
        distances, closest = search.nearest(queries[alone])
        if not nearest:
            raise _lonely(len(alone), len(queries), radius, distances.max().item())
        numbers, owners = torch.cat((numbers, closest)), torch.cat((owners, alone))
        counts = counts.clamp(min=1)
    order = torch.argsort(owners * len(points) + numbers)
    return Pairs(numbers[order], owners[order], counts)


class _Search(Protocol):
    """Points, prepared for queries."""

    def within(self, queries: Tensor, radius: float) -> tuple[Tensor, Tensor]:
        """The numbers of points and of the queries that they are near to, in any order."""

    def nearest(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """The distance of the nearest point and its number."""


class _Tree:
    """A k-d tree in float64, n log n."""

    def __init__(self, points: Tensor) -> None:
        from scipy.spatial import cKDTree

        self.tree = cKDTree(points.detach().double().numpy())

    def within(self, queries: Tensor, radius: float) -> tuple[Tensor, Tensor]:
        from scipy.spatial import cKDTree

        # the tree of queries spares a list in Python for each of them
        other = cKDTree(queries.detach().double().numpy())
        found = other.sparse_distance_matrix(self.tree, radius, output_type="ndarray")
        return torch.from_numpy(found["j"].copy()), torch.from_numpy(found["i"].copy())

    def nearest(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        distances, numbers = self.tree.query(queries.detach().double().numpy())
        return torch.from_numpy(distances), torch.from_numpy(numbers)


class _Blocks:
    """Distances, some queries at a time, n m; in float64 where the device has it."""

    def __init__(self, points: Tensor) -> None:
        self.points = _widest(points.detach())

    def within(self, queries: Tensor, radius: float) -> tuple[Tensor, Tensor]:
        found = [(x <= radius).nonzero() + at for at, x in self._distances(queries)]
        pairs = torch.cat(found) if found else self.points.new_zeros((0, 2), dtype=torch.int64)
        return pairs[:, 1], pairs[:, 0]

    def nearest(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        closest = [x.min(1) for _, x in self._distances(queries)]
        return torch.cat([x.values for x in closest]), torch.cat([x.indices for x in closest])

    def _distances(self, queries: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The number of a block's first query as (queries, 0), and its distances."""
        rows, at = max(1, BLOCK // len(self.points)), 0
        for block in torch.split(_widest(queries.detach()), rows):
            # by differences: squares and products would cancel for points that are close
            mode = "donot_use_mm_for_euclid_dist"
            first = torch.tensor((at, 0), device=block.device)
            yield first, torch.cdist(block, self.points, compute_mode=mode)
            at += len(block)


def _widest(x: Tensor) -> Tensor:
    return x.float() if x.device.type == "mps" else x.double()  # mps has no float64


def _same(a: Tensor, b: Tensor) -> bool:
    kind = (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device)
    return kind and torch.equal(a, b)


def _check_finite(*coordinates: Tensor) -> None:
    if not all(torch.isfinite(x).all() for x in coordinates):
        raise fault(
            "OP0612",
            "coordinates of points hold NaN or infinite values",
            helps=("clean them: `torch.isfinite(xyz)` says which are wrong",),
            file="gno",
        )


def _lonely(alone: int, count: int, radius: float, needed: float) -> OpError:
    return fault(
        "OP0908",
        f"{alone} of {count} query points have no neighbours within radius {radius:g}",
        notes=("a kernel integral over no points would be zero in silence",),
        helps=(
            f"take a radius of at least {_above(needed)}",
            "or take the nearest point: `gno(..., empty = nearest)`",
        ),
        file="gno",
    )


def _above(x: float) -> str:
    """The number with four digits, rounded up."""
    digit = 10.0 ** (math.floor(math.log10(x)) - 3)
    return f"{math.ceil(x / digit) * digit:.4g}"
