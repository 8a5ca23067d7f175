"""`opdsl predict`: the outputs of a run's best weights for given inputs, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opdsl.cli.console import UsageError, say
from opdsl.cli.files import HDF5, apart, named
from opdsl.cli.options import Device, Precision, Run

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
    sides = _sides(tile) if tile else None
    named("--output", output, SUFFIXES)
    apart("--output", output, input_)
    from opdsl.cli.calibration import read_calibration, with_edges
    from opdsl.cli.datasets import Binding, loop_of
    from opdsl.cli.predictions import write_h5, write_npz, write_points
    from opdsl.cli.run_folder import open_run
    from opdsl.cli.weights import trained_module, with_device
    from opdsl.data.formats import open_dataset
    from opdsl.data.samples import Steps
    from opdsl.lower.tiles import Tiled
    from opdsl.nn.batch import numbers
    from opdsl.train.evaluate import predict

    saved = open_run(run)
    settings = with_device(saved.settings, device, precision)
    fields = open_dataset(input_, split=split)
    count = steps or settings.rollout
    loop = loop_of(saved.graph, count)
    timed = Steps(count) if count else None
    binding = Binding(saved.graph, settings.data.fields, timed)
    samples = binding.inputs(fields)
    module, trained = trained_module(saved, last=last)
    found = predict(
        Tiled(module, sides) if sides else module,
        trained.normaliser,
        samples.inputs,
        device=settings.device,
        precision=settings.precision,
        batch=settings.batch,
        loop=loop,
        steps=count,
        places=samples.given,
    )
    found = {k: x for k, x in found.items() if k not in binding.states}
    found = with_edges(read_calibration(saved.folder, module), found)
    stepwise = loop is not None
    if output.suffix == ".npz":
        write_npz(output, found)
    elif samples.places:
        write_points(output, saved.graph, found, samples, timed=stepwise)
    else:
        dense = {k: numbers(x) for k, x in found.items()}
        write_h5(output, saved.graph, dense, samples.layout, timed=stepwise)
    say(f"wrote {len(samples)} samples to {output}")


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
