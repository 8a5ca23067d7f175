"""`opdsl calibrate`: a band around predictions that keeps a promise, from data of its own."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from opdsl.cli.console import UsageError, result, show_json, table, warn
from opdsl.cli.options import CoordinatesOption, Device, Json, PrecisionOption, RunArgument

if TYPE_CHECKING:
    from opdsl.workflow.runs.calibration import CalibrationReport


def command(
    run: RunArgument,
    data: Annotated[
        str,
        typer.Option("--data", metavar="PATH", help="Samples that no weights were learnt from."),
    ],
    test: Annotated[
        list[str] | None,
        typer.Option(
            "--test", metavar="PATH", help="Samples to measure coverage on; may be repeated."
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option("--alpha", metavar="A", help="Part of the points outside; as in training."),
    ] = None,
    delta: Annotated[
        float,
        typer.Option(
            "--delta", metavar="D", help="Part of the functions with more points outside."
        ),
    ] = 0.1,
    skip: Annotated[
        int, typer.Option("--skip", metavar="N", min=0, help="Samples to leave out at the start.")
    ] = 0,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="PART", help="The part of a folder: train, valid or test."),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option("--samples", metavar="N", min=1, help="The number of samples to use."),
    ] = None,
    device: Device = None,
    precision: PrecisionOption = None,
    coordinates: CoordinatesOption = None,
    as_json: Json = False,
) -> None:
    """Calibrate the band around what a model predicts.

    Of new functions a part of 1 - DELTA has 1 - ALPHA of its points within the band.

    Example: opdsl calibrate runs/band --data calib.h5 --alpha 0.1 --delta 0.05
    """
    for name, x in (("--alpha", alpha), ("--delta", delta)):
        if x is not None and not 0 < x < 1:
            raise UsageError(f"`{name} {x:g}`: a part is a number between 0 and 1")
    from opdsl.workflow.runs.opening import open_run

    trained_run = open_run(
        run, device=device or "auto", precision=precision, coordinates=coordinates
    )
    report = trained_run.calibrate(
        data,
        test=test or None,
        alpha=alpha,
        delta=delta,
        skip=skip,
        samples=samples,
        split=split,
        warn=warn,
    )
    if as_json:
        coverage = {k: asdict(x) for k, x in report.coverage.items()}
        band = asdict(report.calibration)
        show_json({**band, "coverage": coverage, "path": str(report.path)})
    else:
        result(_text(report))


def _text(report: CalibrationReport) -> str:
    """Describe the promise of the band, its coverage on the test sets, and its file."""
    from opdsl.workflow.runs.calibration import CONFIDENCE

    band = report.calibration
    points, functions = f"{1 - band.alpha:.4g}", f"{1 - band.delta:.4g}"
    least, most = band.range()
    lines = [
        f"band         {band.of} +- {band.factor:.4g} {band.width}",
        f"promise      {points} of the points of a function, for {functions} of new functions",
        f"from         {band.samples} samples, of which {band.rank} keep the promise",
        f"so           {band.expected:.4g} of new functions keep it on average,",
        f"             {least:.3f} to {most:.3f} of them with probability {CONFIDENCE:g}",
    ]
    if report.coverage:
        heads = ("test set", "samples", "points inside", "functions kept", "half width")
        cells = [
            (k, str(x.samples), *(f"{y:.4g}" for y in (x.points, x.functions, x.width)))
            for k, x in report.coverage.items()
        ]
        lines += ["", table([heads, *cells]), ""]
    return "\n".join([*lines, f"calibration  {report.path}"])
