"""`opdsl render`: a drawing of a model."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from opdsl.cli.console import UsageError, binary, result, say
from opdsl.cli.options import Model, Parameters, Spec


class DrawingFormatOption(StrEnum):
    """A format of drawings."""

    SVG = "svg"
    PNG = "png"
    PDF = "pdf"
    DOT = "dot"
    MERMAID = "mermaid"


class DirectionOption(StrEnum):
    """The direction in which data flow."""

    DOWN = "down"
    RIGHT = "right"


SUFFIXES = {f".{x}": x for x in DrawingFormatOption} | {
    ".gv": DrawingFormatOption.DOT,
    ".mmd": DrawingFormatOption.MERMAID,
}


def command(
    spec: Spec,
    format_: Annotated[
        DrawingFormatOption | None,
        typer.Option("--format", "-f", metavar="KIND", help="svg, png, pdf, dot or mermaid."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The file to write, instead of stdout."),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(
            "--depth", min=0, metavar="N", help="Draw blocks nested deeper as closed boxes."
        ),
    ] = None,
    direction: Annotated[
        DirectionOption,
        typer.Option(
            "--direction", metavar="WAY", help="The direction of the data flow: down or right."
        ),
    ] = DirectionOption.DOWN,
    model: Model = None,
    sets: Parameters = None,
) -> None:
    """Draw a model.

    Example: opdsl render specs/fno_darcy.op -o fno.svg
    """
    from opdsl.cli.files import open_graph
    from opdsl.workflow.views import render

    kind = format_ or (
        SUFFIXES.get(out.suffix, DrawingFormatOption.SVG) if out else DrawingFormatOption.SVG
    )
    if (
        out is None
        and kind in {DrawingFormatOption.PNG, DrawingFormatOption.PDF}
        and sys.stdout.isatty()
    ):
        raise UsageError(f"a terminal cannot show {kind}: name a file with `-o model.{kind}`")
    graph = open_graph(spec, model, sets)
    drawing = render(graph, kind.value, depth=depth, direction=direction.value)
    if out is not None:
        drawing.save(out)
        say(f"wrote {out}")
    elif isinstance(drawing.content, bytes):
        binary(drawing.content)
    else:
        result(drawing.content)
