"""Drawings as DOT text, built with the graphviz package.

Texts of the user are escaped here: for HTML in labels, for escape strings in tooltips.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from opdsl.render.fold import DrawingBox, FoldedGraph, Frame
from opdsl.render.style import FONT, FRAME, GROUND, INK, LINE, LOOKS, QUIET, DrawingDirection

if TYPE_CHECKING:
    from graphviz import Digraph

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # not allowed in XML
DETAIL_WIDTH = 28  # characters in one line of a box
DOC_WIDTH = 64
NO_BREAK = "\N{NO-BREAK SPACE}"


def dot(drawing: FoldedGraph, direction: DrawingDirection = "down") -> str:
    """Write a drawing as DOT text."""
    from graphviz import Digraph

    graph = Digraph(
        name=_plain(drawing.title),
        graph_attr=_graph_look(drawing, direction),
        node_attr={"fontname": FONT, "fontsize": "13", "fontcolor": INK, "margin": "0.16,0.07"},
        edge_attr={
            "fontname": FONT,
            "fontsize": "10",
            "fontcolor": QUIET,
            "color": LINE,
            "arrowsize": "0.7",
        },
    )
    _rank(graph, "min", drawing.inputs)
    for child in drawing.children:
        _draw(graph, child)
    _rank(graph, "max", drawing.outputs)
    for arrow in drawing.arrows:
        label = _html(f" {arrow.label}") if arrow.label else None
        graph.edge(_quoted(arrow.tail), _quoted(arrow.head), label=label)
    text: str = graph.source
    return text


def _graph_look(drawing: FoldedGraph, direction: DrawingDirection) -> dict[str, str]:
    return {
        "label": _title(drawing),
        "labelloc": "t",
        "fontname": FONT,
        "fontcolor": INK,
        "bgcolor": "white",
        "rankdir": "TB" if direction == "down" else "LR",
        "nodesep": "0.3",
        "ranksep": "0.38",
        "pad": "0.2",
        "tooltip": _tooltip((drawing.title, drawing.doc)),
    }


def _title(drawing: FoldedGraph) -> str:
    doc = textwrap.wrap(_plain(drawing.doc), DOC_WIDTH)
    return _lines((_bold(drawing.title, 19), *(_quiet(x, 12) for x in doc), " "))


def _rank(graph: Digraph, rank: str, ports: Iterable[DrawingBox]) -> None:
    with graph.subgraph() as row:
        row.attr(rank=rank)
        for port in ports:
            _draw(row, port)


def _draw(graph: Digraph, item: Frame | DrawingBox) -> None:
    if isinstance(item, DrawingBox):
        graph.node(_quoted(item.key), label=_label(item), **_box_look(item))
        return
    with graph.subgraph(name=f"cluster_{item.key}") as inner:
        inner.attr(label=_html(item.title), **_frame_look(item))
        for child in item.children:
            _draw(inner, child)


def _frame_look(frame: Frame) -> dict[str, str]:
    return {
        "style": "rounded,dashed" if frame.dashed else "rounded,filled",
        "fillcolor": GROUND,
        "color": FRAME,
        "fontname": FONT,
        "fontsize": "12",
        "fontcolor": QUIET,
        "labelloc": "b",  # as on the plates of graphical models, out of the way of the arrows
        "labeljust": "r",
        "margin": "12",
        "tooltip": _tooltip(frame.tooltip),
    }


def _box_look(box: DrawingBox) -> dict[str, str]:
    look = LOOKS[box.kind]
    shape = {"shape": "box", "style": "rounded,filled" if box.kind == "port" else "filled"}
    if box.title == "+":
        shape = {"shape": "circle", "style": "filled", "margin": "0", "width": "0.34"}
        shape |= {"fixedsize": "true"}
    return shape | {
        "fillcolor": look.fill,
        "color": look.border,
        "penwidth": "2" if box.closed else "1.1",
        "tooltip": _tooltip(box.tooltip),
    }


def _label(box: DrawingBox) -> str:
    # `textwrap` does not break at no-break spaces, so each parameter stays on one line
    details = ", ".join(x.replace(" ", NO_BREAK) for x in box.details)
    wrapped = textwrap.wrap(_plain(details), DETAIL_WIDTH, break_long_words=False)
    return _lines((_bold(box.title, 13), *(_quiet(x, 10) for x in wrapped)))


def _lines(lines: tuple[str, ...]) -> str:
    """Join lines as a table, which separates them better than a line break."""
    if len(lines) == 1:
        return f"<{lines[0]}>"
    rows = "".join(f"<TR><TD>{x}</TD></TR>" for x in lines)
    return f'<<TABLE BORDER="0" CELLPADDING="1" CELLSPACING="0">{rows}</TABLE>>'


def _bold(text: str, size: int) -> str:
    return f'<FONT POINT-SIZE="{size}"><B>{_xml(text)}</B></FONT>'


def _quiet(text: str, size: int) -> str:
    return f'<FONT POINT-SIZE="{size}" COLOR="{QUIET}">{_xml(text)}</FONT>'


def _html(text: str) -> str:
    return f"<{_xml(text)}>"


def _xml(text: str) -> str:
    # Graphviz expands escapes such as `\N` in HTML labels too
    return html.escape(_plain(text)).replace("\\", "\\\\")


def _plain(text: str) -> str:
    return CONTROL.sub("", text)


def _quoted(key: str) -> str:
    # the package reads `a:b` as node and port; a key without a colon is unchanged
    return key.replace(":", "_")


def _tooltip(lines: Iterable[str]) -> str:
    from graphviz import escape, nohtml

    text: str = nohtml("\\n".join(escape(_plain(x)) for x in lines))
    return text
