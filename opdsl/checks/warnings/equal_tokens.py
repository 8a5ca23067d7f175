"""OP0416: an attention over points whose values are all the same."""

from __future__ import annotations

from collections.abc import Iterator

from opdsl.checks.warned import site, warning
from opdsl.diagnostics import Diagnostic, Span
from opdsl.ir.graph import Graph, Node
from opdsl.ir.live import live


def equal_tokens(graph: Graph) -> Iterator[Diagnostic]:
    """Warn once for each of the user's calls of an attention that cannot tell points apart."""
    uniform: set[str] = set()
    reported: set[Span] = set()
    needed = {x.path for x in live(graph)}
    for node in graph.nodes:
        inputs = tuple(x in uniform for x in node.inputs)
        equal = _equal(graph, node, inputs)
        # a node with a warning counts as not uniform: its successors get no warning of their own
        if equal is None and node.block.uniform(inputs, *graph.arguments(node)):
            uniform.add(node.path)
        if equal is not None and node.path in needed and site(node) not in reported:
            reported.add(site(node))
            yield _warning(graph, node, equal)


def _equal(graph: Graph, node: Node, inputs: tuple[bool, ...]) -> int | None:
    """Return the index of the first input whose points are tokens and all have one value."""
    spaces = graph.arguments(node)
    return next((i for i in node.block.tokens if inputs[i] and spaces[i].domain.axes), None)


def _warning(graph: Graph, node: Node, index: int) -> Diagnostic:
    domain = graph.arguments(node)[index].domain
    return warning(
        "OP0416",
        f"`{node.keyword}` gets a function with one value at all points of `{domain}`",
        node,
        node.block.tokens[index],
        helps=(f"add what differs from point to point: `static(...)` or `coords({domain})`",),
    )
