"""`opdsl calibrate`: a band around predictions that keeps a promise, from data of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opdsl.cli.console import UsageError, result, show_json, table
from opdsl.cli.options import Device, Json, Precision, Run
from opdsl.diagnostics import OpError, fault

if TYPE_CHECKING:
    from opdsl.cli.run_folder import Saved
    from opdsl.data.bind.samples import Samples
    from opdsl.train.metrics.calibrate import Calibration, Coverage


def command(
    run: Run,
    data: Annotated[
        str,
        typer.Option("--data", metavar="PATH", help="Samples that nothing has learnt from."),
    ],
    test: Annotated[
        list[str] | None,
        typer.Option("--test", metavar="PATH", help="To measure coverage on; may be repeated."),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option("--alpha", metavar="A", help="Points outside of the band; as in training."),
    ] = None,
    delta: Annotated[
        float, typer.Option("--delta", metavar="D", help="Functions with more points outside.")
    ] = 0.1,
    skip: Annotated[
        int, typer.Option("--skip", metavar="N", min=0, help="Samples to leave out at the start.")
    ] = 0,
    split: Annotated[
        str | None, typer.Option("--split", metavar="PART", help="Of a folder: train, valid, test.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", metavar="N", min=1, help="Samples to use.")
    ] = None,
    device: Device = None,
    precision: Precision = None,
    as_json: Json = False,
) -> None:
    """Calibrate the band around what a model predicts.

    Of new functions a part of 1 - DELTA has 1 - ALPHA of its points within the band.

    Example: opdsl calibrate runs/band --data calib.h5 --alpha 0.1 --delta 0.05
    """
    for name, x in (("--alpha", alpha), ("--delta", delta)):
        if x is not None and not 0 < x < 1:
            raise UsageError(f"`{name} {x:g}`: a part is a number between 0 and 1")
    from opdsl.cli.bands import Banded
    from opdsl.cli.calibration import write_calibration
    from opdsl.cli.run_folder import open_run
    from opdsl.cli.weights import with_device

    saved = open_run(run)
    if saved.settings.band.of is None:
        raise _no_band(run)
    banded = Banded.of(saved, with_device(saved.settings, device, precision))
    held = _held(saved, data, split, skip, samples)
    found = banded.calibrated(held, alpha, delta)
    rows = {k: banded.coverage(x, found) for k, x in _tests(saved, test).items()}
    path = write_calibration(saved.folder, found, held)
    if as_json:
        told = {k: asdict(x) for k, x in rows.items()}
        show_json({**asdict(found), "coverage": told, "path": str(path)})
    else:
        result(_text(found, rows, str(path)))


def _no_band(run: str) -> OpError:
    message = "the run has learnt no band, only a prediction"
    helps = ("train a width: `band { of = u width = w }`, and `opdsl train ... --from RUN`",)
    return fault("OP0604", message, helps=helps, file=run)


def _held(saved: Saved, path: str, split: str | None, skip: int, samples: int | None) -> Samples:
    """The samples to calibrate with, at the resolution of the run."""
    from opdsl.cli.datasets import binding_of
    from opdsl.data.io.dataset import open_dataset

    fields = open_dataset(path, split=split, resolution=saved.settings.data.resolution)
    found = binding_of(saved.graph, saved.settings)(fields)
    if skip >= len(found):
        message = f"`--skip {skip}` leaves out all {len(found)} samples"
        raise fault("OP0613", message, helps=("lower it",), file=path)
    found = found.last(len(found) - skip)
    return found.first(samples) if samples else found


def _tests(saved: Saved, test: list[str] | None) -> dict[str, Samples]:
    """The samples to measure on; those of the run as far as they are there."""
    from opdsl.cli.datasets import Held, binding_of, read_tests

    held = [Held(x) for x in test or ()] or [x for x in saved.tests if Path(x.path).exists()]
    usual = saved.settings.data.resolution
    return read_tests(held, (), usual, binding_of(saved.graph, saved.settings))


def _text(found: Calibration, rows: Mapping[str, Coverage], path: str) -> str:
    """The promise, what came of it on test sets, and where it is written."""
    from opdsl.train.metrics.calibrate import CONFIDENCE  # torch comes with it

    points, functions = f"{1 - found.alpha:.4g}", f"{1 - found.delta:.4g}"
    least, most = found.range()
    lines = [
        f"band         {found.of} +- {found.factor:.4g} {found.width}",
        f"promise      {points} of the points of a function, for {functions} of new functions",
        f"from         {found.samples} samples, of which {found.rank} keep the promise",
        f"so           {found.expected:.4g} of new functions keep it on average,",
        f"             {least:.3f} to {most:.3f} of them with probability {CONFIDENCE:g}",
    ]
    if rows:
        heads = ("test set", "samples", "points inside", "functions kept", "half width")
        cells = [
            (k, str(x.samples), *(f"{y:.4g}" for y in (x.points, x.functions, x.width)))
            for k, x in rows.items()
        ]
        lines += ["", table([heads, *cells]), ""]
    return "\n".join([*lines, f"calibration  {path}"])
