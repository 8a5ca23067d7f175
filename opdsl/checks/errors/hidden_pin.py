"""OP0307: an operator that works at one resolution only must stand on a domain that says so."""

from collections.abc import Iterator

from opdsl.diagnostics import Diagnostic, Help, Label, blame
from opdsl.ir.graph import Graph, Node
from opdsl.ir.spaces import Domain


def hidden_pin(graph: Graph) -> Iterator[Diagnostic]:
    """Report each node that would pin a domain whose resolution is free."""
    for node in graph.nodes:
        why = node.block.fixed_resolution(*graph.arguments(node))
        domains = [x.domain for x in graph.arguments(node)] or [node.space.domain]
        free = [x for x in domains if not all(axis.pinned for axis in x.axes)]
        if why and free:
            yield _fault(graph, node, free[0], why)


def _fault(graph: Graph, node: Node, domain: Domain, why: str) -> Diagnostic:
    place = graph.places.get(domain.name)
    declaration = (Label(place, "this domain is resolution-agnostic"),) if place else ()
    return Diagnostic(
        "OP0307",
        f"`{node.keyword}` would pin the resolution of `{domain}`",
        blame((Label(node.spans[-1], why), *declaration), node.spans),
        notes=("such a model can only be evaluated on the grid it was trained on",),
        helps=(
            Help("keep it a function of the point: use `coords(...)` and `linear`"),
            Help(f"or declare the pin: `{domain.kind}(..., fixed = 64)`"),
        ),
    )
