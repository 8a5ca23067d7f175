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
    from opdsl.cli.run_folder import Saved
    from opdsl.data.formats import Stream
    from opdsl.data.samples import Samples
    from opdsl.nn.batch import Values
    from opdsl.train.sections import Settings

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
    from opdsl.cli.run_folder import open_run
    from opdsl.cli.weights import with_device
    from opdsl.data.formats import stream_dataset
    from opdsl.nn.batch import numbers

    saved = open_run(run)
    settings = with_device(saved.settings, device, precision)
    settings = settings.model_copy(update={"batch": batch or settings.batch})
    count = steps or settings.rollout
    data = stream_dataset(input_, split=split, size=settings.batch)
    found = _predicted(saved, settings, data, count, last=last, sides=sides)
    (samples, first), found = peeked(found)
    if output.suffix == ".npz":
        write_npz(output, (x for _, x in found), data.count)
    elif samples.places:  # they are one piece
        write_points(output, saved.graph, first, samples, timed=count is not None)
    else:
        dense = ({k: numbers(y) for k, y in x.items()} for _, x in found)
        layout, timed = samples.layout, count is not None
        write_h5(output, saved.graph, dense, data.count, layout, timed=timed)
    say(f"wrote {data.count} samples to {output}")


def _predicted(
    saved: Saved,
    settings: Settings,
    data: Stream,
    steps: int | None,
    *,
    last: bool,
    sides: int | dict[str, int] | None,
) -> Iterator[tuple[Samples, dict[str, Values]]]:
    """The inputs and the outputs of some samples at a time."""
    from opdsl.cli.calibration import read_calibration, with_edges
    from opdsl.cli.datasets import Binding, loop_of
    from opdsl.cli.weights import trained_module
    from opdsl.data.samples import Steps
    from opdsl.lower.tiles import Tiled
    from opdsl.train.evaluate import predict

    loop = loop_of(saved.graph, steps)
    binding = Binding(saved.graph, settings.data.fields, Steps(steps) if steps else None)
    module, trained = trained_module(saved, last=last)
    calibration = read_calibration(saved.folder, module)
    model = Tiled(module, sides) if sides is not None else module
    for fields in data.pieces:
        samples = binding.inputs(fields)
        found = predict(
            model,
            trained.normaliser,
            samples.inputs,
            device=settings.device,
            precision=settings.precision,
            batch=settings.batch,
            loop=loop,
            steps=steps,
            places=samples.given,
        )
        found = {k: x for k, x in found.items() if k not in binding.states}
        yield samples, with_edges(calibration, found)


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
