"""The graph of a model on a patch: its inputs have the channels of the coarser levels too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opdsl.diagnostics import Label, OpError, fault
from opdsl.ir.axes import Axis
from opdsl.ir.block import Refusal
from opdsl.ir.graph import Graph, Node, Port
from opdsl.ir.live import live
from opdsl.ir.patches.layout import Decomposition, patch_sampling
from opdsl.ir.spaces import Domain, Space

LEAVE_OUT = "leave `patches` out: the model then sees the whole domain at once"


def patched_grid(graph: Graph) -> Domain:
    """Return the grid that is divided: the domain of all inputs and outputs but vectors.

    Raises:
        OpError: OP0860, there is no such grid, or a node has a function on another domain.
    """
    grids = [x.space.domain for x in (*graph.inputs, *graph.outputs) if not _vector(x.space.domain)]
    domain = next(iter(grids), None)
    if domain is None or not any(x.space.domain == domain for x in graph.inputs):
        raise _refused(graph, "it has no input on a grid")
    for port in (*graph.inputs, *graph.outputs):
        _check_port(graph, port, domain, output=port in graph.outputs)
    for node in live(graph):
        _check_node(graph, node, domain)
    return domain


def source_nodes(graph: Graph, domain: Domain) -> tuple[Node, ...]:
    """Return the nodes without inputs on the grid, whose results are cut into patches."""
    return tuple(x for x in live(graph) if not x.inputs and x.space.domain == domain)


def patch_graph(graph: Graph, patches: Decomposition) -> Graph:
    """Move a graph to a patch of its grid.

    Inputs on the grid have `levels + 1` times their channels, those of the patch first. What has no
    input (coordinates, static fields) becomes a further input by the path of its node, without
    levels. The length of an axis is that of a patch with its overlap, before it is rounded to
    points at some resolution; see `Decomposition.lengths`.

    Raises:
        OpError: OP0860, the model has no grid that can be divided; OP0861, a block does not accept
            the channels of the levels.
    """
    domain = patched_grid(graph)
    _check_parts(graph, domain, patches)
    move = _Move(domain, patches)
    sources = source_nodes(graph, domain)
    inputs = [_widened(_on(x, move), patches.levels) for x in graph.inputs]
    ports = [Port(name=x.path, space=move.space(x.space)) for x in sources]
    spaces = {x.name: x.space for x in (*inputs, *ports)}
    nodes = []
    for node in live(graph):
        if node not in sources:
            nodes.append(_inferred(graph, node, spaces, move, patches.levels))
            spaces[node.path] = nodes[-1].space
    outputs = [_on(x, move) for x in graph.outputs]
    for port in outputs:
        if port.space.channels != spaces[port.source].channels:
            raise _wider_output(port, spaces[port.source], patches.levels)
    return Graph(
        name=graph.name,
        edition=graph.edition,
        params=graph.params,
        domains=tuple(move.domain(x) for x in graph.domains),
        inputs=(*inputs, *ports),
        outputs=tuple(outputs),
        nodes=tuple(nodes),
    )


class _Move:
    """Move domains from a grid to its patch, with all that are derived from it."""

    def __init__(self, domain: Domain, patches: Decomposition) -> None:
        axes = [_axis(x, patches.stretch(i)) for i, x in enumerate(domain.axes)]
        self.axes: dict[str, tuple[Axis, ...]] = {}
        for part in domain.parts:
            self.axes[part.name], axes = tuple(axes[: part.dims]), axes[part.dims :]

    def domain(self, domain: Domain) -> Domain:
        if domain.kind == "product":
            return Domain.product(tuple(map(self.domain, domain.factors)))
        if domain.factors:
            factors = tuple(map(self.domain, domain.factors))
            return domain.model_copy(update={"factors": factors, "axes": factors[0].axes})
        axes = self.axes.get(domain.name)
        return domain if axes is None else domain.model_copy(update={"axes": axes})

    def space(self, space: Space) -> Space:
        return space.on(self.domain(space.domain))


def _axis(axis: Axis, stretch: float) -> Axis:
    """Shorten an axis; the promises of its resolutions are those of the whole axis."""
    if stretch == 1:
        return axis
    sampling = patch_sampling(axis.points)
    return Axis(
        name=axis.name,
        lo=axis.lo,
        hi=axis.lo + stretch * (axis.hi - axis.lo),
        boundary=axis.boundary,
        sampling=axis.sampling if sampling == axis.points else sampling,
    )


def _on(port: Port, move: _Move) -> Port:
    return port.model_copy(update={"space": move.space(port.space)})


def _widened(port: Port, levels: int) -> Port:
    """Give an input the channels of the levels, whose names end with that of the level."""
    space = port.space
    if _vector(space.domain) or not levels:
        return port
    names = space.components
    if names is not None:
        coarser = (f"{x}_level{i + 1}" for i in range(levels) for x in names)
        names = (*names, *coarser)
    update = {"channels": space.channels * (levels + 1), "components": names}
    return port.model_copy(update={"space": space.model_copy(update=update)})


def _inferred(graph: Graph, node: Node, spaces: dict[str, Space], move: _Move, levels: int) -> Node:
    """Infer the space of a node again, from its inputs on the patch."""
    named = {k: move.domain(x) for k, x in node.block if isinstance(x, Domain)}
    block = node.block.model_copy(update=named) if named else node.block
    try:
        space = block.infer(*(spaces[x] for x in node.inputs))
    except Refusal as refusal:
        raise _wider(graph, node, spaces, levels, refusal) from refusal
    return node.model_copy(update={"block": block, "space": space})


# --- refusals ----------------------------------------------------------------------------------


def _vector(domain: Domain) -> bool:
    return domain.kind == "vector"


def _check_port(graph: Graph, port: Port, domain: Domain, *, output: bool) -> None:
    own, what = port.space.domain, "output" if output else "input"
    labels = (Label(port.span, f"declared here: `{port.space}`"),) if port.span else ()
    if _vector(own):
        if output:
            reason = f"the output `{port.name}` is one vector for each sample"
            raise _refused(graph, reason, labels)
        return
    plain = own.regular and not any(x.steps for x in own.parts)
    if not plain:
        reason = f"the {what} `{port.name}` is on `{own}`, and regular grids alone are divided"
        raise _refused(graph, reason, labels)
    if own != domain:
        reason = f"the {what} `{port.name}` is on `{own}`, and others are on `{domain}`"
        raise _refused(graph, reason, labels)


def _check_node(graph: Graph, node: Node, domain: Domain) -> None:
    roots = {x.name for x in domain.parts}
    for own in (node.space.domain, *_named_domains(node)):
        if any(x.name not in roots for x in own.declared):
            reason = (
                f"`{node.keyword}` (`{node.path}`) has a function on `{own}`, besides `{domain}`"
            )
            raise _refused(graph, reason, _call(node))
    own = node.space.domain
    if not node.inputs and own != domain and not _vector(own):
        reason = (
            f"`{node.keyword}` (`{node.path}`) has no input and is on `{own}`, not on `{domain}`"
        )
        raise _refused(graph, reason, _call(node))


def _named_domains(node: Node) -> Iterator[Domain]:
    yield from (x for _, x in node.block if isinstance(x, Domain))


def _check_parts(graph: Graph, domain: Domain, patches: Decomposition) -> None:
    if len(patches.parts) == domain.dims:
        return
    count = len(patches.parts)
    numbers = "1 number" if count == 1 else f"{count} numbers"
    axes = ", ".join(x.name for x in domain.axes)
    message = f"`patches.parts` has {numbers}, and `{domain}` has the axes {axes}"
    helps = ("give one number for all axes, or one for each: `parts = 2`, `parts = [2, 1]`",)
    raise fault("OP0860", message, helps=helps, file=graph.name)


def _call(node: Node) -> tuple[Label, ...]:
    return (Label(node.spans[0], f"`{node.space}`"),)


def _refused(graph: Graph, reason: str, labels: Sequence[Label] = ()) -> OpError:
    message = f"`{graph.name}` cannot be divided into patches: {reason}"
    file = None if labels else graph.name
    return fault("OP0860", message, *labels, helps=(LEAVE_OUT,), file=file)


def _wider(
    graph: Graph, node: Node, spaces: dict[str, Space], levels: int, refusal: Refusal
) -> OpError:
    sides = ", ".join(f"`{x}` : {spaces[x]}" for x in node.inputs)
    message = f"`{node.keyword}` does not accept the channels of the levels: {refusal.message}"
    widths = {x.name: x.space.channels for x in graph.inputs}
    helps = []
    if levels and any(x in widths for x in node.inputs):
        helps.append("map the input to the wanted channels before: `a |> linear(out = 1)`")
    if levels:
        helps.append("or do without coarser levels: `patches { levels = 0 }`")
    notes = (f"on a patch the operands are {sides}",)
    label = Label(node.spans[0], refusal.label or "called here")
    return fault("OP0861", message, label, notes=notes, helps=tuple(helps) or (LEAVE_OUT,))


def _wider_output(port: Port, space: Space, levels: int) -> OpError:
    message = (
        f"the output `{port.name}` has the channels of the levels: {space.channels} on a patch, "
        f"and {port.space.channels} are declared"
    )
    labels = (Label(port.span, f"declared here: `{port.space}`"),) if port.span else ()
    helps = (
        f"end with a layer that states its channels: `linear(out = {port.space.channels})`",
        f"or do without coarser levels: `patches {{ levels = 0 }}` instead of {levels}",
    )
    return fault("OP0861", message, *labels, helps=helps)
