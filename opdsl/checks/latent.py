"""OP0310: a domain on which no input lives must get its size from the program."""

from collections.abc import Iterator

from opdsl.diagnostics import Diagnostic, Help, Label
from opdsl.ir.graph import Graph, Node


def latent_size(graph: Graph) -> Iterator[Diagnostic]:
    """One diagnostic for each latent domain without a size, at the first node on it."""
    known = {x.space.domain.name for x in graph.inputs}
    known |= {x.name for x in graph.domains if all(axis.pinned for axis in x.axes)}
    for node in graph.nodes:
        name = node.space.domain.name
        if name not in known:
            known.add(name)
            yield _fault(graph, node, name)


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
