"""`opdsl data convert`: data of any format in The Well's layout, or in ours for points."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opdsl.cli.console import UsageError, result, say, show_json
from opdsl.cli.files import HDF5, apart, named
from opdsl.cli.options import Json, parse_box
from opdsl.cli.progress import SampleProgress
from opdsl.sampling import SAMPLINGS

if TYPE_CHECKING:
    from opdsl.workflow.datasets.conversion import DatasetConversion
    from opdsl.workflow.datasets.meshes import MeshConversion


class SamplingOption(StrEnum):
    """Where the points of an axis are, as `sampling` of a domain says it."""

    BOTH = "both"
    LOWER = "lower"
    UPPER = "upper"
    INTERIOR = "interior"
    CENTRES = "centres"


def command(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATHS",
            help="A data set; or mesh files, patterns.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The .h5 file to make.")],
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="FIELD", help="A field that models take; repeatable."),
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option("--output", metavar="FIELD", help="A field that models return; repeatable."),
    ] = None,
    vectors: Annotated[
        list[str] | None,
        typer.Option(
            "--vector", metavar="FIELD", help="A field of vectors, on a grid; repeatable."
        ),
    ] = None,
    times: Annotated[
        int | None,
        typer.Option("--times", metavar="N", min=2, help="The channels of fields are N times."),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option("--box", metavar="A..B,C..D", help="Ends of each axis of the grid."),
    ] = None,
    sampling: Annotated[
        SamplingOption | None, typer.Option("--sampling", help="Where on each axis the points are.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="PART", help="The part of a folder: train, valid or test."),
    ] = None,
    domain: Annotated[
        str | None,
        typer.Option("--domain", metavar="NAME", help="The set of points of meshes; default: P."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The name of the data set.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write data of any format as HDF5: a grid as The Well has it, points in our own layout.

    A field of several components becomes one field for each, named u_0, u_1, ..., unless it is a
    vector. Where channels are times (--times, or as the file states), there is an axis of times.
    Values are stored in single precision, a few samples at a time.

    Example: opdsl data convert flow.npz --input x --output y --times 20 --box 0..1,0..1 -o flow.h5

    Mesh files (vtu, vtp, vtk, stl, obj, ply, msh) become one data set, a sample each. Cells become
    segments, triangles or tetrahedra; points that no cell uses are left out. Fields on points are
    kept, fields on cells are moved to points (the mean of the cells around, by size). Units stay as
    they are.

    Example: opdsl data convert cars/*.vtk --output pressure -o cars.h5
    """
    named("--out", out, HDF5)
    from opdsl.workflow.datasets.meshes import names_meshes

    for_grids = {"--vector": vectors, "--times": times, "--box": box, "--sampling": sampling}
    if names_meshes(paths):
        if unfit := [k for k, x in {**for_grids, "--split": split}.items() if x]:
            raise UsageError(f"`{unfit[0]}` is not for meshes")
        _meshes(paths, out, name, domain or "P", inputs or (), outputs or (), as_json=as_json)
        return
    if domain:
        raise UsageError("`--domain` is for meshes only")
    apart("--out", out, paths[0])
    from opdsl.workflow.datasets.conversion import ConvertOptions, convert_dataset

    options = ConvertOptions(
        name=name,
        inputs=inputs or (),
        outputs=outputs or (),
        vectors=vectors or (),
        times=times,
        box=None if box is None else parse_box(box),
        sampling=next((x for x in SAMPLINGS if x == sampling), None),
    )
    progress = SampleProgress()
    summary = convert_dataset(paths[0], out, options, split=split, progress=progress)
    progress.end()
    if summary.assumed:
        axes = " and ".join(f"`{x}`" for x in summary.assumed)
        say(f"note: the data state no coordinates of {axes}; 0..1 is written, --box sets others")
    if as_json:
        show_json(asdict(summary) | {"path": str(out)})
    else:
        result(_text(summary))


def _text(summary: DatasetConversion) -> str:
    ends = ", ".join(f"{k} {a:g} .. {b:g}" for k, (a, b) in summary.axes.items())
    extent = "x".join(map(str, summary.grid))
    where = f" on {extent} points ({ends})" if ends else ""
    steps = f", {summary.times} times" if summary.times > 1 else ""
    lines = [f"{summary.path}: {summary.samples} samples{where}{steps}"]
    return "\n".join([*lines, *(f"field {k}: {x}" for k, x in summary.fields.items())])


def _meshes(
    paths: list[str],
    out: Path,
    name: str | None,
    domain: str,
    inputs: list[str] | tuple[()],
    outputs: list[str] | tuple[()],
    *,
    as_json: bool,
) -> None:
    """Convert mesh files."""
    from opdsl.workflow.datasets.meshes import convert_meshes

    progress = SampleProgress()
    summary = convert_meshes(
        paths, out, name=name, domain=domain, inputs=inputs, outputs=outputs, progress=progress
    )
    progress.end()
    if as_json:
        show_json(asdict(summary) | {"path": str(out)})
        return
    low, high = summary.points
    lines = [f"{out}: {summary.samples} samples of {low} to {high} points, {summary.cells}"]
    lines += [f"field {k}: {_channels(k, n, summary)}" for k, n in summary.fields.items()]
    if summary.left_out:
        lines.append(f"left out: {summary.left_out} points that no cell uses")
    if summary.labels:
        lines.append(f"left out: {', '.join(summary.labels)}, whole numbers on cells")
    result("\n".join(lines))


def _channels(name: str, channels: int, summary: MeshConversion) -> str:
    count = "1 channel" if channels == 1 else f"{channels} channels"
    return f"{count}, moved from cells to points" if name in summary.averaged else count
