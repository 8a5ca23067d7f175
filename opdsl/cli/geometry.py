"""`opdsl data convert`, `distance`, `transport`: meshes of others, and what is found of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opdsl.cli.console import UsageError, result, show_json
from opdsl.cli.files import HDF5, apart, named
from opdsl.cli.options import Json
from opdsl.cli.progress import Progress

if TYPE_CHECKING:
    from opdsl.data.derive.add_distance import Box
    from opdsl.data.io.meshes import Mesh

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="A data set with points.", show_default=False)
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The .h5 file to make.")]
Domain = Annotated[
    str | None,
    typer.Option("--domain", metavar="NAME", help="Which set of points, where there are several."),
]
Keep = Annotated[
    list[str] | None,
    typer.Option(
        "--keep", metavar="FIELD", help="A field to take over; repeatable. All if not given."
    ),
]


def convert(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="FILES", help="Mesh files, folders, patterns.", show_default=False),
    ],
    out: Out,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="FIELD", help="A field that models take; repeatable."),
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option("--output", metavar="FIELD", help="A field that models give; repeatable."),
    ] = None,
    domain: Annotated[
        str, typer.Option("--domain", metavar="NAME", help="What to call the points.")
    ] = "P",
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Of the data set.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Mesh files (vtu, vtk, stl, obj, ply, msh) as one data set, a sample each.

    Cells become segments, triangles or tetrahedra; points that no cell uses are left out. Fields on
    points are kept, fields on cells are moved to points (the mean of the cells around, by size).
    Units stay as they are.

    Example: opdsl data convert cars/*.vtk --output pressure -o cars.h5
    """
    named("--out", out, HDF5)
    from opdsl.data.io.formats import points
    from opdsl.data.io.mesh_set import as_fields
    from opdsl.data.io.meshes import read_meshes

    progress = Progress()
    meshes = read_meshes(paths, progress)
    progress.end()
    raw = as_fields(
        meshes,
        name=name or out.stem,
        domain=domain,
        inputs=inputs or (),
        outputs=outputs or (),
    )
    points.write(out, raw)
    told = _about(out, meshes)
    if as_json:
        show_json(told)
        return
    low, high = told["points"]
    lines = [f"{out}: {len(meshes)} samples of {low} to {high} points, {told['cells']}"]
    lines += [f"field {k}: {_how(k, n, meshes[0])}" for k, n in told["fields"].items()]
    if told["left_out"]:
        lines.append(f"left out: {told['left_out']} points that no cell uses")
    if told["labels"]:
        lines.append(f"left out: {', '.join(told['labels'])}, whole numbers on cells")
    result("\n".join(lines))


def _about(out: Path, meshes: Sequence[Mesh]) -> dict[str, Any]:
    from opdsl.data.io.meshes import cell_kind

    counts = [len(x.points) for x in meshes]
    first = meshes[0]
    return {
        "path": str(out),
        "samples": len(meshes),
        "points": [min(counts), max(counts)],
        "dimensions": first.points.shape[1],
        "cells": cell_kind(first),
        "fields": {k: x.shape[1] for k, x in first.fields.items()},
        "averaged": list(first.averaged),
        "left_out": sum(x.left_out for x in meshes),
        "labels": list(first.labels),
    }


def _how(name: str, channels: int, first: Mesh) -> str:
    count = "1 channel" if channels == 1 else f"{channels} channels"
    return f"{count}, moved from cells to points" if name in first.averaged else count


def distance(
    data: Data,
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
    domain: Domain = None,
    keep: Keep = None,
    name: Annotated[
        str, typer.Option("--name", metavar="FIELD", help="What to call the new field.")
    ] = "distance",
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="No sign: for surfaces that are open.")
    ] = False,
    holes: Annotated[
        bool, typer.Option("--holes", help="A sign also where a surface has small holes.")
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
    from opdsl.data import open_dataset
    from opdsl.data.derive.add_distance import Sign, add_distance
    from opdsl.data.derive.derived_fields import select_fields
    from opdsl.data.io.formats import points
    from opdsl.nn.points.batch import numbers

    fields = select_fields(open_dataset(data), keep or ())
    progress = Progress()
    raw, ends = add_distance(
        fields,
        grid=_grid(grid, fields.places),
        box=None if box is None else _box(box),
        domain=domain,
        name=name,
        sign=Sign(not unsigned, holes),
        progress=progress,
    )
    progress.end()
    points.write(out, raw, parameters={f"{name}_box": _told(ends)})
    sizes = list(numbers(raw.values[name]).shape[2:])
    if as_json:
        show_json({"path": str(out), "samples": len(raw), "grid": sizes, "box": ends})
        return
    result(
        f"{out}: {len(raw)} samples with `{name}` on {'x'.join(map(str, sizes))} points "
        f"of the box {_told(ends)}"
    )


def _grid(text: str, places: Any) -> tuple[int, ...]:
    """`16` for all axes, or `32x16x16`."""
    parts = text.split("x")
    if not all(x.isdecimal() and int(x) > 1 for x in parts):
        raise UsageError(f"--grid {text}: expected points on each axis, as 16 or 32x16x16")
    sizes = tuple(int(x) for x in parts)
    axes = {x[0].points.shape[1] for x in places.values()}
    return sizes * max(axes, default=1) if len(sizes) == 1 else sizes


def _box(text: str) -> Box:
    try:
        ends = tuple(tuple(map(float, x.split(".."))) for x in text.split(","))
    except ValueError:
        ends = ()
    found = tuple((x[0], x[1]) for x in ends if len(x) == 2 and x[0] < x[1])
    if len(found) != len(ends) or not ends:
        raise UsageError(f"--box {text}: expected the ends of each axis, as 0..1,0..1,-0.5..2")
    return found


def _told(box: Box) -> str:
    return ",".join(f"{a:.6g}..{b:.6g}" for a, b in box)


def transport(
    data: Data,
    out: Out,
    domain: Domain = None,
    keep: Keep = None,
    normals: Annotated[
        str | None,
        typer.Option("--normals", metavar="FIELD", help="Normals; else those of the triangles."),
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
    from opdsl.data import open_dataset
    from opdsl.data.derive.add_transport import add_transport
    from opdsl.data.derive.derived_fields import select_fields
    from opdsl.data.io.formats import points

    fields = select_fields(open_dataset(data), keep or ())
    progress = Progress()
    raw, found = add_transport(fields, domain=domain, normals=normals, size=size, progress=progress)
    progress.end()
    points.write(out, raw)
    told = {
        "path": str(out),
        "samples": len(raw),
        "size": found[0].size,
        "normals": "cross" in raw.values,
        "costs": [x.cost for x in found],
        "missed": [x.missed for x in found],
    }
    if as_json:
        show_json(told)
        return
    mean = sum(x.cost for x in found) / len(found)
    result(
        f"{out}: {len(raw)} samples on {found[0].size}x{found[0].size} points of a torus, "
        f"{'with' if 'cross' in raw.values else 'without'} normals\n"
        f"mean squared distance moved: {mean:.4g}; points without a grid point: "
        f"{sum(x.missed for x in found)}"
    )
