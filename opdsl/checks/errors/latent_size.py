"""OP0310: a domain on which no input lives must get its size from the program."""

from collections.abc import Iterator

from opdsl.diagnostics import Diagnostic, Help, Label
from opdsl.ir.graph import Graph, Node


def latent_size(graph: Graph) -> Iterator[Diagnostic]:
    """Report each latent domain without a size, at the first node on it."""
    sized = {y.name for x in graph.inputs for y in x.space.domain.declared}
    sized |= {y.name for x in graph.side_inputs() for y in x.domain.declared}
    for node in graph.nodes:
        for domain in node.space.domain.declared:
            if domain.name not in sized and not all(axis.pinned for axis in domain.axes):
                yield _fault(graph, node, domain.name)
            sized.add(domain.name)  # reported once is enough


def _fault(graph: Graph, node: Node, name: str) -> Diagnostic:
    place = graph.places.get(name, node.spans[0])
    return Diagnostic(
        "OP0310",
        f"nothing says how many points `{name}` has",
        (
            Label(place, "no input lives on this domain"),
            Label(node.spans[0], "but it is needed here"),
        ),
        notes=("a domain gets its resolution from the data of an input, or from the program",),
        helps=(Help("give it one: `size = 64`"),),
    )
