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
