"""OP0413: a factorised weight that has more numbers than the dense one."""

from collections.abc import Iterator

from opdsl.checks.warned import site, warning
from opdsl.diagnostics import Diagnostic, Span
from opdsl.ir.graph import Graph


def wasteful_rank(graph: Graph) -> Iterator[Diagnostic]:
    """Warn once for each of the user's calls whose factors save nothing."""
    reported: set[Span] = set()
    for node in graph.nodes:
        why = node.block.wasteful(*graph.arguments(node))
        if why and site(node) not in reported:
            reported.add(site(node))
            yield warning(
                "OP0413",
                "the factors are larger than what they stand for",
                node,
                why,
                helps=("take a smaller `rank`, or `factor = dense`",),
            )
