"""Drawings of a graph: `render` to DOT, SVG, PNG, PDF or Mermaid.

What comes in: a checked graph. What goes out: text or bytes. The picture (`fold`) decides what is
drawn, `dot` and `mermaid` write it down, `layout` asks Graphviz to place it. No torch.
"""

from __future__ import annotations

from typing import Literal

from opdsl.ir.graph import Graph
from opdsl.render.dot import dot
from opdsl.render.fold import picture
from opdsl.render.layout import laid_out
from opdsl.render.mermaid import mermaid
from opdsl.render.style import Direction

Format = Literal["svg", "png", "pdf", "dot", "mermaid"]

__all__ = ["Format", "render"]


def render(
    graph: Graph,
    format: Format,  # noqa: A002  the word that the command line uses
    *,
    depth: int | None = None,
    direction: Direction = "down",
) -> str | bytes:
    """The drawing of a graph.

    Args:
        graph: the model.
        format: `dot`, `mermaid` and `svg` give text, `png` and `pdf` bytes.
        depth: blocks nested deeper are drawn closed; None closes those that only act pointwise.
        direction: where the data flow to, `down` or `right`.

    Raises:
        OpError: OP0640, nothing on this machine can place the nodes.
    """
    drawn = picture(graph, depth)
    if format == "mermaid":
        return mermaid(drawn, direction)
    text = dot(drawn, direction)
    return text if format == "dot" else laid_out(text, format)
