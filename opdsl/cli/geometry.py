"""`opdsl data distance`, `transport`: fields that are derived from meshes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opdsl.cli.console import UsageError, result, show_json
from opdsl.cli.files import HDF5, apart, named
from opdsl.cli.options import Json, parse_box
from opdsl.cli.progress import SampleProgress

if TYPE_CHECKING:
    from opdsl.data.derive.add_distance import Box

DataOption = Annotated[
    str, typer.Argument(metavar="DATA", help="A data set with points.", show_default=False)
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The .h5 file to make.")]
DomainOption = Annotated[
    str | None,
    typer.Option("--domain", metavar="NAME", help="The set of points, where there are several."),
]
Keep = Annotated[
    list[str] | None,
    typer.Option("--keep", metavar="FIELD", help="A field to copy; repeatable. All if not given."),
]


def distance(
    data: DataOption,
    out: Out,
    grid: Annotated[
        str, typer.Option("--grid", metavar="N", help="Points on each axis: 16, or 32x16x16.")
    ],
    box: Annotated[
        str | None,
        typer.Option(
            "--box", metavar="A..B,C..D", help="Ends of each axis; else around all samples."
        ),
    ] = None,
    domain: DomainOption = None,
    keep: Keep = None,
    name: Annotated[
        str, typer.Option("--name", metavar="FIELD", help="The name of the new field.")
    ] = "distance",
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Distances without a sign, for open surfaces.")
    ] = False,
    holes: Annotated[
        bool, typer.Option("--holes", help="Give a sign also where a surface has small holes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Add the signed distance from each sample's surface, on a grid, as an input.

    The surface is that of triangles in space or segments in the plane, or the boundary of
    tetrahedra or triangles. The distance is exact, below zero inside. The grid has both ends of the
    box.

    Example: opdsl data distance cars.h5 --grid 16 -o cars_16.h5
    """
    named("--out", out, HDF5)
    apart("--out", out, data)
    from opdsl.workflow.datasets.meshes import add_distance

    sizes, ends = _grid(grid), None if box is None else parse_box(box)
    progress = SampleProgress()
    summary = add_distance(
        data,
        out,
        grid=sizes,
        box=ends,
        domain=domain,
        keep=keep or (),
        name=name,
        signed=not unsigned,
        holes=holes,
        box_text=_box_text,
        progress=progress,
    )
    progress.end()
    if as_json:
        about = {"path": str(out), "samples": summary.samples}
        show_json(about | {"grid": list(summary.grid), "box": summary.box})
        return
    grid_text = "x".join(map(str, summary.grid))
    result(
        f"{out}: {summary.samples} samples with `{name}` on {grid_text} points "
        f"of the box {_box_text(summary.box)}"
    )


def _grid(text: str) -> tuple[int, ...]:
    """Parse `16`, which stands for all axes, or `32x16x16`."""
    parts = text.split("x")
    if not all(x.isdecimal() and int(x) > 1 for x in parts):
        raise UsageError(f"--grid {text}: expected points on each axis, as 16 or 32x16x16")
    return tuple(int(x) for x in parts)


def _box_text(box: Box) -> str:
    return ",".join(f"{a:.6g}..{b:.6g}" for a, b in box)


def transport(
    data: DataOption,
    out: Out,
    domain: DomainOption = None,
    keep: Keep = None,
    normals: Annotated[
        str | None,
        typer.Option(
            "--normals", metavar="FIELD", help="The field of normals; else those of the triangles."
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option("--size", metavar="N", min=2, help="Points of the grid on each axis."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Lay the points of each sample on a periodic grid by optimal transport, for OTNO.

    New on the grid (theta, phi) of a torus: trans (the point of the surface carried there), source
    (the point of the torus), nor_s (its normal), cross (the product of both normals), ind_enc. New
    on the points: ind_dec (the number of the grid point of each, for `pull`), latent (where that
    is, 0 to 1). The plan is exact; 20 seconds and 2 GB for 3600 points. Needs the package POT.

    Example: opdsl data transport cars.h5 -o carried.h5
    """
    named("--out", out, HDF5)
    apart("--out", out, data)
    from opdsl.workflow.datasets.meshes import add_transport

    progress = SampleProgress()
    summary = add_transport(
        data,
        out,
        domain=domain,
        keep=keep or (),
        normals=normals,
        size=size,
        progress=progress,
    )
    progress.end()
    if as_json:
        show_json({"path": str(out), **asdict(summary)})
        return
    mean = sum(summary.costs) / len(summary.costs)
    result(
        f"{out}: {summary.samples} samples on {summary.size}x{summary.size} points of a torus, "
        f"{'with' if summary.normals else 'without'} normals\n"
        f"mean squared distance moved: {mean:.4g}; points without a grid point: "
        f"{sum(summary.missed)}"
    )
