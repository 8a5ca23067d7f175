"""`opdsl predict`: the outputs of a run's best weights for the inputs of a file, as a file."""

from __future__ import annotations

from typing import Annotated

import typer

from opdsl.cli.console import UsageError, say, warn
from opdsl.cli.files import HDF5, apart, named
from opdsl.cli.options import (
    CoordinatesOption,
    Device,
    InputFile,
    OutputFile,
    PrecisionOption,
    RunArgument,
)

SUFFIXES = (*HDF5, ".npz")


def command(
    run: RunArgument,
    input_: InputFile,
    output: OutputFile,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="PART", help="The part of a folder: train, valid or test."),
    ] = None,
    last: Annotated[
        bool, typer.Option("--last", help="The last weights instead of the best.")
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option("--steps", metavar="N", min=1, help="Steps in time; default: as in training."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch", metavar="N", min=1, help="Samples at a time; default: as in training."
        ),
    ] = None,
    tile: Annotated[
        str | None,
        typer.Option("--tile", metavar="N", help="Points of a tile: 256, or x=256,y=128."),
    ] = None,
    device: Device = None,
    precision: PrecisionOption = None,
    coordinates: CoordinatesOption = None,
) -> None:
    """Apply a trained model to inputs.

    Example: opdsl predict runs/darcy --input new.h5 --output predicted.h5

    With --tile it runs on parts of the grid, one after the other, and gives the
    same numbers in less memory. Blocks that look at the whole grid forbid it.

    Example: opdsl predict runs/heat -i large.h5 -o out.h5 --tile x=256,y=256
    """
    sides = None if tile is None else _sides(tile)
    named("--output", output, SUFFIXES)
    apart("--output", output, input_)
    from opdsl.workflow.runs.opening import open_run
    from opdsl.workflow.runs.prediction import predict_file

    trained_run = open_run(
        run, last=last, device=device or "auto", precision=precision, coordinates=coordinates
    )
    for text in trained_run.notes:
        say(f"note: {text}")
    count = predict_file(
        trained_run, input_, output, split=split, steps=steps, batch=batch, tile=sides, warn=warn
    )
    say(f"wrote {count} samples to {output}")


def _sides(text: str) -> int | dict[str, int]:
    """Parse `256`, or `x=256,y=128`.

    Raises:
        UsageError: it is neither.
    """
    try:
        if "=" not in text:
            return int(text)
        pairs = (x.split("=") for x in text.split(","))
        return {name.strip(): int(n) for name, n in pairs}
    except ValueError as error:
        message = f"`--tile {text}`: points of a tile, as `256` or `x=256,y=128`"
        raise UsageError(message) from error
