"""The drawing of a graph: boxes in frames and arrows between them, before any format.

Equal iterations of a repeat are drawn once with their number, bindings have no frame, and blocks
below the chosen depth are closed to one box.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from opdsl.diagnostics import Span
from opdsl.ir.display import parameters, telling
from opdsl.ir.graph import Graph, Node, Port
from opdsl.ir.outline import Group, Outline, outline
from opdsl.ir.spaces import Space
from opdsl.render.style import BoxStyle

SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
CHAIN = 5  # most operations whose names a closed box lists
READABLE = 20  # most boxes of a drawing, unless the caller chooses a depth


@dataclass(frozen=True, slots=True)
class DrawingBox:
    """One operation, one closed block, or an input or output of the model.

    Attributes:
        details: short texts below the title.
        tooltip: lines that a viewer shows on request.
        closed: the box stands for a block with more inside.
    """

    key: str  # a path; `in/a` and `out/u` for ports
    title: str
    kind: BoxStyle
    details: tuple[str, ...] = ()
    tooltip: tuple[str, ...] = ()
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """A block that is drawn open."""

    key: str
    title: str
    children: tuple[Frame | DrawingBox, ...]
    tooltip: tuple[str, ...] = ()
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Arrow:
    """A function that goes from box `tail` to box `head`; `label` is its space, or empty."""

    tail: str
    head: str
    label: str


@dataclass(frozen=True, slots=True)
class FoldedGraph:
    """The content of a drawing, the input of every output format.

    Attributes:
        title: name of the model.
        doc: the doc text of the model, or empty.
        inputs, outputs: the ports of the model.
        children: frames and boxes between the ports.
        arrows: arrows from box to box.
    """

    title: str
    doc: str
    inputs: tuple[DrawingBox, ...]
    outputs: tuple[DrawingBox, ...]
    children: tuple[Frame | DrawingBox, ...]
    arrows: tuple[Arrow, ...]


def folded_drawing(graph: Graph, depth: int | None = None) -> FoldedGraph:
    """Decide what is drawn of a graph; `depth` as for `render`."""
    contents = outline(graph)
    items = contents.children
    children = _readable(items, graph) if depth is None else _all_drawn(items, graph, depth)
    homes = {x.name: _Home(f"in/{x.name}") for x in graph.inputs}
    for item, drawn in zip(items, children, strict=True):
        homes |= {node.path: home for node, home in _homes(item, drawn, "")}
    return FoldedGraph(
        title=graph.name,
        doc=graph.doc or "",
        inputs=tuple(_port(x, "in") for x in graph.inputs),
        outputs=tuple(_port(x, "out") for x in graph.outputs),
        children=children,
        arrows=tuple(_labelled(list(_connections(graph, contents, homes)))),
    )


def space_text(space: Space) -> str:
    """Write a space for a drawing: `D → R⁶⁴`."""
    return f"{space.domain} → R{str(space.channels).translate(SUPERSCRIPT)}"


# --------------------------------------------------------------- what is drawn


def _readable(items: tuple[Group | Node, ...], graph: Graph) -> tuple[Frame | DrawingBox, ...]:
    """Open as many blocks as one drawing can hold; those that act pointwise stay closed."""
    levels = max((_levels(x) for x in items), default=0)
    drawings = (_all_drawn(items, graph, d, quiet=True) for d in range(levels, -1, -1))
    drawn: tuple[Frame | DrawingBox, ...] = ()
    for drawn in drawings:
        if sum(map(_boxes, drawn)) <= READABLE:
            break
    return drawn


def _levels(item: Group | Node) -> int:
    return 1 + max(map(_levels, item.children)) if isinstance(item, Group) else 0


def _boxes(item: Frame | DrawingBox) -> int:
    return sum(map(_boxes, item.children)) if isinstance(item, Frame) else 1


def _all_drawn(
    items: Iterable[Group | Node], graph: Graph, depth: int, *, quiet: bool = False
) -> tuple[Frame | DrawingBox, ...]:
    return tuple(_drawn(x, graph, depth, quiet) for x in items)


def _drawn(item: Group | Node, graph: Graph, depth: int, quiet: bool) -> Frame | DrawingBox:
    if isinstance(item, Node):
        return _operation(item, graph)
    if depth <= 0 or (quiet and all(_kind(x, graph) == "pointwise" for x in item.nodes())):
        return _closed(item, graph)
    inside = _all_drawn(item.children, graph, depth - 1, quiet=quiet)
    dashed = item.scope.kind in {"residual", "iteration"}
    return Frame(item.scope.path, item.title, inside, _about(item), dashed)


def _operation(node: Node, graph: Graph) -> DrawingBox:
    title = node.block.label()
    details = tuple(x for x in telling(node, graph.arguments(node)) if x != title)
    return DrawingBox(node.path, title, _kind(node, graph), details, _node_tooltip(node))


def _closed(group: Group, graph: Graph) -> DrawingBox:
    nodes = list(group.nodes())
    kinds = [_kind(x, graph) for x in nodes]
    order: tuple[BoxStyle, ...] = ("integral", "resolution", "pointwise", "join", "source")
    kind = next(x for x in order if x in kinds)
    main = nodes[kinds.index(kind)]
    integral = kind == "integral"
    details = telling(main, graph.arguments(main)) if integral else _chain(nodes, graph)
    return DrawingBox(group.scope.path, group.title, kind, details, _about(group), closed=True)


def _chain(nodes: list[Node], graph: Graph) -> tuple[str, ...]:
    if len(nodes) > CHAIN:
        return (f"{len(nodes)} operations",)
    return (" · ".join(_operation(x, graph).title for x in nodes),)


def _kind(node: Node, graph: Graph) -> BoxStyle:
    """Return the kind of box: that of the block, else the one that its signature suggests."""
    x = graph.arguments(node)
    if node.block.drawn_as is not None:
        return node.block.drawn_as
    if not x:
        return "source"
    if node.block.bounds(*x):
        return "integral"
    if len(x) > 1:
        return "join"
    return "pointwise" if x[0].domain == node.space.domain else "resolution"


def _port(port: Port, side: str) -> DrawingBox:
    names = ", ".join(port.space.components or ())
    details = (space_text(port.space), names) if names else (space_text(port.space),)
    word = "input" if side == "in" else "output"
    tooltip = (f"{word} {port.name}", str(port.space), *_text(port.doc), *_place(port.span))
    return DrawingBox(f"{side}/{port.name}", port.name, "port", details, tooltip)


# -------------------------------------------------------------------- tooltips


def _node_tooltip(node: Node) -> tuple[str, ...]:
    values = (f"{name} = {value}" for name, value in parameters(node.block).items())
    head = f"{node.path}: {node.keyword}"
    return (head, str(node.space), *values, *_place(node.spans[0]))


def _about(group: Group) -> tuple[str, ...]:
    scope = group.scope
    return (f"{scope.path}: {group.title}", *_text(scope.doc), *_place(scope.span))


def _text(doc: str | None) -> tuple[str, ...]:
    return (doc,) if doc else ()


def _place(span: Span | None) -> tuple[str, ...]:
    return (f"{span.source.name}:{span.line}",) if span else ()


# ---------------------------------------------------------------------- arrows


@dataclass(frozen=True, slots=True)
class _Home:
    """The box that shows a node, and the frame around it."""

    box: str
    frame: str = ""


@dataclass(frozen=True, slots=True)
class _Connection:
    """An arrow without the decision about its label."""

    tail: _Home
    head: _Home
    space: str


def _homes(
    item: Group | Node, drawn: Frame | DrawingBox, frame: str
) -> Iterator[tuple[Node, _Home]]:
    if isinstance(item, Node):
        yield item, _Home(drawn.key, frame)
    elif isinstance(drawn, DrawingBox):
        yield from ((x, _Home(drawn.key, frame)) for x in item.nodes())
    else:
        for child, inner in zip(item.children, drawn.children, strict=True):
            yield from _homes(child, inner, drawn.key)


def _connections(graph: Graph, contents: Outline, homes: dict[str, _Home]) -> Iterator[_Connection]:
    for node in graph.nodes:
        head = homes.get(node.path)  # None: the node is in an iteration that is not drawn
        for source in node.inputs if head else ():
            tail = homes[contents.stand_in(source)]
            if head and tail.box != head.box:  # no arrows inside a closed box
                yield _Connection(tail, head, space_text(graph.spaces[source]))
    for port in graph.outputs:
        tail = homes[contents.stand_in(port.source)]
        yield _Connection(tail, _Home(f"out/{port.name}"), space_text(port.space))


def _labelled(connections: list[_Connection]) -> Iterator[Arrow]:
    """Yield one arrow for each pair of boxes.

    A label stands where a space is new or enters another frame, once for all arrows of a box that
    go the same way. Ports show their space themselves.
    """
    arriving: dict[str, set[str]] = defaultdict(set)
    for way in connections:
        arriving[way.head.box].add(way.space)
    pairs, labels = set(), set()
    for way in connections:
        pair, label = (way.tail.box, way.head.box), (way.tail.box, way.head.frame, way.space)
        old = way.tail.frame == way.head.frame and arriving.get(way.tail.box) == {way.space}
        if pair not in pairs:
            yield Arrow(*pair, "" if old or label in labels or _at_port(way) else way.space)
        pairs.add(pair)
        labels.add(label)


def _at_port(way: _Connection) -> bool:
    return way.tail.box.startswith("in/") or way.head.box.startswith("out/")
