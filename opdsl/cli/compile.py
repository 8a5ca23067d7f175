"""`opdsl compile`: a model as a folder with fresh weights, or as Python source."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from opdsl.cli.console import UsageError, result, say
from opdsl.cli.files import write
from opdsl.cli.options import Model, Parameters, Spec


class Emit(StrEnum):
    """A kind of source to print."""

    PYTHON = "python"


def command(
    spec: Spec,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="A new folder; with --emit a file."),
    ] = None,
    emit: Annotated[
        Emit | None,
        typer.Option("--emit", metavar="KIND", help="python: source that needs torch only."),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="Seed of the weights.")
    ] = 0,
    model: Model = None,
    sets: Parameters = None,
) -> None:
    """Lower a model to PyTorch, into a folder.

    It holds fresh weights, the program, its graph and their hashes.

    Example: opdsl compile specs/fno_darcy.op -o compiled
    """
    if out is None and emit is None:
        raise UsageError("choose an output: `-o DIR`, or print the source with `--emit python`")
    from opdsl.cli.files import open_checked
    from opdsl.workflow.export import save_fresh
    from opdsl.workflow.texts import python_source

    program = open_checked(spec, model, sets)
    if emit:
        _print(python_source(program.graph), out)
        return
    assert out is not None
    result(str(save_fresh(program, out, seed)))


def _print(text: str, out: Path | None) -> None:
    if out is None:
        result(text)
    else:
        write(out, text.encode())
        say(f"wrote {out}")
