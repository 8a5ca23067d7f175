"""`opdsl evaluate`: the errors of a run's best weights on data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from opdsl.cli.console import UsageError, result, say, show_json, warn
from opdsl.cli.options import CoordinatesOption, Device, Json, PrecisionOption, RunArgument


def command(
    run: RunArgument,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data", metavar="PATH", help="Data instead of the run's test data; repeatable."
        ),
    ] = None,
    resolutions: Annotated[
        str | None,
        typer.Option(
            "--resolutions", metavar="16,32", help="Points on each axis; 64x32 where they differ."
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="PART", help="The part of a folder: train, valid or test."),
    ] = None,
    last: Annotated[
        bool, typer.Option("--last", help="The last weights instead of the best.")
    ] = False,
    by_node: Annotated[
        bool,
        typer.Option("--by-node", help="Also the error of each node in narrow precisions."),
    ] = False,
    device: Device = None,
    precision: PrecisionOption = None,
    coordinates: CoordinatesOption = None,
    as_json: Json = False,
) -> None:
    """Measure the errors of a trained model.

    Example: opdsl evaluate runs/darcy --resolutions 33,65,129
    """
    sizes = parsed(resolutions) if resolutions is not None else []
    from opdsl.cli.node_precision import node_errors_text
    from opdsl.cli.results import metrics_table
    from opdsl.workflow.runs.measurements import node_errors_of
    from opdsl.workflow.runs.opening import open_run

    trained_run = open_run(
        run, last=last, device=device or "auto", precision=precision, coordinates=coordinates
    )
    for text in trained_run.notes:
        say(f"note: {text}")
    report = trained_run.evaluate(data or None, resolutions=sizes, split=split, warn=warn)
    what, nodes = node_errors_of(trained_run, data or None, split, warn) if by_node else ("", [])
    if as_json:
        show_json(report.to_json() | ({"nodes": [asdict(x) for x in nodes]} if by_node else {}))
    else:
        result(metrics_table(report.rows()))
    if by_node and not as_json:
        result("\n" + node_errors_text(nodes, what))


def parsed(text: str) -> list[int | tuple[int, ...]]:
    """Parse `16,32` or `64x32`.

    Raises:
        UsageError: it is neither.
    """
    parts = [x.strip().split("x") for x in text.split(",")]
    if not all(x.isdecimal() and int(x[:9]) > 0 for part in parts for x in part):
        raise UsageError(f"`--resolutions {text}`: write numbers of points, as in 16,32 or 64x32")
    sizes = [tuple(int(x) for x in part) for part in parts]
    return [x[0] if len(x) == 1 else x for x in sizes]
