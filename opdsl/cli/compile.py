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
    """What to print."""

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
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of the weights.")] = 0,
    model: Model = None,
    sets: Parameters = None,
) -> None:
    """Lower a model to PyTorch, into a folder.

    It holds fresh weights, the program, its graph and their hashes.

    Example: opdsl compile specs/fno_darcy.op -o compiled
    """
    if out is None and emit is None:
        raise UsageError("say where to: `-o DIR`, or print the source with `--emit python`")
    from opdsl.cli.programs import open_model
    from opdsl.cli.resolved import resolved_text
    from opdsl.summary.memory_check import refuse_too_large, weight_bytes

    program = open_model(spec, model, sets)
    if emit:
        from opdsl.export import emit_python

        _print(emit_python(program.graph), out)
        return
    text = resolved_text(program)
    refuse_too_large(program.graph.name, {"weights": weight_bytes(program.graph)})
    import torch

    from opdsl.export import save_compiled
    from opdsl.lower.module import lower

    assert out is not None
    torch.manual_seed(seed)
    save_compiled(program.graph, lower(program.graph), text, out)
    result(str(out))


def _print(text: str, out: Path | None) -> None:
    if out is None:
        result(text)
    else:
        write(out, text.encode())
        say(f"wrote {out}")
