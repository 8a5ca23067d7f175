"""OP0411: a Fourier layer assumes that every axis is periodic."""

from collections.abc import Iterator

from opdsl.checks.warned import site, warning
from opdsl.diagnostics import Diagnostic, Label, Span
from opdsl.ir.graph import Graph, Node
from opdsl.ir.spaces import Domain


def fourier_on_nonperiodic(graph: Graph) -> Iterator[Diagnostic]:
    """Warn once for each of the user's calls that transforms an axis that is not periodic."""
    reported: set[Span] = set()
    for node in graph.nodes:
        domain = _open_domain(graph, node)
        if domain is not None and site(node) not in reported:
            reported.add(site(node))
            yield _warning(graph, node, domain)


def _open_domain(graph: Graph, node: Node) -> Domain | None:
    """Return the domain that the node transforms, if not all of its axes are periodic."""
    if not node.block.assumes_periodic:
        return None
    domains = [*(x.domain for x in graph.arguments(node)), node.space.domain]
    return next((x for x in domains if x.regular and not all(x.periodic)), None)


def _warning(graph: Graph, node: Node, domain: Domain) -> Diagnostic:
    axes = [a.name for a, closed in zip(domain.axes, domain.periodic, strict=True) if not closed]
    names = " and ".join(f"`{x}`" for x in axes)
    part = next(x for x in domain.parts if not all(x.periodic))
    place = graph.places.get(part.name)
    ends = f"{names} {'has' if len(axes) == 1 else 'have'} two ends"
    declaration = (Label(place, ends),) if place else ()
    return warning(
        "OP0411",
        f"`{node.keyword}` acts on `{domain}`, which is not periodic",
        node,
        f"assumes that {names} {'is' if len(axes) == 1 else 'are'} periodic",
        *declaration,
        notes=("the jump from one end to the other rings through the function (Gibbs)",),
        helps=(
            (
                f"continue it on `domain E = extend({part.name}, fraction = 0.25)`: "
                f"`pad(to = E)` before, `crop(to = {part.name})` behind"
            ),
            f"or say that it closes: `domain {part.name} = grid(..., boundary = periodic)`",
        ),
    )
