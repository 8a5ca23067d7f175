"""Neighbours along the edges of a mesh or a graph."""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from opdsl.diagnostics import OpError, fault
from opdsl.nn.points.geometry import Geometry
from opdsl.nn.points.neighbours.pairs import Period, sort_pairs
from opdsl.nn.points.neighbours.search import Pairs, with_shifts


# integer indices that depend on data cannot be traced
@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch does not type it
def edge_pairs(
    geometry: Geometry, *, allow_isolated: bool = False, period: Period | None = None
) -> Pairs:
    """Return the points from which an edge leads to each point, each edge once, by target.

    Where a geometry has no edges, all corners of a cell are neighbours of each other.

    Args:
        geometry: of one sample.
        allow_isolated: whether there may be points to which no edge leads.
        period: for each axis the length after which space repeats, None where it does not: an
            edge is the short way around.

    Raises:
        OpError: OP0907, there are neither edges nor cells, or a point index is out of range;
            OP0908, no edge leads to some point.
    """
    edges, n = _edges(geometry), len(geometry)
    if len(edges) and (int(edges.min()) < 0 or int(edges.max()) >= n):
        raise _edges_out_of_range(edges, n)
    keys = torch.unique(edges[:, 1] * n + edges[:, 0])
    queries, points = sort_pairs(keys // n, keys % n, n)
    counts = torch.bincount(queries, minlength=n)
    isolated = int((counts == 0).sum())
    if isolated and not allow_isolated:
        raise fault(
            "OP0908",
            f"no edge leads to {isolated} of {n} points",
            notes=("a kernel integral over no points would be zero in silence",),
            helps=("leave out points that no edge or cell has",),
            file="edges",
        )
    result = Pairs(points, queries, counts, torch.cat((counts.new_zeros(1), counts.cumsum(0))))
    return with_shifts(result, geometry.points.detach(), geometry.points.detach(), period)


def _edges(geometry: Geometry) -> Tensor:
    if geometry.edges is not None:
        return geometry.edges.long()
    if geometry.cells is None:
        raise fault(
            "OP0907",
            "a geometry has neither edges nor cells",
            helps=("give `Geometry(points, edges = ...)`, or take neighbours by their distance",),
            file="edges",
        )
    cells = geometry.cells.long()
    corners = range(cells.shape[1])
    return torch.cat([cells[:, list(pair)] for pair in permutations(corners, 2)])


def _edges_out_of_range(edges: Tensor, n: int) -> OpError:
    count = int(((edges < 0) | (edges >= n)).any(1).sum())
    return fault(
        "OP0907",
        f"{count} of {len(edges)} edges lead to points that are not there",
        notes=(f"points are numbered 0 to {n - 1}",),
        helps=("check that numbers begin at 0",),
        file="edges",
    )
