"""`opdsl adapt`: fine-tune a run on single instances by its equations, and predict them."""

from __future__ import annotations

from typing import Annotated

import typer

from opdsl.cli.console import result, say, warn
from opdsl.cli.files import HDF5, apart, named
from opdsl.cli.options import Device, InputFile, OutputFile, RunArgument

SUFFIXES = (*HDF5, ".npz")


def command(
    run: RunArgument,
    input_: InputFile,
    output: OutputFile,
    loss: Annotated[
        str | None,
        typer.Option("--loss", metavar="EXPR", help="An equation; default: those of the run."),
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", metavar="N", min=1, help="Steps of Adam for each sample.")
    ] = 100,
    lr: Annotated[
        float, typer.Option("--lr", metavar="RATE", min=0, help="The learning rate at the start.")
    ] = 1e-3,
    device: Device = None,
) -> None:
    """Fine-tune a trained model on inputs by equations.

    No solution is needed: the terms of the loss that compare with the truth are left
    out. Each sample begins with the weights of the run, which stay as they are.

    Example: opdsl adapt runs/darcy --input new.h5 --output adapted.h5 --steps 200
    """
    named("--output", output, SUFFIXES)
    apart("--output", output, input_)
    from opdsl.workflow.adapt import adapt
    from opdsl.workflow.runs.opening import open_run

    trained_run = open_run(run, device=device or "auto")
    adapted = adapt(trained_run, input_, loss=loss, steps=steps, rate=lr, warn=warn)
    adapted.write(output)
    result(f"loss  {' + '.join(adapted.terms)}")
    for i, (first, last) in enumerate(zip(adapted.before, adapted.after, strict=True)):
        result(f"sample {i}  {first:.4g} -> {last:.4g}")
    say(f"wrote {len(adapted.before)} samples to {output}")
