"""`opdsl init`: a first program for a data file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opdsl.cli.console import result, say
from opdsl.cli.files import SUFFIX, write
from opdsl.diagnostics import fault


def command(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A data file or folder.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The program; DATA.op if not given."),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME", help="What the model takes; repeatable."),
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option("--output", metavar="NAME", help="What the model returns; repeatable."),
    ] = None,
) -> None:
    """Write a first program for a data file.

    It has the domain, inputs, outputs, a data block and layers. What the file does not state is not
    guessed: name inputs and outputs with options.

    Example: opdsl init flow.h5 -o flow.op
    """
    from opdsl.workflow.first_program.program_text import first_program

    path = out or Path(f"{Path(data).stem}{SUFFIX}")
    if path.exists():
        message = "there is such a file already, and it stays as it is"
        raise fault("OP0625", message, helps=("choose another name: `-o NAME.op`",), file=str(path))
    text = first_program(data, path.stem, inputs or (), outputs or ())
    write(path, text.encode())
    result(str(path))
    say(f"next: opdsl check {path}; opdsl train {path}")
