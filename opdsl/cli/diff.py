"""`opdsl diff`: the differences between two models."""

from __future__ import annotations

from typing import Annotated

import typer

from opdsl.cli.completion import programs
from opdsl.cli.console import result, show_json
from opdsl.cli.options import Json, Model
from opdsl.diagnostics import Exit


def command(
    old: Annotated[
        str,
        typer.Argument(
            metavar="OLD",
            help="A .op file or a graph.",
            show_default=False,
            autocompletion=programs,
        ),
    ],
    new: Annotated[
        str,
        typer.Argument(
            metavar="NEW",
            help="Another .op file or graph.",
            show_default=False,
            autocompletion=programs,
        ),
    ],
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Compare two models: nodes, spaces, parameters, promises.

    Exit code 0 if both are the same function of the same weights, whatever their names and
    promises, 1 if not.

    Example: opdsl diff specs/fno_darcy.op mine.op
    """
    from opdsl.cli.files import open_graph
    from opdsl.workflow.views import diff

    difference = diff(open_graph(old, model, None), open_graph(new, model, None))
    if as_json:
        show_json(difference.to_json())
    else:
        result(str(difference))
    raise typer.Exit(Exit.OK if difference.same else Exit.FAILED)
