"""`opdsl diff`: the differences between two models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opdsl.cli.completion import programs
from opdsl.cli.console import result, show_json, table
from opdsl.cli.options import Json, Model
from opdsl.diagnostics import Exit

if TYPE_CHECKING:
    from opdsl.export import Difference
    from opdsl.export.diff import ModelChange

SECTIONS = ("settings", "domains", "ports", "nodes")


def command(
    old: Annotated[
        str,
        typer.Argument(
            metavar="OLD",
            help="A .op file or a graph.",
            show_default=False,
            autocompletion=programs,
        ),
    ],
    new: Annotated[
        str,
        typer.Argument(
            metavar="NEW",
            help="Another .op file or graph.",
            show_default=False,
            autocompletion=programs,
        ),
    ],
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Compare two models: nodes, spaces, parameters, promises.

    Exit code 0 if both are the same function of the same weights, whatever their names and
    promises, 1 if not.

    Example: opdsl diff specs/fno_darcy.op mine.op
    """
    from opdsl.cli.files import open_graph
    from opdsl.workflow.views import diff

    difference = diff(open_graph(old, model, None), open_graph(new, model, None))
    if as_json:
        show_json(difference.to_json())
    else:
        result(to_text(difference))
    raise typer.Exit(Exit.OK if difference.same else Exit.FAILED)


def to_text(difference: Difference) -> str:
    """Return the differences in sections, names in one column, gained parameters in another."""
    parts = [_section(name, getattr(difference, name)) for name in SECTIONS]
    before, after = difference.params
    delta = f" ({_gained(after - before)})" if after != before else ""
    total = f"parameters  {before:,}" + (f" => {after:,}{delta}" if delta else "")
    return "\n\n".join([*(x for x in parts if x), f"{total}\n{difference.verdict}"])


def _section(name: str, changes: tuple[ModelChange, ...]) -> str:
    """Return a heading and its rows; further changes of one name get rows of their own."""
    rows: list[tuple[str, ...]] = []
    for x in changes:
        first, *further = x.details or ("",)
        rows.append((f"  {x.sign} {x.name}", _gained(x.params) if x.params else "", first))
        rows += [("", "", y) for y in further]
    if not rows:
        return ""
    plain = all(not x[1] for x in rows)
    columns = [(x[0], *x[1 + plain :]) for x in rows]
    return f"{name}\n{_aligned(columns)}"


def _aligned(rows: list[tuple[str, ...]]) -> str:
    """Align all columns but the last."""
    heads = table([x[:-1] for x in rows]).split("\n")
    wide = max(map(len, heads))
    return "\n".join(f"{a:<{wide}}  {b[-1]}".rstrip() for a, b in zip(heads, rows, strict=True))


def _gained(params: int) -> str:
    return f"{params:+,}"
