"""OP0414: weights for frequencies that never arrive, or that nothing behind them uses.

The greatest frequency that can be there at the smallest promised resolution is followed through the
graph, forwards and backwards. A function on a grid of n points has frequencies up to n // 2. Linear
operators make no new ones, and hand back gradients for no others; every other operator may make
all. So a function that came from a coarser grid by linear operators alone has the frequencies of
that grid only, and weights for greater ones never see a gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from opdsl.checks.warned import site, warning
from opdsl.diagnostics import Diagnostic, Span
from opdsl.ir.graph import Graph, Node
from opdsl.ir.live import live
from opdsl.ir.spaces import Domain

Band = tuple[int, ...]
Bands = Mapping[str, Band]


def dead_weights(graph: Graph) -> Iterator[Diagnostic]:
    """One warning for each of the user's calls that keeps more than arrives or is used."""
    least = {d.name: tuple(a.least for a in d.axes) for d in graph.domains}
    if any(y.name not in least for x in graph.spaces.values() for y in x.domain.declared):
        return
    whole = {path: _all(x.domain, least) for path, x in graph.spaces.items()}
    there, used = _forwards(graph, whole), _backwards(graph, whole)
    told: set[Span] = set()
    for node, *more in _weights(graph):
        kept = node.block.max_modes(*graph.arguments(node)) or ()
        passed = [(there[x.inputs[0]], used[x.path]) for x in (node, *more)]
        fault = _fault(kept, passed)
        if fault and site(node) not in told:
            told.add(site(node))
            yield _warning(graph, node, *fault)


def _weights(graph: Graph) -> list[list[Node]]:
    """The nodes with weights for frequencies, those that share their weights together."""
    found: dict[str, list[Node]] = {}
    for node in live(graph):
        if node.block.max_modes(*graph.arguments(node)):
            found.setdefault(node.shares or node.path, []).append(node)
    return list(found.values())


def _all(domain: Domain, least: Bands) -> Band:
    """Every frequency that the grid has."""
    return tuple(n // 2 for n in domain.at(least)) if domain.regular else ()


def _forwards(graph: Graph, whole: Bands) -> dict[str, Band]:
    """The greatest frequencies that each value can have."""
    found = {x.name: whole[x.name] for x in graph.inputs}
    for node in graph.nodes:
        met = [found[x] for x in node.inputs]
        passes = node.block.band_preserving() and met
        limits = [whole[node.path], *_kept(graph, node)]
        found[node.path] = _least(*limits, _greatest(*met)) if passes else whole[node.path]
    return found


def _backwards(graph: Graph, whole: Bands) -> dict[str, Band]:
    """The greatest frequencies of each value on which an output depends."""
    found = {path: tuple(0 for _ in x) for path, x in whole.items()}
    found |= {x.source: whole[x.source] for x in graph.outputs}
    for node in reversed(graph.nodes):
        passes = node.block.band_preserving()
        kept = _kept(graph, node)
        for x in node.inputs:
            asked = whole[x]
            if passes:
                asked = _least(whole[x], whole[node.path], found[node.path], *kept)
            found[x] = _greatest(found[x], asked)
    return found


def _kept(graph: Graph, node: Node) -> list[Band]:
    kept = node.block.max_modes(*graph.arguments(node))
    return [kept] if kept else []


def _least(*bands: Band) -> Band:
    return tuple(min(x) for x in zip(*bands, strict=True)) if _alike(bands) else bands[0]


def _greatest(*bands: Band) -> Band:
    return tuple(max(x) for x in zip(*bands, strict=True)) if _alike(bands) else bands[0]


def _alike(bands: tuple[Band, ...]) -> bool:
    """Whether all have the same axes: vectors and points have none."""
    return len({len(x) for x in bands}) == 1


def _fault(kept: Band, passed: list[tuple[Band, Band]]) -> tuple[int, int, bool] | None:
    """What is kept, what of it lives, and whether it is lost before; None if all of it lives.

    Args:
        kept: the greatest frequency with a weight on each axis.
        passed: for each use of these weights what arrives there, and what is used of the result.
    """
    for axis, m in enumerate(kept):
        alive, before = max((min(x[axis], y[axis]), x[axis] <= y[axis]) for x, y in passed)
        if alive < m:
            return m, alive, before
    return None


def _warning(graph: Graph, node: Node, kept: int, alive: int, before: bool) -> Diagnostic:
    domain = graph.arguments(node)[0].domain
    say = (
        f"keeps |k| <= {kept} of a function on `{domain}` that has |k| <= {alive} only"
        if before
        else f"keeps |k| <= {kept}, of which what follows uses |k| <= {alive} only"
    )
    return warning(
        "OP0414",
        f"some weights of `{node.keyword}` are dead at the smallest promised resolution",
        node,
        say,
        notes=("linear operators make no new frequencies, and pass on gradients for no others",),
        helps=(
            f"keep what is alive: `modes = {alive}`",
            f"or bend the function {'before' if before else 'behind'} it: `gelu()`",
        ),
    )
