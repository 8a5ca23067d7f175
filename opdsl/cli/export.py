"""`opdsl export`: a model as a file that runs without opdsl, checked against the model itself."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opdsl.cli.console import UsageError, result, say, show_json
from opdsl.cli.files import named
from opdsl.cli.options import Json, Model, Parameters

if TYPE_CHECKING:
    from opdsl.workflow.export import ExportedModel

SUFFIXES = (".pt2", ".onnx", ".aoti.pt2")


class ExportKind(StrEnum):
    """A format of exported files."""

    PT2 = "pt2"
    ONNX = "onnx"
    AOTI = "aoti"


ENDINGS = {".aoti.pt2": ExportKind.AOTI, ".pt2": ExportKind.PT2, ".onnx": ExportKind.ONNX}


class NumberFormat(StrEnum):
    """The number format of weights and values."""

    FP32 = "fp32"
    FP64 = "fp64"


def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|SPEC", help="The folder of a run, or a program with fresh weights."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="A .pt2, .onnx or .aoti.pt2 file.")
    ],
    kind: Annotated[
        ExportKind | None,
        typer.Option("--format", help="pt2, onnx or aoti, if the name does not say it."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="x=64,y=64", help="The resolution at which the model is traced."
        ),
    ] = None,
    batch: Annotated[
        int,
        typer.Option(
            "--batch", min=1, metavar="N", help="The batch with which the model is traced."
        ),
    ] = 2,
    fixed: Annotated[
        bool, typer.Option("--fixed", help="For this batch and resolution only: faster.")
    ] = False,
    precision: Annotated[
        NumberFormat, typer.Option("--precision", help="fp32 or fp64, of weights and values.")
    ] = NumberFormat.FP32,
    last: Annotated[
        bool, typer.Option("--last", help="The last weights of a run instead of the best.")
    ] = False,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="Seed of fresh weights.")
    ] = 0,
    model: Model = None,
    sets: Parameters = None,
    as_json: Json = False,
) -> None:
    """Write a model as a file that runs without opdsl.

    The suffix says what: .pt2 is a program of torch.export, .aoti.pt2 is compiled
    for this kind of processor by AOTInductor, .onnx is for onnxruntime. That of a
    run takes and gives physical values. The file is opened again and compared
    with the model at several resolutions and batches; one that differs is not
    kept.

    Example: opdsl export runs/darcy --out darcy.onnx
    Example: opdsl export specs/fno_darcy.op --out fno.aoti.pt2
    """
    export_kind = _kind(out, kind)
    of_run = Path(source).is_dir()
    if of_run and (model or sets):
        message = "`--model` and `--set` are for programs; the model of a run is what it is"
        raise UsageError(message)
    from opdsl.cli.files import open_graph
    from opdsl.workflow.export import export

    model_file = export(
        source if of_run else open_graph(source, model, sets),
        out,
        format=export_kind.value,
        at=at,
        batch=batch,
        fixed=fixed,
        double=precision is NumberFormat.FP64,
        last=last,
        seed=seed,
    )
    if as_json:
        show_json(model_file.to_json())
        return
    for line in _lines(model_file):
        say(line)
    result(str(out))


def _kind(out: Path, kind: ExportKind | None) -> ExportKind:
    """Return the format of the file, from the option or from its name."""
    by_name = next((k for x, k in ENDINGS.items() if out.name.endswith(x)), None)
    named("--out", out, (".onnx",) if kind is ExportKind.ONNX else (".pt2",) if kind else SUFFIXES)
    return kind or by_name or ExportKind.PT2


def _lines(exported: ExportedModel) -> list[str]:
    """Describe the inputs of the file, and how near it is to the model."""
    report, names = exported.report, exported.axes
    lines = []
    for name, shape in report.inputs.items():
        sizes = (a if n is None else str(n) for a, n in zip(names[name], shape, strict=True))
        lines.append(f"{name}: ({', '.join(sizes)})")
    if report.said:
        fixed_sizes = "resolution" if report.free == "batch" else "batch and resolution"
        lines.append(f"for this {fixed_sizes} only: {report.said}")
    if report.step > 1:
        lines.append(f"a resolution differs from the traced one by multiples of {report.step}")
    calls = "; ".join(str(x) for x in report.calls)
    near = (
        f"differs by {report.difference:.1e} of the greatest value, allowed {report.tolerance:.0e}"
    )
    usage_lines = (f"  {x}" for x in report.usage)
    return [*lines, f"compared at {calls}: {near}", "to run it:", *usage_lines]
