"""The order in which a model converges under refinement, and what its results do at the ends."""

from __future__ import annotations

from typing import Any

from opdsl.ir import ends
from opdsl.ir.ends import Behaviour, describe
from opdsl.ir.graph import Graph, Node, Port
from opdsl.ir.live import live
from opdsl.ir.orders import EXACT, SPECTRAL, Order, order_text
from opdsl.records import value


@value
class Convergence:
    """The order of convergence of a model for smooth inputs with the declared ends.

    Attributes:
        order: the least order of the nodes; None: that of a node is not known.
        node: the first node that has this order; None if no node has an error of discretisation.
        at_ends: what is known at the ends, for each output with its port.
    """

    order: Order | None
    node: Node | None
    at_ends: tuple[tuple[Port, Behaviour], ...]

    @property
    def text(self) -> str:
        """The order as text, with its cause: `2, u.k: the trapezoidal rule on x`."""
        if self.order is None:
            assert self.node is not None
            return f"not known, since that of `{self.node.path}` ({self.node.keyword}) is not"
        if self.node is None:
            return "spectral"
        return f"{order_text(self.order.value)}, `{self.node.path}`: {self.order.why}"

    @property
    def diverging(self) -> tuple[Node, str] | None:
        """The node and the reason if the order is not positive, so that there is no limit."""
        if self.order is None or self.node is None or self.order.value > 0:
            return None
        return self.node, f"has no limit: {self.order.why}"

    @property
    def end_texts(self) -> tuple[str, ...]:
        """The facts at the ends of outputs as text: `u vanishes at both ends of x and y`."""
        known = ((x.name, describe(x.space.domain, at)) for x, at in self.at_ends)
        return tuple(f"{name} {', '.join(texts)}" for name, texts in known if texts)

    @property
    def place(self) -> str | None:
        """The place of the user's own call that leads to the node, as `file:line`."""
        if self.node is None:
            return None
        span = self.node.spans[0]
        return f"{span.source.name}:{span.line}"

    def to_json(self) -> dict[str, Any]:
        """Convert to plain data: the order as a number, "spectral" or null; null is unknown."""
        order = None if self.order is None else self.order.value
        return {
            "order": {
                "value": "spectral" if order == SPECTRAL else order,
                "node": self.node.path if self.node else None,
                "because": self.text,
                "at": self.place,
            },
            "ends": list(self.end_texts),
        }


def behaviours(graph: Graph) -> dict[str, Behaviour]:
    """Return what is known at the ends of every input and node, by name or path."""
    known = {x.name: of_port(x) for x in graph.inputs}
    for node in graph.nodes:
        inputs = tuple(known[x] for x in node.inputs)
        at = node.block.behaviour_at_ends(inputs, *graph.arguments(node))
        # many blocks return the behaviour of their input; their result is not coordinates
        known[node.path] = Behaviour(at.axes, at.smoothness) if node.inputs else at
    return known


def of_port(port: Port) -> Behaviour:
    """Return what an input or output declares at the ends."""
    domain = port.space.domain
    return ends.free(domain) if port.ends is None else ends.declared(domain, port.ends)


def converge(graph: Graph) -> Convergence:
    """Compute the order of convergence of a graph; a node that no output needs has no influence."""
    known = behaviours(graph)
    order: Order | None = EXACT
    cause = None
    for node in live(graph):
        inputs = tuple(known[x] for x in node.inputs)
        own = node.block.convergence_order(inputs, *graph.arguments(node))
        if own is None:
            order, cause = None, node
            break
        if order is not None and own.value < order.value:
            order, cause = own, node
    return Convergence(order, cause, tuple((x, known[x.source]) for x in graph.outputs))
