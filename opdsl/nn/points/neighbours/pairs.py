"""Parts shared by both neighbour searches: candidate pairs, ties, distances on a torus.

Pairs are put in one order, so that a k-d tree and a cell list give equal results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

# a point at exactly the radius is a neighbour, whatever rounding makes of the distance: on a grid
# whose step divides the radius there are many. Points equally far by this are equally far.
RADIUS_TOLERANCE = 1 + 1e-6

Period = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pair i is query `queries[i]` and point `points[i]`, `distances[i]` apart; in any order."""

    queries: Tensor
    points: Tensor
    distances: Tensor


class NeighbourSearch(Protocol):
    """Points in a structure that answers queries, (m, d)."""

    def count(self, queries: Tensor, radius: float) -> Tensor:
        """Count the points within the radius of each query; meant for few queries."""

    def within(self, queries: Tensor, radius: float) -> tuple[Tensor, Tensor]:
        """Find indices of queries and of the points within their radius, sorted by both."""

    def nearest(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Find indices of the `count` nearest points, sorted, and distances, (m, count) each.

        Of points equally far the ones with the lowest indices.
        """


def to_widest_float(x: Tensor) -> Tensor:
    """Convert coordinates to float64 where the device has it, else to float32."""
    return x.detach().float() if x.device.type == "mps" else x.detach().double()


def wrap_into_period(x: Tensor, period: Period | None) -> Tensor:
    """Move coordinates by whole periods into [0, period) on the axes that have one."""
    if period is None:
        return x
    columns = [
        c if p is None else _wrap_coordinate(c, p)
        for c, p in zip(x.unbind(-1), period, strict=True)
    ]
    return torch.stack(columns, -1)


def minimum_image(step: Tensor, period: Period | None) -> Tensor:
    """Move differences of coordinates, (..., d), by whole periods to their shortest form."""
    if period is None:
        return step
    columns = zip(step.unbind(-1), period, strict=True)
    return torch.stack([s if p is None else s - p * torch.round(s / p) for s, p in columns], -1)


def _wrap_coordinate(x: Tensor, period: float) -> Tensor:
    wrapped = torch.remainder(x, period)
    # the remainder of a tiny negative number is rounded up to the period itself
    return torch.where(wrapped >= period, torch.zeros_like(wrapped), wrapped)


def sort_pairs(queries: Tensor, points: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Sort pairs by query, then by point; there are `count` points."""
    key = queries * max(1, count) + points
    if key.device.type == "cpu":
        key.numpy().sort()  # several times faster than torch's
    else:
        key = key.sort().values
    owners = torch.div(key, max(1, count), rounding_mode="floor")
    return owners, key - owners * max(1, count)


def k_closest(found: Candidates, count: int, points: int) -> tuple[Tensor, Tensor]:
    """Choose the `count` nearest candidates of each query.

    Args:
        found: candidates; each query that occurs has at least `count`, and all that are as far as
            the last of these.
        count: number of points chosen.
        points: number of all points.

    Returns:
        Indices, sorted, and distances for each query that occurs: (queries, count) each.
    """
    order = torch.argsort(found.distances)
    order = order[torch.argsort(found.queries[order], stable=True)]
    _, owner, sizes = torch.unique_consecutive(
        found.queries[order], return_inverse=True, return_counts=True
    )
    rows = sizes.cumsum(0) - sizes
    last = found.distances[order][rows + count - 1][owner]
    near = found.distances[order] <= last * RADIUS_TOLERANCE
    order, owner, last = order[near], owner[near], last[near]
    tied = found.distances[order] * RADIUS_TOLERANCE >= last
    key = (owner * 2 + tied) * points + found.points[order]
    by_rank = torch.argsort(key)
    order, owner = order[by_rank], owner[by_rank]
    sizes = torch.bincount(owner, minlength=len(sizes))
    rank = torch.arange(len(owner), device=owner.device) - (sizes.cumsum(0) - sizes)[owner]
    closest = order[rank < count]
    closest = closest[torch.argsort(found.queries[closest] * points + found.points[closest])]
    shape = (-1, count)
    return found.points[closest].reshape(shape), found.distances[closest].reshape(shape)


def concat_candidates(parts: list[Candidates]) -> Candidates:
    """Concatenate candidates."""
    return Candidates(
        torch.cat([x.queries for x in parts]),
        torch.cat([x.points for x in parts]),
        torch.cat([x.distances for x in parts]),
    )
