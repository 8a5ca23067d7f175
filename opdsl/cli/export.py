"""`opdsl export`: a model as a file that runs without opdsl, checked against the model itself."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opdsl.cli.console import UsageError, result, say, show_json
from opdsl.cli.files import named
from opdsl.cli.options import Json, Model, Parameters

if TYPE_CHECKING:
    from opdsl.lower.exported import ExportReport, Subject

SUFFIXES = (".pt2", ".onnx", ".aoti.pt2")


class Kind(StrEnum):
    """What is written."""

    PT2 = "pt2"
    ONNX = "onnx"
    AOTI = "aoti"


ENDINGS = {".aoti.pt2": Kind.AOTI, ".pt2": Kind.PT2, ".onnx": Kind.ONNX}


class Numbers(StrEnum):
    """The number format of weights and values."""

    FP32 = "fp32"
    FP64 = "fp64"


def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|SPEC", help="The folder of a run, or a program: fresh weights."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="A .pt2, .onnx or .aoti.pt2 file.")
    ],
    kind: Annotated[
        Kind | None, typer.Option("--format", help="What to write, if the name does not say it.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="x=64,y=64", help="The resolution at which it is traced."),
    ] = None,
    batch: Annotated[
        int, typer.Option("--batch", min=1, metavar="N", help="Samples where it is traced.")
    ] = 2,
    fixed: Annotated[
        bool, typer.Option("--fixed", help="For this batch and resolution only: faster.")
    ] = False,
    precision: Annotated[
        Numbers, typer.Option("--precision", help="fp32 or fp64, of weights and values.")
    ] = Numbers.FP32,
    last: Annotated[
        bool, typer.Option("--last", help="Of a run, the last weights instead of the best.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of fresh weights.")] = 0,
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
    chosen = _kind(out, kind)
    from opdsl.lower.exported import ExportCall, example, export
    from opdsl.summary import parse_at

    subject = _of_run(source, model, sets, last=last) if Path(source).is_dir() else None
    subject = subject or _of_program(source, model, sets, seed)
    if precision is Numbers.FP64:
        subject.whole.double()
    roots = example(subject.graph) if at is None else parse_at(at, subject.graph)
    about = {"values": "physical" if Path(source).is_dir() else "as in the program"}
    report = export(subject, ExportCall(roots, batch), out, kind=chosen, fixed=fixed, about=about)
    if as_json:
        show_json(report.to_json())
        return
    for line in _told(report, subject):
        say(line)
    result(str(out))


def _kind(out: Path, kind: Kind | None) -> Kind:
    """What to write, as it was said or by its name."""
    said = next((k for x, k in ENDINGS.items() if out.name.endswith(x)), None)
    named("--out", out, (".onnx",) if kind is Kind.ONNX else (".pt2",) if kind else SUFFIXES)
    return kind or said or Kind.PT2


def _of_run(folder: str, model: str | None, sets: Sequence[str] | None, *, last: bool) -> Subject:
    """The module of a run, with what normalises around it."""
    if model or sets:
        raise UsageError("`--model` and `--set` are for programs; the model of a run is what it is")
    from opdsl.lower.exported import Subject
    from opdsl.lower.exported.trace import refuse_points
    from opdsl.workflow.operator import Operator
    from opdsl.workflow.run_folder import read_run_folder
    from opdsl.workflow.weights import trained_module

    run = read_run_folder(folder)
    refuse_points(run.graph)
    module, trained = trained_module(run.folder, run.graph, last=last)
    whole = Operator(module, trained.normaliser)
    return Subject(run.graph, module, whole, whole.draw)


def _of_program(spec: str, model: str | None, sets: Sequence[str] | None, seed: int) -> Subject:
    """A fresh module."""
    from opdsl.cli.programs import open_model
    from opdsl.lower.exported import Subject
    from opdsl.lower.exported.trace import refuse_points
    from opdsl.summary.memory_check import refuse_too_large, weight_bytes

    graph = open_model(spec, model, sets).graph
    refuse_points(graph)
    refuse_too_large(graph.name, {"weights": weight_bytes(graph)})
    import torch

    from opdsl.lower.module import lower

    torch.manual_seed(seed)
    module = lower(graph)
    return Subject(graph, module, module)


def _told(report: ExportReport, subject: Subject) -> list[str]:
    """What the file takes, and how near it is."""
    from opdsl.lower.exported import Free, axis_names

    names = axis_names(subject.graph)
    lines = []
    for name, shape in report.inputs.items():
        sizes = (a if n is None else str(n) for a, n in zip(names[name], shape, strict=True))
        lines.append(f"{name}: ({', '.join(sizes)})")
    if report.said:
        bound = "resolution" if report.free is Free.BATCH else "batch and resolution"
        lines.append(f"for this {bound} only: {report.said}")
    if report.step > 1:
        lines.append(f"a resolution differs from the traced one by multiples of {report.step}")
    calls = "; ".join(str(x) for x in report.calls)
    near = (
        f"differs by {report.difference:.1e} of the greatest value, allowed {report.tolerance:.0e}"
    )
    used = (f"  {x}" for x in report.usage)
    return [*lines, f"compared at {calls}: {near}", "to run it:", *used]
