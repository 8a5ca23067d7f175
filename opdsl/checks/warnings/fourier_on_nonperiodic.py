"""OP0411: a Fourier layer assumes that every axis is periodic."""

from collections.abc import Iterator

from opdsl.checks.warned import site, warning
from opdsl.diagnostics import Diagnostic, Label, Span
from opdsl.ir.convergence import behaviours
from opdsl.ir.ends import Behaviour
from opdsl.ir.graph import Graph, Node
from opdsl.ir.orders import Order
from opdsl.ir.spaces import Domain


def fourier_on_nonperiodic(graph: Graph) -> Iterator[Diagnostic]:
    """Warn once for each of the user's calls that transforms an axis that is not periodic."""
    reported: set[Span] = set()
    known = behaviours(graph)
    for node in graph.nodes:
        domain = _open_domain(graph, node)
        if domain is not None and site(node) not in reported:
            reported.add(site(node))
            circles = node.block.circles(*graph.arguments(node))
            inputs = tuple(known[x] for x in node.inputs)
            yield _warning(graph, node, domain, _open_axes(domain, circles), inputs)


def closes_ends(graph: Graph, node: Node) -> bool:
    """Return whether the node treats an axis with two ends as periodic."""
    return _open_domain(graph, node) is not None


def _open_domain(graph: Graph, node: Node) -> Domain | None:
    """Return the domain that the node transforms, if not all of its axes are periodic."""
    circles = node.block.circles(*graph.arguments(node))
    if not any(circles):
        return None
    domains = [*(x.domain for x in graph.arguments(node)), node.space.domain]
    return next((x for x in domains if x.regular and _open_axes(x, circles)), None)


def _open_axes(domain: Domain, circles: tuple[bool, ...]) -> list[str]:
    """Return the names of the axes that are treated as periodic and are not."""
    triples = zip(domain.axes, domain.periodic, circles, strict=False)
    return [axis.name for axis, closed, circle in triples if circle and not closed]


def _warning(
    graph: Graph, node: Node, domain: Domain, axes: list[str], inputs: tuple[Behaviour, ...]
) -> Diagnostic:
    names = " and ".join(f"`{x}`" for x in axes)
    part = next(x for x in domain.parts if not all(x.periodic))
    place = graph.places.get(part.name)
    ends = f"{names} {'has' if len(axes) == 1 else 'have'} two ends"
    declaration = (Label(place, ends),) if place else ()
    spaces = graph.arguments(node)
    own = node.block.convergence_order(inputs, *spaces)
    better = node.block.better_basis(inputs, *spaces)
    return warning(
        "OP0411",
        f"`{node.keyword}` acts on `{domain}`, which is not periodic",
        node,
        f"assumes that {names} {'is' if len(axes) == 1 else 'are'} periodic",
        *declaration,
        notes=(
            "the jump from one end to the other rings through the function (Gibbs)",
            *((f"the order of convergence is {own}",) if own else ()),
        ),
        helps=(
            *_basis(better),
            (
                f"continue it on `domain E = extend({part.name}, fraction = 0.25)`: "
                f"`pad(to = E)` before, `crop(to = {part.name})` behind"
            ),
            f"or say that it closes: `domain {part.name} = grid(..., boundary = periodic)`",
        ),
    )


def _basis(better: tuple[str, Order] | None) -> tuple[str, ...]:
    if better is None:
        return ()
    basis, order = better
    return (f"use functions that fit two ends: `basis = {basis}`, of order {order}",)
