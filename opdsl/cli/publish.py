"""`opdsl publish`: a run as a folder for others, with a model card."""

from __future__ import annotations

from typing import Annotated

import typer

from opdsl.cli.console import result, say, show_json
from opdsl.cli.options import Json, RunArgument


def command(
    run: RunArgument,
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER", help="The new folder of the published model.", show_default=False
        ),
    ],
    last: Annotated[
        bool, typer.Option("--last", help="The last weights instead of the best.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a trained model as a folder for others.

    It has the program, the weights, the errors and a model card.

    Example: opdsl publish runs/darcy darcy-model
    """
    from opdsl.workflow.runs.opening import open_run

    trained_run = open_run(run, last=last)
    for text in trained_run.notes:
        say(f"note: {text}")
    path = trained_run.save_pretrained(folder)
    files = sorted(str(x.relative_to(path)) for x in path.rglob("*") if x.is_file())
    if as_json:
        show_json({"folder": str(path), "files": files})
    else:
        result(f"published model  {path}\nfiles            {', '.join(files)}")
