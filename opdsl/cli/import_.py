"""`opdsl import`: models of other libraries as programs, with their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opdsl.cli.console import result, say
from opdsl.cli.files import write


def neuralop(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A call in quotes, a config (.yaml, .json), a file of weights (.pt) or a folder.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="PATH", help="A new .op file, or a folder for weights."
        ),
    ] = None,
    call: Annotated[
        str | None,
        typer.Option(
            "--call", metavar="CALL", help="The constructor call, for weights without one."
        ),
    ] = None,
    corrected: Annotated[
        bool, typer.Option("--corrected", help="Correct the faults of neuraloperator.")
    ] = False,
    latent: Annotated[
        int | None,
        typer.Option("--latent", metavar="N", help="Points on each axis of GINO's latent grid."),
    ] = None,
    variables: Annotated[
        str | None,
        typer.Option(
            "--variables", metavar="N|NAMES", help="Variables of CODANO: how many, or `ux,uy,p`."
        ),
    ] = None,
) -> None:
    """A model of neuraloperator as a program, and its weights as ours.

    Where neuraloperator is wrong the program is, too, because the weights were trained so; the
    notes at its head say where. With --corrected it is right.

    Example: opdsl import neuralop "FNO((16, 16), 1, 1, 64, norm='group_norm')" -o fno.op
    """
    from opdsl.workflow.neuralop import import_neuralop

    model = import_neuralop(
        source, call=call, corrected=corrected, latent=latent, variables=_variables(variables)
    )
    for note in model.notes:
        say(f"note: {note}")
    if model.weights is not None and out is not None and out.suffix != ".op":
        result(str(model.save(out)))
    elif out is not None:
        write(out, model.text.encode())
        say(f"wrote {out}")
    else:
        result(model.text)


def _variables(text: str | None) -> int | list[str] | None:
    """Parse a number of variables, or their names."""
    if text is None:
        return None
    return int(text) if text.isdecimal() else [x.strip() for x in text.split(",")]
