"""`opdsl data generate poisson-shapes` and `surface`: problems on unstructured meshes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opdsl.cli.console import result, show_json
from opdsl.cli.options import Json
from opdsl.cli.progress import SampleProgress

if TYPE_CHECKING:
    from opdsl.data.generate import poisson_shapes as poisson_shapes_
    from opdsl.data.generate import surface as surface_

Resolution = Annotated[
    int,
    typer.Option(
        "--resolution", metavar="N", help="Edges along a unit of length: the mesh width is 1/N."
    ),
]
Samples = Annotated[int, typer.Option("--samples", metavar="K", help="The number of samples.")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The .h5 file to make.")]
Seed = Annotated[int, typer.Option("--seed", metavar="S", help="Seed of the random samples.")]


def poisson_shapes(
    resolution: Resolution, samples: Samples, out: Out, seed: Seed = 0, as_json: Json = False
) -> None:
    """Nonlinear Poisson, div((1 + u^2/10) grad u) = f, in random shapes of the plane.

    Each sample has a shape within the unit circle and triangles of its own (domain P). Inputs:
    forcing (f), boundary (values at the boundary, continued inside). Output: solution (u). By
    finite elements and Newton's method; files of one seed hold the same problems at every
    resolution.

    Example: opdsl data generate poisson-shapes --resolution 16 --samples 100 -o p.h5
    """
    from opdsl.workflow.datasets.generation import poisson_shapes as generate

    progress = SampleProgress()
    report = generate(resolution=resolution, samples=samples, seed=seed, out=out, progress=progress)
    progress.end()
    check = f"two ways to the solution differ by {report.gap:.1e}"
    _show(report, {"gap": report.gap}, check, as_json=as_json)


def surface(
    resolution: Resolution, samples: Samples, out: Out, seed: Seed = 0, as_json: Json = False
) -> None:
    """Diffusion, u - Laplace u / 10 = f, on random closed surfaces in space.

    Each sample has a surface within the unit sphere and triangles of its own (domain S). Input:
    forcing (f). Output: solution (u). By surface finite elements; files of one seed hold the same
    problems at every resolution.

    Example: opdsl data generate surface --resolution 12 --samples 100 -o s.h5
    """
    from opdsl.workflow.datasets.generation import surface as generate

    progress = SampleProgress()
    report = generate(resolution=resolution, samples=samples, seed=seed, out=out, progress=progress)
    progress.end()
    _show(report, {}, "", as_json=as_json)


def _show(
    report: poisson_shapes_.Report | surface_.Report,
    more: dict[str, float],
    also: str,
    *,
    as_json: bool,
) -> None:
    summary = {
        "path": str(report.path),
        "samples": report.samples,
        "points": [report.fewest, report.most],
        "seconds": round(report.seconds, 3),
        "residual": report.residual,
        "order": round(report.order, 3),
    }
    if as_json:
        show_json(summary | more)
        return
    checked = (f"residual {report.residual:.1e}", f"order of convergence {report.order:.2f}", also)
    result(
        f"{report.path}: {report.samples} samples of {report.fewest} to {report.most} points "
        f"in {report.seconds:.1f} s\nchecked: {', '.join(x for x in checked if x)}"
    )
