"""`opdsl data show`: what a data set holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from opdsl.cli.console import print_diagnostics, result, show_json, table
from opdsl.cli.options import Json

if TYPE_CHECKING:
    from opdsl.workflow.datasets.description import ArrayListing, DatasetDescription

MOST_ROWS = 40  # arrays that are listed


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
    """Say what a data set holds: arrays; and fields, where the layout of the file is known.

    Arrays are listed without reading their values. The table of fields reads them.

    Example: opdsl data show darcy.h5
    """
    from opdsl.workflow.datasets.description import describe_dataset

    description = describe_dataset(path, split)
    if as_json:
        show_json(description.to_json())
        return
    if description.arrays:
        result(_listing(description.arrays))
    if description.note:
        result(f"\nnote: {description.note}")
        return
    if description.arrays:
        result("\n")
    result(_title(description))
    on = ("on",) if description.points else ()
    heads = ("field", *on, "role", "samples", "channels", "type", "min", "mean", "max")
    result(table([heads, *(tuple(_cell(x[k]) for k in heads) for x in description.rows())], left=2))
    if description.warning:
        result("")
        print_diagnostics([description.warning])


def _listing(arrays: ArrayListing) -> str:
    """Return a line on the file, and the table of its arrays."""
    noun = "array" if arrays.count == 1 else "arrays"
    head = [f"{arrays.format}, {arrays.count} {noun}", *([arrays.about] if arrays.about else [])]
    heads = ("array", "shape", "type", "axes", "attributes")
    lines = [(x.name, x.extent, x.type, x.named_axes, x.about) for x in arrays.rows[:MOST_ROWS]]
    used = [i for i in range(len(heads)) if any(x[i] for x in lines)]
    cells = [tuple(x[i] for i in used) for x in (heads, *lines)]
    text = table(cells, left=len(used)) if lines else "nothing"
    more = len(arrays.rows) - MOST_ROWS
    return "\n".join([*head, text, *([f"and {more} more"] if more > 0 else [])])


def _title(description: DatasetDescription) -> str:
    """Return the name, the grid, and a line for each set of points."""
    about = description.about
    grid = f"  {'x'.join(map(str, about['resolution']))} ({', '.join(about['axes'])})"
    return "\n".join([about["name"] + grid * bool(about["axes"]), *description.points])


def _cell(value: Any) -> str:
    if value is None:
        return "not finite"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
