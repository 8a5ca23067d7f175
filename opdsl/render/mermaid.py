"""Drawings as Mermaid flowcharts, which Markdown viewers draw; one subgraph for each frame."""

from __future__ import annotations

from collections.abc import Iterator

from opdsl.render.fold import DrawingBox, FoldedGraph, Frame
from opdsl.render.style import INK, LOOKS, DrawingDirection

ENTITIES = str.maketrans(
    {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;", "\\": "#92;"}
)


def mermaid(drawing: FoldedGraph, direction: DrawingDirection = "down") -> str:
    """Write a drawing as a flowchart, its title as front matter."""
    names = _names(drawing)
    lines = ["---", f'title: "{_front_matter(drawing.title)}"', "---"]
    lines.append(f"flowchart {'TD' if direction == 'down' else 'LR'}")
    for box in (*drawing.inputs, *drawing.children, *drawing.outputs):
        lines += _lines(box, names, "  ")
    lines += [f"  {names[x.tail]} {_arrow(x.label)} {names[x.head]}" for x in drawing.arrows]
    lines += [
        f"  classDef {kind} fill:{look.fill},stroke:{look.border},color:{INK}"
        for kind, look in LOOKS.items()
    ]
    return "\n".join(lines) + "\n"


def _names(drawing: FoldedGraph) -> dict[str, str]:
    """Map each box and frame to a short name: a path may contain reserved words of Mermaid."""
    items = (*drawing.inputs, *drawing.children, *drawing.outputs)
    return {key: f"n{i}" for i, key in enumerate(key for x in items for key in _keys(x))}


def _keys(item: Frame | DrawingBox) -> Iterator[str]:
    yield item.key
    if isinstance(item, Frame):
        for child in item.children:
            yield from _keys(child)


def _lines(item: Frame | DrawingBox, names: dict[str, str], indent: str) -> Iterator[str]:
    name = names[item.key]
    if isinstance(item, DrawingBox):
        left, right = _brackets(item)
        text = "<br/>".join(_text(x) for x in (item.title, ", ".join(item.details)) if x)
        yield f'{indent}{name}{left}"{text}"{right}:::{item.kind}'
        return
    yield f'{indent}subgraph {name}["{_text(item.title)}"]'
    for child in item.children:
        yield from _lines(child, names, indent + "  ")
    yield f"{indent}end"


def _brackets(box: DrawingBox) -> tuple[str, str]:
    if box.title == "+":
        return "((", "))"
    if box.kind == "port":
        return "([", "])"
    return ("[[", "]]") if box.closed else ("[", "]")


def _arrow(label: str) -> str:
    return f'-->|"{_text(label)}"|' if label else "-->"


def _text(text: str) -> str:
    return _one_line(text).translate(ENTITIES)


def _front_matter(text: str) -> str:
    return _one_line(text).replace("\\", "\\\\").replace('"', '\\"')


def _one_line(text: str) -> str:
    return " ".join("".join(x for x in text if x.isprintable() or x.isspace()).split())
