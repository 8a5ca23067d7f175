"""`opdsl runs`: the table of the runs below a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opdsl.cli.console import UsageError, result, say, show_json
from opdsl.cli.options import Json


def command(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="The folder of the runs, or of a sweep.")
    ] = Path("runs"),
    sort: Annotated[
        str,
        typer.Option("--sort", metavar="WORD", help="valid, test, seconds, parameters or name."),
    ] = "name",
    as_json: Json = False,
) -> None:
    """List runs: settings that differ, data, errors and cost.

    Example: opdsl runs sweeps/darcy --sort valid
    """
    from opdsl.workflow.experiments.runs_table import SORTS, runs

    if sort not in SORTS:
        raise UsageError(f"`--sort {sort}`: choose one of {', '.join(SORTS)}")
    table = runs(folder, sort=sort)
    for text in table.notes:
        say(f"note: {text}")
    if as_json:
        show_json(table.to_json())
    else:
        result(str(table))
