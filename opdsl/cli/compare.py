"""`opdsl compare`: the differences between trained runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opdsl.cli.console import UsageError, result, say, show_json, warn
from opdsl.cli.options import Json


def command(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN", help="The folders of runs, two or more.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="The .html page to write: curves, pictures, tables."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="PATH", help="Data for the page instead of the first run's test data."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare trained runs: settings, programs, errors and cost.

    A star marks the smallest error of a row, where the data are the same. The page has curves over
    epochs and time, spectra, and predictions of all runs on the same samples.

    Example: opdsl compare runs/a runs/b -o comparison.html
    """
    if data is not None and out is None:
        raise UsageError("`--data` is for the page: name one with `--out comparison.html`")
    from opdsl.workflow.comparison.compare import compare

    comparison = compare(*runs, out=out, data=data, warn=warn)
    if as_json:
        show_json(comparison.to_json())
    else:
        result(str(comparison))
    if comparison.page is not None:
        say(f"page  {comparison.page}")
