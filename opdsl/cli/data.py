"""`opdsl data show`: what a data set holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from opdsl.cli.console import print_diagnostics, result, show_json, table
from opdsl.cli.options import Json

if TYPE_CHECKING:
    from opdsl.workflow.datasets.description import DatasetDescription


def show(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A file or a folder.", show_default=False)
    ],
    split: Annotated[
        str | None, typer.Option("--split", metavar="PART", help="Of a folder: train, valid, test.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a data set holds: fields, shapes, resolution, suspects.

    Example: opdsl data show darcy.h5
    """
    from opdsl.workflow.datasets.description import describe_dataset

    found = describe_dataset(path, split)
    if as_json:
        show_json(found.to_json())
        return
    result(_title(found))
    on = ("on",) if found.points else ()
    heads = ("field", *on, "role", "samples", "channels", "type", "min", "mean", "max")
    result(table([heads, *(tuple(_cell(x[k]) for k in heads) for x in found.rows())], left=2))
    if found.warning:
        result("")
        print_diagnostics([found.warning])


def _title(found: DatasetDescription) -> str:
    """Return the name, the grid, and a line for each set of points."""
    about = found.about
    grid = f"  {'x'.join(map(str, about['resolution']))} ({', '.join(about['axes'])})"
    return "\n".join([about["name"] + grid * bool(about["axes"]), *found.points])


def _cell(value: Any) -> str:
    if value is None:
        return "not finite"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
