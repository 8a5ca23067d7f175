"""`opdsl show`: what a program becomes."""

from __future__ import annotations

from typing import Annotated

import typer

from opdsl.cli.console import UsageError, result
from opdsl.cli.options import Model, Parameters, Spec


def command(
    spec: Spec,
    core: Annotated[
        bool, typer.Option("--core", help="As a flat program: one primitive for each node.")
    ] = False,
    python: Annotated[
        bool, typer.Option("--python", help="As Python source that needs torch only.")
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
        raise UsageError("say as what: `--core` or `--python`")
    from opdsl.cli.programs import open_model
    from opdsl.export import emit_python, to_program

    graph = open_model(spec, model, sets).graph
    result(to_program(graph) if core else emit_python(graph))
