"""`opdsl data`: generate data sets and describe them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opdsl.cli.console import print_diagnostics, result, show_json, table
from opdsl.cli.options import Json
from opdsl.cli.progress import SampleProgress

if TYPE_CHECKING:
    from opdsl.workflow.datasets.description import DatasetDescription


class Kind(StrEnum):
    """The law of the coefficient."""

    PIECEWISE = "piecewise"
    LOGNORMAL = "lognormal"


def darcy(
    resolution: Annotated[
        int, typer.Option("--resolution", metavar="N", help="Points on each axis.")
    ],
    samples: Annotated[int, typer.Option("--samples", metavar="K", help="The number of samples.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The .h5 file to make.")],
    seed: Annotated[
        int, typer.Option("--seed", metavar="S", help="Seed of the random samples.")
    ] = 0,
    fine: Annotated[
        int | None,
        typer.Option("--fine", metavar="M", help="Points on each axis of the solver; 129 or more."),
    ] = None,
    kind: Annotated[
        Kind,
        typer.Option(
            "--kind", metavar="KIND", help="The law of the coefficient: piecewise or lognormal."
        ),
    ] = Kind.PIECEWISE,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", help="Threads that solve in parallel.")
    ] = 2,
    as_json: Json = False,
) -> None:
    """Darcy flow: -div(a grad u) = 1 on the unit square, u = 0 on its boundary.

    Example: opdsl data generate darcy --resolution 65 --samples 100 -o d.h5
    """
    from opdsl.workflow.datasets.generation import darcy as generate

    progress = SampleProgress()
    report = generate(
        resolution=resolution,
        samples=samples,
        seed=seed,
        out=out,
        fine=fine,
        kind=kind.value,
        progress=progress,
        workers=workers,
    )
    progress.end()
    summary = {
        "path": str(report.path),
        "samples": report.samples,
        "resolution": report.resolution,
        "fine": report.fine,
        "seconds": round(report.seconds, 3),
        "residual": report.residual,
        "order": round(report.order, 3),
    }
    if as_json:
        show_json(summary)
    else:
        result(
            f"{report.path}: {report.samples} samples at {report.resolution}x{report.resolution}, "
            f"solved at {report.fine}x{report.fine} in {report.seconds:.1f} s\n"
            f"checked: residual {report.residual:.1e}, order of convergence {report.order:.2f}"
        )


def shallow_water(
    resolution: Annotated[
        int, typer.Option("--resolution", metavar="N", help="Latitudes; twice as many longitudes.")
    ],
    samples: Annotated[int, typer.Option("--samples", metavar="K", help="The number of samples.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The .npz file to make.")
    ],
    seed: Annotated[
        int, typer.Option("--seed", metavar="S", help="Seed of the random samples.")
    ] = 0,
    hours: Annotated[
        float, typer.Option("--hours", metavar="H", help="Hours between both states.")
    ] = 1.0,
    as_json: Json = False,
) -> None:
    """Shallow water on the rotating sphere: a random state, and the state some hours later.

    Example: opdsl data generate shallow-water --resolution 32 --samples 100 -o s.npz
    """
    from opdsl.workflow.datasets.generation import shallow_water as generate

    progress = SampleProgress()
    report = generate(
        resolution=resolution,
        samples=samples,
        seed=seed,
        out=out,
        hours=hours,
        progress=progress,
    )
    progress.end()
    summary = {
        "path": str(report.path),
        "samples": report.samples,
        "latitudes": report.latitudes,
        "seconds": round(report.seconds, 3),
        "drift": report.drift,
        "gap": report.gap,
    }
    if as_json:
        show_json(summary)
    else:
        result(
            f"{report.path}: {report.samples} samples at {resolution}x{2 * resolution} "
            f"in {report.seconds:.1f} s\n"
            f"checked: mass drifts by {report.drift:.1e}, half the step and more degrees change "
            f"{report.gap:.1e}"
        )


def show(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A file or a folder.", show_default=False)
    ],
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="PART", help="The part of a folder: train, valid or test."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a data set holds: fields, shapes, resolution, suspects.

    Example: opdsl data show darcy.h5
    """
    from opdsl.workflow.datasets.description import describe_dataset

    description = describe_dataset(path, split)
    if as_json:
        show_json(description.to_json())
        return
    result(_title(description))
    on = ("on",) if description.points else ()
    heads = ("field", *on, "role", "samples", "channels", "type", "min", "mean", "max")
    result(table([heads, *(tuple(_cell(x[k]) for k in heads) for x in description.rows())], left=2))
    if description.warning:
        result("")
        print_diagnostics([description.warning])


def _title(description: DatasetDescription) -> str:
    """Return the name, the grid, and a line for each set of points."""
    about = description.about
    grid = f"  {'x'.join(map(str, about['resolution']))} ({', '.join(about['axes'])})"
    return "\n".join([about["name"] + grid * bool(about["axes"]), *description.points])


def _cell(value: Any) -> str:
    if value is None:
        return "not finite"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
