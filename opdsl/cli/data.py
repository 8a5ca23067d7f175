"""`opdsl data show`: what a data set holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from opdsl.cli.console import print_diagnostics, result, show_json, table
from opdsl.cli.options import Json

if TYPE_CHECKING:
    from opdsl.data.bind.samples import Fields


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
    from opdsl.data.bind.suspects import suspects_warning
    from opdsl.data.io.dataset import open_dataset

    fields = open_dataset(path, split=split)
    rows = [_row(fields, name) for name in fields.values]
    if as_json:
        show_json(_about(fields) | {"fields": rows})
        return
    result(_title(fields))
    on = ("on",) if fields.places else ()
    heads = ("field", *on, "role", "samples", "channels", "type", "min", "mean", "max")
    result(table([heads, *(tuple(_cell(x[k]) for k in heads) for x in rows)], left=2))
    if found := suspects_warning(fields):
        result("")
        print_diagnostics([found])


def _title(fields: Fields) -> str:
    """The name, the grid, and a line for each set of points."""
    grid = f"  {'x'.join(map(str, fields.resolution))} ({', '.join(fields.axes)})"
    lines = [fields.name + grid * bool(fields.axes)]
    for name, placed in fields.places.items():
        first, sizes = placed[0], [len(x) for x in placed]
        low, high = min(sizes), max(sizes)
        count = f"{low}" if low == high else f"{low} to {high}"
        whose = "for all samples" if len(placed) == 1 else "for each sample"
        more = [k for k in ("weights", "cells", "edges") if getattr(first, k) is not None]
        told = f"{name}  {count} points in R^{first.points.shape[1]}, {whose}"
        lines.append(", ".join((told, *more)))
    return "\n".join(lines)


def _row(fields: Fields, name: str) -> dict[str, Any]:
    from opdsl.nn.points.batch import numbers

    values = numbers(fields.values[name])
    wide = values.double()
    on = {"on": fields.homes.get(name, "grid")} if fields.places else {}
    return {
        "field": name,
        **on,
        "role": fields.roles[name],
        "samples": len(fields.values[name]),
        "channels": values.shape[1],
        "type": str(values.dtype).removeprefix("torch."),
        "min": _finite(float(wide.min())),
        "mean": _finite(float(wide.mean())),
        "max": _finite(float(wide.max())),
    }


def _finite(number: float) -> float | None:
    """None for what JSON cannot say."""
    return number if abs(number) < float("inf") else None


def _about(fields: Fields) -> dict[str, Any]:
    return {
        "name": fields.name,
        "path": fields.source,
        "axes": list(fields.axes),
        "resolution": list(fields.resolution),
        "suspects": list(fields.suspects),
        "fingerprint": fields.fingerprint,
    }


def _cell(value: Any) -> str:
    if value is None:
        return "not finite"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
