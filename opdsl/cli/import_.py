"""`opdsl import`: models of other libraries as programs, with their weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opdsl.cli.console import UsageError, result, say
from opdsl.cli.files import write

if TYPE_CHECKING:
    from torch import Tensor

    from opdsl.migrate.neuralop import Call

CONFIGS = (".yaml", ".yml", ".json")


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
            "--out", "-o", metavar="PATH", help="A new .op file, or with weights a folder."
        ),
    ] = None,
    call: Annotated[
        str | None,
        typer.Option("--call", metavar="CALL", help="Of weights that do not say what they are of."),
    ] = None,
    corrected: Annotated[
        bool, typer.Option("--corrected", help="Be right where neuraloperator is wrong.")
    ] = False,
    latent: Annotated[
        int | None,
        typer.Option("--latent", metavar="N", help="Points on each axis of GINO's latent grid."),
    ] = None,
    variables: Annotated[
        str | None,
        typer.Option("--variables", metavar="N|NAMES", help="Of CODANO: how many, or `ux,uy,p`."),
    ] = None,
) -> None:
    """A model of neuraloperator as a program, and its weights as ours.

    Where neuraloperator is wrong the program is, too, because the weights were trained so; the
    notes at its head say where. With --corrected it is right.

    Example: opdsl import neuralop "FNO((16, 16), 1, 1, 64, norm='group_norm')" -o fno.op
    """
    from opdsl.migrate.neuralop import import_call, read_call

    found, weights = _read(source)
    if call is not None:
        found = read_call(call)
    if found is None:
        raise UsageError(
            f"`{source}` does not say which model its weights are of: name the call that made it, "
            '`--call "FNO((16, 16), 1, 1, 64)"`'
        )
    called = found.also(latent=latent, variables=_variables(variables))
    made = import_call(called, weights, corrected=corrected)
    for note in made.notes:
        say(f"note: {note}")
    if weights is not None and out is not None and out.suffix != ".op":
        from opdsl.export import save_compiled
        from opdsl.migrate.neuralop.importing import module_of

        save_compiled(made.graph, module_of(made, weights), made.text, out)
        result(str(out))
    elif out is not None:
        write(out, made.text.encode())
        say(f"wrote {out}")
    else:
        result(made.text)


def _variables(text: str | None) -> int | list[str] | None:
    """How many, or their names."""
    if text is None:
        return None
    return int(text) if text.isdecimal() else [x.strip() for x in text.split(",")]


def _read(source: str) -> tuple[Call | None, dict[str, Tensor] | None]:
    """The call, and the weights where there are some."""
    from opdsl.migrate.neuralop import read_call
    from opdsl.migrate.neuralop.calls import read_checkpoint, read_config

    path = Path(source)
    if "(" in source and not path.exists():
        return read_call(source), None
    if not path.exists():
        raise UsageError(f"`{source}` is no file, no folder and no call `FNO(...)`")
    if path.suffix in CONFIGS:
        return read_config(path), None
    return read_checkpoint(path)
