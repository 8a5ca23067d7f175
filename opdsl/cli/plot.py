"""`opdsl data plot`: a sheet of samples of a data set, or an animation."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from opdsl.cli.console import result, say, show_json
from opdsl.cli.files import apart, named
from opdsl.cli.options import Json


def command(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A file or a folder.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="A new .png or .gif file; default: PATH as .png."
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", metavar="N", min=1, max=32, help="How many at most.")
    ] = 4,
    names: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="FIELD", help="A field to draw; repeatable. Else all."),
    ] = None,
    sphere: Annotated[
        bool, typer.Option("--sphere", help="The axes are latitude, north first, and longitude.")
    ] = False,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="PART", help="The part of a folder: train, valid or test."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw the first samples of a data set.

    Curves on a line, maps in the plane to scale, the middle slices of grids in space, points where
    they are. With times a .png file has film strips, and a .gif file is an animation.

    Example: opdsl data plot darcy.h5 --samples 3 -o darcy.png

    Example: opdsl data plot predicted.h5 -o predicted.gif
    """
    target = out or Path(f"{Path(path).resolve().stem}.png")
    named("--out", target, (".png", ".gif"))
    apart("--out", target, path)
    from opdsl.workflow.datasets.picture import plot_dataset

    picture = plot_dataset(
        path, target, samples=samples, split=split, names=names or (), sphere=sphere
    )
    if picture.left_out:
        say(f"note: {picture.left_out} more functions have no room; --field chooses others")
    if as_json:
        show_json(asdict(picture) | {"path": str(target)})
        return
    times = f" at {picture.times} times" if picture.times > 1 else ""
    result(f"{target}: {picture.samples} samples of {', '.join(picture.functions)}{times}")
