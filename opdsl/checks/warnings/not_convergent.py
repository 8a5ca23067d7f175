"""OP0412: a model that runs at every resolution and leads to no operator under refinement."""

from collections.abc import Iterator

from opdsl.checks.warned import warning
from opdsl.diagnostics import Diagnostic
from opdsl.ir.certificate import certify
from opdsl.ir.graph import Graph, Node


def not_convergent(graph: Graph) -> Iterator[Diagnostic]:
    """Warn once, at the first diverging node; a node on pinned axes only is never refined."""
    diverging = [(n, why) for n, why in certify(graph).diverging if not _pinned(graph, n)]
    if diverging:
        node, why = diverging[0]
        yield warning(
            "OP0412",
            f"`{graph.name}` runs at every resolution but does not converge",
            node,
            why,
            notes=(f"{len(diverging)} nodes have no limit under refinement",)
            if len(diverging) > 1
            else (),
            helps=("use an operator with a limit: `spectral_conv`, `gno`, `attention`",),
        )


def _pinned(graph: Graph, node: Node) -> bool:
    """Return whether every axis of the node's spaces has one resolution only."""
    spaces = (*graph.arguments(node), node.space)
    return all(axis.pinned for x in spaces for axis in x.domain.axes)
