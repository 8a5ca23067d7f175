"""`opdsl ir`: the graph of a model as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from opdsl.cli.console import result, say
from opdsl.cli.files import write
from opdsl.cli.options import Model, Parameters, Spec


def command(
    spec: Spec,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The file to write, instead of stdout."),
    ] = None,
    model: Model = None,
    sets: Parameters = None,
) -> None:
    """Write the checked graph of a model as JSON.

    check, summary, render, compile and others read such a .json file in place of a program.

    Example: opdsl ir specs/fno_darcy.op -o fno.json
    """
    from opdsl.cli.files import open_graph
    from opdsl.workflow.texts import graph_json

    text = json.dumps(graph_json(open_graph(spec, model, sets)), indent=1, ensure_ascii=False)
    if out is None:
        result(text)
    else:
        write(out, f"{text}\n".encode())
        say(f"wrote {out}")
