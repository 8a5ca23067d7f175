"""`opdsl compress`: the spectral weights of a run as products of small tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from opdsl.cli.console import UsageError, result, show_json, table, warn
from opdsl.cli.options import Device, Json, RunArgument

if TYPE_CHECKING:
    from opdsl.workflow.compression.compress import Compression

SHOWN = {"rel_l2": "rel. L2", "rmse": "RMSE", "max_error": "max error"}


def command(
    run: RunArgument,
    out: Annotated[str, typer.Option("--out", metavar="FOLDER", help="The compressed run.")],
    factor: Annotated[
        str, typer.Option("--factor", metavar="NAME", help="tucker, cp or tt.")
    ] = "tucker",
    rank: Annotated[
        str,
        typer.Option(
            "--rank", metavar="R", help="Part of the numbers, 0.1, or ranks: 16, or 16,16,8,4."
        ),
    ] = "0.1",
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="PATH", help="Layers below a path; may be repeated."),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", metavar="N", min=0, help="Of fine-tuning; a tenth of those of the run."
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option("--lr", metavar="RATE", help="Learning rate of fine-tuning; as in the run."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="PATH", help="Training data instead of those of the run."),
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option("--test", metavar="PATH", help="Where to measure errors; may be repeated."),
    ] = None,
    device: Device = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    as_json: Json = False,
) -> None:
    """Decompose the spectral weights of a run.

    The result is fine-tuned, and the errors before and after are compared.

    Example: opdsl compress runs/darcy --factor tucker --rank 0.1 --out runs/small
    """
    ranks = parsed(rank)
    if lr is not None and not lr > 0:
        raise UsageError(f"`--lr {lr:g}`: a learning rate is above 0")
    from opdsl.cli.training_progress import progress
    from opdsl.workflow.runs.opening import open_run

    trained_run = open_run(run, device=device or "auto")
    compression = trained_run.compress(
        out,
        factor=factor,
        rank=ranks,
        only=only or (),
        epochs=epochs,
        lr=lr,
        data=data,
        test=test or None,
        progress=None if quiet else progress(),
        warn=warn,
    )
    if as_json:
        show_json(compression.to_json())
    else:
        result(_text(compression))


def parsed(text: str) -> float | int | tuple[int, ...]:
    """Parse `0.1`, `16` or `16,16,8,4`.

    Raises:
        UsageError: it is none of these.
    """
    parts = [x.strip() for x in text.split(",")]
    try:
        if len(parts) > 1:
            return tuple(int(x) for x in parts)
        return int(text) if text.strip().isdecimal() else float(text)
    except ValueError:
        message = f"`--rank {text}`: write a fraction, as 0.1, or whole numbers, as 16 or 16,16,8,4"
        raise UsageError(message) from None


def _text(compression: Compression) -> str:
    """Show the layers, then the errors at each stage."""
    rows: list[tuple[str, ...]] = [("layer", "dense weight", "ranks", "numbers", "error")]
    rows += [
        (
            x.path,
            "x".join(map(str, x.shape)),
            ", ".join(map(str, x.ranks)),
            f"{x.numbers[1]:,} of {x.numbers[0]:,}",
            f"{x.error:.3g}",
        )
        for x in compression.layers
    ]
    stages: list[tuple[str, ...]] = [("model", "weights", "set", *SHOWN.values())]
    stages += [
        (x.name, f"{x.weights:,}", str(y["set"]), *(_number(y.get(k)) for k in SHOWN))
        for x in compression.stages
        for y in x.errors
    ]
    dense = [f"{path} stays dense: {reason}" for path, reason in compression.dense.items()]
    folders = [(x.name, str(x.folder)) for x in compression.stages[1:]]
    return "\n".join([table(rows), *dense, "", table(stages), "", table(folders)])


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}"
