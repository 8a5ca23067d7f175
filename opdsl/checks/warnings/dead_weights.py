"""OP0414: weights for frequencies that never arrive, or that no later operator uses.

The greatest frequency that is possible at the smallest promised resolution is followed through the
graph, forwards and backwards. A function on a grid of n points has frequencies up to n // 2. Linear
operators add none, and pass back gradients for no others; every other operator may add all. So a
function that comes from a coarser grid by linear operators alone has the frequencies of that grid
only, and weights for greater ones never get a gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from opdsl.checks.warned import site, warning
from opdsl.diagnostics import Diagnostic, Span
from opdsl.ir.graph import Graph, Node
from opdsl.ir.live import live
from opdsl.ir.spaces import Domain

AxisBand = tuple[int, ...]
DomainBands = Mapping[str, AxisBand]


def dead_weights(graph: Graph) -> Iterator[Diagnostic]:
    """Warn once for each of the user's calls that keeps frequencies which are absent or unused."""
    least = {d.name: tuple(a.least for a in d.axes) for d in graph.domains}
    if any(y.name not in least for x in graph.spaces.values() for y in x.domain.declared):
        return
    whole = {path: _all(x.domain, least) for path, x in graph.spaces.items()}
    reaching, used = _forwards(graph, whole), _backwards(graph, whole)
    reported: set[Span] = set()
    for node, *sharers in _weights(graph):
        modes = node.block.max_modes(*graph.arguments(node)) or ()
        passed = [(reaching[x.inputs[0]], used[x.path]) for x in (node, *sharers)]
        fault = _fault(modes, passed)
        if fault and site(node) not in reported:
            reported.add(site(node))
            yield _warning(graph, node, *fault)


def _weights(graph: Graph) -> list[list[Node]]:
    """Group the nodes with weights for frequencies by the weights that they share."""
    groups: dict[str, list[Node]] = {}
    for node in live(graph):
        if node.block.max_modes(*graph.arguments(node)):
            groups.setdefault(node.shares or node.path, []).append(node)
    return list(groups.values())


def _all(domain: Domain, least: DomainBands) -> AxisBand:
    """Return the greatest frequency that the grid has on each axis."""
    return tuple(n // 2 for n in domain.at(least)) if domain.regular else ()


def _forwards(graph: Graph, whole: DomainBands) -> dict[str, AxisBand]:
    """Propagate forwards the greatest frequencies that each value can have."""
    bands = {x.name: whole[x.name] for x in graph.inputs}
    for node in graph.nodes:
        arriving = [bands[x] for x in node.inputs]
        passes = node.block.band_preserving() and arriving
        limits = [whole[node.path], *_modes_of(graph, node)]
        bands[node.path] = _least(*limits, _greatest(*arriving)) if passes else whole[node.path]
    return bands


def _backwards(graph: Graph, whole: DomainBands) -> dict[str, AxisBand]:
    """Propagate backwards the greatest frequencies of each value that an output depends on."""
    bands = {path: tuple(0 for _ in x) for path, x in whole.items()}
    bands |= {x.source: whole[x.source] for x in graph.outputs}
    for node in reversed(graph.nodes):
        passes = node.block.band_preserving()
        modes = _modes_of(graph, node)
        for x in node.inputs:
            needed = whole[x]
            if passes:
                needed = _least(whole[x], whole[node.path], bands[node.path], *modes)
            bands[x] = _greatest(bands[x], needed)
    return bands


def _modes_of(graph: Graph, node: Node) -> list[AxisBand]:
    modes = node.block.max_modes(*graph.arguments(node))
    return [modes] if modes else []


def _least(*bands: AxisBand) -> AxisBand:
    return tuple(min(x) for x in zip(*bands, strict=True)) if _alike(bands) else bands[0]


def _greatest(*bands: AxisBand) -> AxisBand:
    return tuple(max(x) for x in zip(*bands, strict=True)) if _alike(bands) else bands[0]


def _alike(bands: tuple[AxisBand, ...]) -> bool:
    """Return whether all have the same axes; vectors and points have none."""
    return len({len(x) for x in bands}) == 1


def _fault(
    modes: AxisBand, passed: list[tuple[AxisBand, AxisBand]]
) -> tuple[int, int, bool] | None:
    """Return the modes with weights, those with a gradient, and whether the rest never arrives.

    Args:
        modes: the greatest frequency with a weight on each axis.
        passed: for each use of these weights, the greatest frequencies that arrive there, and those
            of the result that are used.
    """
    for axis, m in enumerate(modes):
        alive, before = max((min(x[axis], y[axis]), x[axis] <= y[axis]) for x, y in passed)
        if alive < m:
            return m, alive, before
    return None


def _warning(graph: Graph, node: Node, modes: int, alive: int, before: bool) -> Diagnostic:
    domain = graph.arguments(node)[0].domain
    say = (
        f"keeps |k| <= {modes} of a function on `{domain}` that has |k| <= {alive} only"
        if before
        else f"keeps |k| <= {modes}, of which what follows uses |k| <= {alive} only"
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
