"""The certificate: which resolutions a model accepts, why, and whether it converges.

For each declared domain and axis it holds the promise of the program and the bound of the
operators, each with the node and the line it comes from; and the two verdicts that must not be
confused: *shape-agnostic* (any promised resolution runs) and *convergent* (refining the grid leads
to one operator), with the order of convergence for smooth inputs.
"""

from __future__ import annotations

from dataclasses import replace

from opdsl.ir.axes import Axis
from opdsl.ir.block import Bound
from opdsl.ir.convergence import Convergence, converge
from opdsl.ir.graph import Graph, Node
from opdsl.ir.spaces import Domain
from opdsl.records import value


@value
class Cause:
    """A bound, traced to its node: the declared domain needs at least `points` points."""

    node: Node
    bound: Bound
    points: int

    @property
    def text(self) -> str:
        """The cause as text: `u.repeat.0.fourier_layer.k keeps |k| <= 16 on D`."""
        return f"`{self.node.path}` keeps {self.bound.keeps} on {self.bound.domain}"

    @property
    def place(self) -> str:
        """The place of the user's own call, as `file:line`."""
        span = self.node.spans[0]
        return f"{span.source.name}:{span.line}"


@value
class AxisPromise:
    """The promise and the bound on an axis of a declared domain; `cause` is the tightest bound."""

    domain: Domain
    axis: Axis
    cause: Cause | None

    @property
    def needed(self) -> int:
        """The smallest resolution at which the operators work."""
        return self.cause.points if self.cause else 1

    @property
    def holds(self) -> bool:
        """Whether the operators work at every promised resolution."""
        return self.axis.least >= self.needed


@value
class Certificate:
    """The resolutions that a graph accepts, and whether it converges under refinement.

    Attributes:
        causes: every bound, in the order of the nodes.
        pinned: for each declared domain or node that allows one resolution only, why.
        diverging: the nodes without a limit under refinement, each with the reason.
        convergence: the order of convergence, and what the outputs do at the ends.
        measured: the declared domains of points over which a node integrates.
    """

    model: str
    causes: tuple[Cause, ...]
    promises: tuple[AxisPromise, ...]
    pinned: tuple[str, ...]
    diverging: tuple[tuple[Node, str], ...]
    operators: int
    convergence: Convergence
    measured: tuple[Domain, ...] = ()

    @property
    def agnostic(self) -> bool:
        """Whether any promised resolution is accepted."""
        return not self.pinned

    @property
    def convergent(self) -> bool:
        """Whether refinement leads to one operator."""
        return self.agnostic and not self.diverging


def certify(graph: Graph) -> Certificate:
    """Compute the certificate of a graph."""
    causes = _causes(graph)
    promises = tuple(
        AxisPromise(domain, axis, _tightest(causes, domain, i))
        for domain in graph.domains
        for i, axis in enumerate(domain.axes)
    )
    reasons = ((n, n.block.diverges(*graph.arguments(n))) for n in graph.nodes)
    diverging = tuple((n, why) for n, why in reasons if why)
    pinned, operators = _pinned(graph), len(graph.nodes)
    measured = _measured(graph)
    order = converge(graph)
    if order.diverging:
        diverging += (order.diverging,)
    return Certificate(graph.name, causes, promises, pinned, diverging, operators, order, measured)


def _causes(graph: Graph) -> tuple[Cause, ...]:
    return tuple(
        Cause(node, bound, bound.domain.least_root(bound.axis, bound.points))
        for node in graph.nodes
        for bound in map(
            _on_its_part,
            (*node.block.bounds(*graph.arguments(node)), *_not_empty(node.space.domain)),
        )
    )


def _on_its_part(bound: Bound) -> Bound:
    """Turn a bound on a product into one on the factor that has the axis."""
    part, axis = bound.domain.part(bound.axis)
    return replace(bound, domain=part, axis=axis)


def _not_empty(domain: Domain) -> tuple[Bound, ...]:
    """Require that a coarsened grid still has a point on each axis."""
    note = "divisions round down: at least 1 sample is left"
    return tuple(
        Bound(part, i, 1, "one point", note, cure=str, what="divisions")
        for part in domain.parts
        if part.steps
        for i in range(part.dims)
    )


def _tightest(causes: tuple[Cause, ...], domain: Domain, axis: int) -> Cause | None:
    on_axis = [x for x in causes if x.bound.domain.name == domain.name and x.bound.axis == axis]
    return max(on_axis, key=lambda x: x.points, default=None)


def _measured(graph: Graph) -> tuple[Domain, ...]:
    domains = (x for n in graph.nodes for x in n.block.integrates(*graph.arguments(n)))
    names = {x.name for whole in domains for x in whole.declared if x.scattered}
    return tuple(x for x in graph.domains if x.name in names)


def _pinned(graph: Graph) -> tuple[str, ...]:
    declared = tuple(
        f"{domain.name}.{axis.name} has {axis.fixed or axis.size} points"
        for domain in graph.domains
        for axis in domain.axes
        if axis.pinned
    )
    nodes = ((n, n.block.fixed_resolution(*graph.arguments(n))) for n in graph.nodes)
    return declared + tuple(f"`{n.path}` {why}" for n, why in nodes if why)
