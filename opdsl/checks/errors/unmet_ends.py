"""OP0324: what an output declares at its ends must follow from how it is computed."""

from __future__ import annotations

from collections.abc import Iterator

from opdsl.diagnostics import Diagnostic, Help, Label, blame
from opdsl.ir.convergence import behaviours, of_port
from opdsl.ir.ends import Behaviour, End
from opdsl.ir.graph import Graph, Node, Port


def unmet_ends(graph: Graph) -> Iterator[Diagnostic]:
    """Report each output whose declared ends cannot be derived, once."""
    if all(x.ends is None for x in graph.outputs):
        return
    known = behaviours(graph)
    for port in graph.outputs:
        if port.ends is None:
            continue
        gap = _gap(of_port(port), known[port.source])
        if gap:
            yield _fault(graph, port, known, *gap)


def _gap(declared: Behaviour, derived: Behaviour) -> tuple[int, int, End] | None:
    """Return the first axis and end with a fact that is declared and not derived."""
    for i, (want, have) in enumerate(zip(declared.axes, derived.axes, strict=True)):
        for j, (x, y) in enumerate(zip(want.ends, have.ends, strict=True)):
            if x not in y:
                return i, j, x
    return None


def _fault(
    graph: Graph, port: Port, known: dict[str, Behaviour], axis: int, end: int, want: End
) -> Diagnostic:
    name = port.space.domain.axes[axis].name
    place = f"the {('lower', 'upper')[end]} end of {name}"
    node, source = _lost(graph, port.source, known, (axis, end), want)
    labels: list[Label] = []
    if node is not None:
        have = known[node.path].axes[axis].ends[end]
        before = f"its input {want}" if node.inputs else "it has no input"
        labels += blame((Label(node.spans[-1], f"the result {have} here; {before}"),), node.spans)
    if port.span:
        labels.append(Label(port.span, f"declared: it {want} at {place}"))
    declare = f"declare it: `input {source} : ..., ends = ...`"
    bias = node is not None and getattr(node.block, "bias", False) is True
    helps = (
        *((declare,) if node is None and source else ()),
        *(("leave out the constant: `bias = false`",) if bias else ()),
        "make it so at the end: `|> meet(boundary)`",
    )
    return Diagnostic(
        "OP0324",
        f"it does not follow that output `{port.name}` {want} at {place}",
        tuple(labels),
        notes=() if node else (f"nothing is known about the input `{source}` there",),
        helps=tuple(map(Help, helps)),
    )


def _lost(
    graph: Graph, source: str, known: dict[str, Behaviour], at: tuple[int, int], want: End
) -> tuple[Node | None, str]:
    """Return the node at which the fact is lost; None and the name of an input that lacks it."""
    while source in graph.by_path:
        node = graph.by_path[source]
        axes = len(node.space.domain.axes)
        lacking = [
            x
            for x in node.inputs
            if len(known[x].axes) == axes and want not in known[x].axes[at[0]].ends[at[1]]
        ]
        if not lacking:
            return node, source
        source = lacking[0]
    return None, source
