"""Which segments of a schedule are computed again, so that a step fits into a limit.

Bytes and seconds of a segment are lengths of edges between the places at which a schedule can be
cut; shortest paths for several prices of a byte and several bounds of a segment's memory are
candidates, and the timeline says which of them fit.

Source: Chen et al. 2016, arXiv:1604.06174; Jain et al. 2020, arXiv:1910.02653, for the trade
between time and memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

from opdsl.lower.memory.timeline import Segments, UnitMemory

PRICES = (
    1 / 16,
    1 / 4,
    1.0,
    4.0,
    16.0,
    256.0,
)  # of a byte, in units of seconds / bytes of all units
BOUNDS = 8  # different bounds of the memory of a segment that are tried
MAX_LENGTH = 48  # units of a segment
STARTS = 6  # fitting candidates that are refined

Peak = Callable[[Segments], int]


@dataclass(frozen=True, slots=True)
class Recomputation:
    """Segments that are computed again.

    Attributes:
        segments: as in `peak`; none: everything is kept.
        peak: bytes at the peak.
        seconds: time that the recomputation adds.
    """

    segments: Segments
    peak: int
    seconds: float


def recomputations(units: Sequence[UnitMemory], peak: Peak) -> Iterator[Recomputation]:
    """Yield candidates, the first of which keeps everything.

    Args:
        units: of the schedule, with their times.
        peak: returns the bytes at the peak for some segments.
    """
    seen: set[Segments] = set()
    yield Recomputation((), peak(()), 0.0)
    for segments in _candidates(units):
        if segments and segments not in seen:
            seen.add(segments)
            yield Recomputation(segments, peak(segments), added_seconds(units, segments))


def cheapest(
    units: Sequence[UnitMemory], peak: Peak, limit: int
) -> tuple[Recomputation | None, Recomputation]:
    """Return the recomputation of least time within a limit, None if none fits, and the smallest.

    Args:
        units, peak: as for `recomputations`.
        limit: bytes.
    """
    candidates: list[Recomputation] = []
    for x in recomputations(units, peak):
        candidates.append(x)
        if not x.segments and x.peak <= limit:
            return x, x
    smallest = min(candidates, key=lambda x: (x.peak, x.seconds))
    fitting = [x for x in candidates if x.peak <= limit]
    if not fitting:
        return None, smallest
    fitting.sort(key=lambda x: (x.seconds, x.peak))
    refined = [_refined(units, peak, limit, x) for x in fitting[:STARTS]]
    return min(refined, key=lambda x: (x.seconds, x.peak)), smallest


def added_seconds(units: Sequence[UnitMemory], segments: Segments) -> float:
    """Return the time that segments add: each runs again up to its last unit that saves tensors."""
    total = 0.0
    for first, end in segments:
        saving = [i for i in range(first, end) if units[i].saves]
        total += sum(u.seconds for u in units[first : saving[-1] + 1]) if saving else 0.0
    return total


def _refined(
    units: Sequence[UnitMemory], peak: Peak, limit: int, start: Recomputation
) -> Recomputation:
    """Keep segments, or units of them, as long as the step fits."""
    best = start
    while True:
        for segments in _shorter(best.segments):
            seconds = added_seconds(units, segments)
            if seconds < best.seconds and (size := peak(segments)) <= limit:
                best = Recomputation(segments, size, seconds)
                break
        else:
            return best


def _shorter(segments: Segments) -> Iterator[Segments]:
    """Yield segments of which one is left out, or lacks one unit."""
    for i, (first, end) in enumerate(segments):
        before, after = segments[:i], segments[i + 1 :]
        yield before + after
        for left_out in range(first, end):
            parts = (first, left_out), (left_out + 1, end)
            yield (*before, *(x for x in parts if x[0] < x[1]), *after)


def _candidates(units: Sequence[UnitMemory]) -> Iterator[Segments]:
    """Yield segments by shortest paths over the places where the schedule can be cut."""
    graph = _cuts(units)
    bytes_ = sum(x for *_, x in graph.edges.data("held") if x) or 1
    price_unit = (sum(u.seconds for u in units) or 1.0) / bytes_
    working = sorted({x for *_, x in graph.edges.data("working")})
    bounds = {working[(len(working) - 1) * i // BOUNDS] for i in range(1, BOUNDS + 1)}
    for bound in sorted(bounds, reverse=True):
        for price in PRICES:
            yield _path(graph, len(units), bound, price * price_unit * len(units))


def _path(graph: nx.MultiDiGraph, end: int, bound: int, price: float) -> Segments:
    """Return the segments of the shortest path, whose memory is at most `bound` each."""

    def cost(edge: dict[str, float]) -> float:
        return edge["seconds"] + price * edge["held"]

    def weight(_a: int, _b: int, edges: dict[int, dict[str, float]]) -> float | None:
        allowed = [cost(x) for x in edges.values() if x["working"] <= bound]
        return min(allowed, default=None)

    try:
        nodes = nx.dijkstra_path(graph, 0, end, weight)
    except nx.NetworkXNoPath:
        return ()
    chosen = []
    for a, b in pairwise(nodes):
        edges = [x for x in graph[a][b].values() if x["working"] <= bound]
        if min(edges, key=cost)["again"]:
            chosen.append((a, b))
    return tuple(chosen)


def _cuts(units: Sequence[UnitMemory]) -> nx.MultiDiGraph:
    """Build the graph of the places between units; its edges are kept units, and segments."""
    graph = nx.MultiDiGraph()
    sizes = {n: size for u in units for n, size in u.reads}
    sizes |= {u.result.number: u.result.size for u in units}
    for i, u in enumerate(units):
        saved = {*u.saved_values, *((u.result.number,) if u.result.saved else ())}
        held = u.saved + sum(sizes[n] for n in saved)
        graph.add_edge(i, i + 1, seconds=0.0, held=held, working=0, again=False)
        if u.saves:
            for end in range(i + 1, min(len(units), i + MAX_LENGTH) + 1):
                if units[end - 1].saves:
                    graph.add_edge(i, end, again=True, **_segment_costs(units[i:end], sizes))
    return graph


def _segment_costs(units: Sequence[UnitMemory], sizes: dict[int, int]) -> dict[str, float]:
    """Return time, bytes held from forward to backward, and bytes while it is recomputed."""
    inner = {u.result.number for u in units}
    reads = {n for u in units for n, _ in u.reads} - inner
    saved = {n for u in units for n in u.saved_values if n in inner}
    working = sum(u.saved for u in units) + sum(sizes[n] for n in saved)
    working += max(max(u.backward, u.forward - u.result.size - u.saved) for u in units)
    seconds = sum(u.seconds for u in units)
    return {"seconds": seconds, "held": sum(sizes[n] for n in reads), "working": working}
