"""Which points lie near which: exact, without a matrix of all distances.

What comes in: points and queries, (n, d) and (m, d). What goes out: pairs of their numbers, sorted
by the query.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from opdsl.diagnostics import fault


@dataclass(frozen=True, slots=True)
class Pairs:
    """Point `points[i]` is a neighbour of query `queries[i]`; `counts` is how many a query has."""

    points: Tensor
    queries: Tensor
    counts: Tensor


def within(points: Tensor, queries: Tensor, radius: float, *, nearest: bool = False) -> Pairs:
    """The points not farther than `radius` from each query.

    Args:
        points: (n, d).
        queries: (m, d).
        radius: in the unit of the coordinates.
        nearest: a query that has none takes the nearest point.

    Raises:
        OpError: OP0908, a query has none; OP0612, a coordinate is not a finite number.
    """
    from scipy.spatial import cKDTree

    known, asked = (x.detach().double().cpu().numpy() for x in (points, queries))
    _finite(known, asked)
    tree = cKDTree(known)
    found = tree.query_ball_point(asked, radius)
    counts = np.array([len(x) for x in found], dtype=np.int64)
    if not counts.all():
        distance, closest = tree.query(asked[counts == 0])
        if not nearest:
            raise _lonely(counts, radius, float(np.max(distance)))
        for i, j in zip(np.flatnonzero(counts == 0), np.atleast_1d(closest), strict=True):
            found[i] = [int(j)]
        counts = np.maximum(counts, 1)
    numbers = np.concatenate([np.sort(x) for x in found]).astype(np.int64)
    device = queries.device
    tensors = (numbers, np.repeat(np.arange(len(asked)), counts), counts)
    return Pairs(*(torch.from_numpy(x).to(device) for x in tensors))


def _finite(*coordinates: np.ndarray) -> None:
    if not all(np.isfinite(x).all() for x in coordinates):
        raise fault(
            "OP0612",
            "coordinates of points hold NaN or infinite values",
            helps=("clean them: `torch.isfinite(xyz)` says which are wrong",),
            file="gno",
        )


def _lonely(counts: np.ndarray, radius: float, needed: float) -> Exception:
    alone = int((counts == 0).sum())
    return fault(
        "OP0908",
        f"{alone} of {len(counts)} query points have no neighbours within radius {radius:g}",
        notes=("a kernel integral over no points would be zero in silence",),
        helps=(
            f"take a radius of at least {needed * 1.0001:.4g}",
            "or take the nearest point: `gno(..., empty = nearest)`",
        ),
        file="gno",
    )
