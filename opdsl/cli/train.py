"""`opdsl train`: from a program and data to a run folder with weights and a report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opdsl.cli.console import lively, result, say, show_json, table
from opdsl.cli.options import Device, Json, Model, Precision, Sets, Spec
from opdsl.diagnostics import OpError, fault
from opdsl.train.signals import Interrupted

if TYPE_CHECKING:
    from opdsl.cli.programs import Program
    from opdsl.train.listener import Listener
    from opdsl.train.settings import Assignment, Resolved


def command(
    spec: Spec,
    data: Annotated[
        str | None, typer.Option("--data", metavar="PATH", help="Samples to learn from.")
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option("--test", metavar="PATH", help="Samples to test on; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="RUN", help="The run's folder; runs/MODEL-TIME if not given."
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN", help="Begin with the weights of a trained model."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, or with the latest.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option("--epochs", metavar="N", help="Passes over the samples.")
    ] = None,
    device: Device = None,
    precision: Precision = None,
    sets: Sets = None,
    config: Annotated[
        list[str] | None,
        typer.Option("--config", metavar="FILE", help="Settings in YAML; may be repeated."),
    ] = None,
    model: Model = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Show every setting and who gave it; stop.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: Json = False,
) -> None:
    """Train a model.

    Of settings given twice the later wins: train block, --config, --set, options.

    Example: opdsl train specs/fno_darcy.op --data darcy.h5 --set model.width=48
    """
    from opdsl.cli.programs import open_program, resolved

    program = open_program(spec, model=model, sets=sets, configs=config)
    told = resolved(program, _options(data, test, epochs, device, precision))
    if print_config:
        _print_config(program, told, as_json=as_json)
        return
    if told.settings.data.path is None:
        raise _no_data(program)
    from opdsl.cli.training import train

    run = _folder(out, program.graph.name, resume=resume)
    try:
        listener = _listener(quiet=quiet)
        summary = train(program, told, run, resume=resume, listener=listener, source=source)
    except Interrupted as stop:
        say(_stopped(stop, run))
        raise typer.Exit(stop.exit_code) from stop
    if as_json:
        show_json(summary)
    else:
        result(_told(summary))


def _options(
    data: str | None,
    test: list[str] | None,
    epochs: int | None,
    device: str | None,
    precision: str | None,
) -> list[Assignment]:
    """The settings that have an option of their own."""
    from opdsl.cli.overrides import option

    given = (
        ("--data", ("data", "path"), data),
        ("--test", ("data", "test"), test or None),
        ("--epochs", ("schedule", "epochs"), epochs),
        ("--device", ("device",), device),
        ("--precision", ("precision",), precision),
    )
    return [option(name, path, value) for name, path, value in given if value is not None]


def _print_config(program: Program, told: Resolved, *, as_json: bool) -> None:
    """Parameters of the model, then settings, each with its origin."""
    from opdsl.cli.programs import used

    origins = program.origins
    spec = program.source.name
    rows = [(f"model.{k}", v, origins.get(k, spec)) for k, v in program.graph.params.items()]
    rows += used(told)
    if as_json:
        show_json([{"key": k, "value": v, "origin": o} for k, v, o in rows])
    else:
        result(table([(k, f"= {_shown(v)}", f"# {o}") for k, v, o in rows], left=3))


def _shown(value: Any) -> str:
    """The value as a program would write it."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case list():
            return f"[{', '.join(map(_shown, value))}]"
        case tuple():
            return f"({', '.join(map(_shown, value))})"
        case float():
            return f"{value:g}"
    return str(value)


def _no_data(program: Program) -> OpError:
    """OP0602: nothing says what to learn from."""
    from opdsl.elaborate.settings import train_block

    name = program.graph.name
    block = train_block(program.checked.file, name)
    lack = "its train block lacks `data.path`" if block else "it has no train block"
    message = f"nothing says which data `{name}` shall learn from: {lack}"
    helps = (
        "name a file: `--data PATH`",
        f'or write it into the program: `train {name} {{ data {{ path = "..." }} }}`',
    )
    return fault("OP0602", message, helps=helps, file=program.source.name)


def _folder(out: Path | None, model: str, *, resume: bool) -> Path:
    from opdsl.cli.run_folder import latest_folder, new_folder

    if out is not None:
        return out
    return latest_folder(model) if resume else new_folder(model)


def _listener(*, quiet: bool) -> Listener:
    from opdsl.train.listener import Silence
    from opdsl.train.progress import PlainLines, progress

    if quiet:
        return Silence()
    return progress(sys.stderr) if lively(sys.stderr) else PlainLines(sys.stderr)


def _stopped(stop: Interrupted, run: Path) -> str:
    """What an interrupted run can still do."""
    if not stop.saved and not (run / "checkpoints").is_dir():
        return "stopped before the first checkpoint"
    words = [x for x in sys.argv[1:] if x != "--resume"]
    words += ["--resume"] if "--out" in words else ["--out", str(run), "--resume"]
    done = "stopped and saved" if stop.saved else "stopped without a new checkpoint"
    return f"{done}; to go on: {shlex.join(['opdsl', *words])}"


def _told(summary: dict[str, Any]) -> str:
    from opdsl.cli.results import metrics_table

    best = summary["best_epoch"]
    lines = [metrics_table(summary["tests"])] if summary["tests"] else []
    if lines and best is not None:
        lines.append(f"weights of epoch {best} of {summary['epochs']}, the best on the first row")
    lines += [f"begun with   {summary['start']}"] if "start" in summary else []
    lines += [f"run folder   {summary['run']}", f"report page  {summary['report']}"]
    return "\n".join(lines)
