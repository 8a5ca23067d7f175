"""OP0414: weights for frequencies that never arrive at the smallest promised resolution.

The greatest frequency that can be there is followed through the graph. A function on a grid of n
points has frequencies up to (n - 1) // 2. Linear operators make no new ones; every other operator
may make all. A function that came from a coarser grid by linear operators alone still has the
frequencies of that grid only, and weights for greater ones never see a gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from opdsl.checks.warned import site, warning
from opdsl.diagnostics import Diagnostic, Span
from opdsl.ir.graph import Graph, Node
from opdsl.ir.spaces import Domain

Band = tuple[int, ...]


def dead_weights(graph: Graph) -> Iterator[Diagnostic]:
    """One warning for each of the user's calls that keeps more than can arrive."""
    least = {d.name: tuple(a.least for a in d.axes) for d in graph.domains}
    if any(y.name not in least for x in graph.spaces.values() for y in x.domain.declared):
        return
    bands = {x.name: _all(x.space.domain, least) for x in graph.inputs}
    told: set[Span] = set()
    for node in graph.nodes:
        arriving = _arriving(node, bands)
        kept = node.block.excites(*graph.arguments(node))
        bands[node.path] = _leaving(graph, node, arriving, kept, least)
        dead = [i for i, m in enumerate(kept or ()) if arriving and arriving[i] < m]
        if kept and arriving and dead and site(node) not in told:
            told.add(site(node))
            yield _warning(graph, node, kept[dead[0]], arriving[dead[0]])


def _all(domain: Domain, least: Mapping[str, Band]) -> Band:
    """Every frequency that the grid has."""
    return tuple((n - 1) // 2 for n in domain.at(least)) if domain.regular else ()


def _arriving(node: Node, bands: Mapping[str, Band]) -> Band | None:
    """The greatest frequencies of all inputs together."""
    met = [bands[x] for x in node.inputs]
    if not met or len({len(x) for x in met}) > 1:
        return None
    return tuple(max(x) for x in zip(*met, strict=True))


def _leaving(
    graph: Graph, node: Node, arriving: Band | None, kept: Band | None, least: Mapping[str, Band]
) -> Band:
    whole = _all(node.space.domain, least)
    same = arriving is not None and len(arriving) == len(whole)
    if not (same and node.block.carries(*graph.arguments(node))):
        return whole
    limits = [whole, arriving or (), *([kept] if kept and len(kept) == len(whole) else [])]
    return tuple(min(x) for x in zip(*limits, strict=True))


def _warning(graph: Graph, node: Node, kept: int, arriving: int) -> Diagnostic:
    domain = graph.arguments(node)[0].domain
    return warning(
        "OP0414",
        f"some weights of `{node.keyword}` are dead at the smallest promised resolution",
        node,
        f"keeps |k| <= {kept} of a function on `{domain}` that has |k| <= {arriving} only",
        notes=("it comes from a coarser grid, and nothing on the way makes greater frequencies",),
        helps=(
            f"keep what is there: `modes = {arriving}`",
            "or bend the function before: `gelu()`",
        ),
    )
