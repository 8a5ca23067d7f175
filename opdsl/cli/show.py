"""`opdsl show`: a model as a flat program or as Python source."""

from __future__ import annotations

from typing import Annotated

import typer

from opdsl.cli.console import UsageError, result
from opdsl.cli.options import Model, Parameters, Spec


def command(
    spec: Spec,
    core: Annotated[
        bool, typer.Option("--core", help="Print a flat program: one primitive for each node.")
    ] = False,
    python: Annotated[
        bool, typer.Option("--python", help="Print Python source that needs torch only.")
    ] = False,
    model: Model = None,
    sets: Parameters = None,
) -> None:
    """Print what a model becomes: its core, or Python.

    The flat program is a program: it means the same function of as many weights, under the names
    that the nodes have.

    Example: opdsl show --core specs/fno_darcy.op
    """
    if core == python:
        raise UsageError("choose an output format: `--core` or `--python`")
    from opdsl.cli.files import open_graph
    from opdsl.workflow.texts import flat_program, python_source

    graph = open_graph(spec, model, sets)
    result(flat_program(graph) if core else python_source(graph))
