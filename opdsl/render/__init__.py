"""Drawings of a graph: `render` to DOT, SVG, PNG, PDF or Mermaid.

`fold` decides what is drawn, `dot` and `mermaid` write it as text, `layout` lets Graphviz place it.
Nothing here imports torch.
"""

from __future__ import annotations

from typing import Literal

from opdsl.ir.graph import Graph
from opdsl.render.dot import dot
from opdsl.render.fold import folded_drawing
from opdsl.render.layout import laid_out
from opdsl.render.mermaid import mermaid
from opdsl.render.style import DrawingDirection

DrawingFormat = Literal["svg", "png", "pdf", "dot", "mermaid"]

__all__ = ["DrawingFormat", "render"]


def render(
    graph: Graph,
    format: DrawingFormat,  # noqa: A002  the word that the command line uses
    *,
    depth: int | None = None,
    direction: DrawingDirection = "down",
) -> str | bytes:
    """Draw a graph.

    Args:
        graph: the model.
        format: `dot`, `mermaid` and `svg` give text, `png` and `pdf` bytes.
        depth: blocks nested deeper are drawn closed; None opens as many as stay readable.
        direction: of the data flow, `down` or `right`.

    Raises:
        OpError: OP0640, no Graphviz is installed.
    """
    drawn = folded_drawing(graph, depth)
    if format == "mermaid":
        return mermaid(drawn, direction)
    text = dot(drawn, direction)
    return text if format == "dot" else laid_out(text, format)
