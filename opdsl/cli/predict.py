"""`opdsl predict`: the outputs of a run's best weights for given inputs, as a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opdsl.cli.console import UsageError, say
from opdsl.cli.files import HDF5, apart, named
from opdsl.cli.options import Device, Precision, Run

if TYPE_CHECKING:
    from opdsl.data.bind.samples import Samples
    from opdsl.data.io.dataset import Stream
    from opdsl.nn.points.batch import Values
    from opdsl.workflow.run import Run as TrainedRun

SUFFIXES = (*HDF5, ".npz")


def command(
    run: Run,
    input_: Annotated[
        str, typer.Option("--input", "-i", metavar="FILE", help="Inputs, as .h5, .npz or .pt.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="A new .h5 or .npz file.")
    ],
    split: Annotated[
        str | None, typer.Option("--split", metavar="PART", help="Of a folder: train, valid, test.")
    ] = None,
    last: Annotated[
        bool, typer.Option("--last", help="The last weights instead of the best.")
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option("--steps", metavar="N", min=1, help="Steps in time; as in training."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option("--batch", metavar="N", min=1, help="Samples at a time; as in training."),
    ] = None,
    tile: Annotated[
        str | None,
        typer.Option("--tile", metavar="N", help="Points at a time: 256, or x=256,y=128."),
    ] = None,
    device: Device = None,
    precision: Precision = None,
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
    from opdsl.cli.predictions import peeked, write_h5, write_npz, write_points
    from opdsl.data.io.dataset import stream_dataset
    from opdsl.nn.points.batch import numbers
    from opdsl.workflow.run import open_run

    opened = open_run(run, last=last, device=device or "auto", precision=precision)
    for text in opened.notes:
        say(f"note: {text}")
    count = steps or opened.settings.rollout
    size = batch or opened.settings.batch
    axes = {x.space.domain.dims for x in opened.graph.inputs if not x.space.domain.scattered}
    alone = axes.pop() if len(axes) == 1 else None
    data = stream_dataset(input_, split=split, size=size, alone=alone)
    found = _predicted(opened, data, count, batch=size, sides=sides)
    (samples, first), found = peeked(found)
    if output.suffix == ".npz":
        write_npz(output, (x for _, x in found), data.count)
    elif samples.places:  # they are one piece
        write_points(output, opened.graph, first, samples, timed=count is not None)
    else:
        dense = ({k: numbers(y) for k, y in x.items()} for _, x in found)
        layout, timed = samples.layout, count is not None
        write_h5(output, opened.graph, dense, data.count, layout, timed=timed)
    say(f"wrote {data.count} samples to {output}")


def _predicted(
    run: TrainedRun,
    data: Stream,
    steps: int | None,
    *,
    batch: int,
    sides: int | dict[str, int] | None,
) -> Iterator[tuple[Samples, dict[str, Values]]]:
    """The inputs and the outputs of some samples at a time."""
    from opdsl.cli.datasets import Binding
    from opdsl.data.bind.samples import TimeSteps

    model = run.in_tiles(sides)  # once: tiles remember what they have made
    binding = Binding(run.graph, run.settings.data.fields, TimeSteps(steps) if steps else None)
    for fields in data.pieces:
        samples = binding.inputs(fields)
        yield (
            samples,
            run.outputs(
                samples.inputs,
                samples.model_points,
                model=model,
                batch=batch,
                steps=steps,
                hidden=binding.states,
            ),
        )


def _sides(text: str) -> int | dict[str, int]:
    """`256`, or `x=256,y=128`.

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
