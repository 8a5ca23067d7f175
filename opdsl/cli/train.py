"""`opdsl train`: from a program and data to a run folder with weights and a report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from opdsl.cli.console import UsageError, lively, result, say, show_json, warn
from opdsl.cli.options import (
    Config,
    Device,
    Epochs,
    Json,
    Model,
    OptionalSpec,
    PrecisionOption,
    Quiet,
    SetOption,
    TrainingDataOption,
)
from opdsl.diagnostics import fault

if TYPE_CHECKING:
    from opdsl.setting import Setting
    from opdsl.train.config.schema import Settings
    from opdsl.train.config.settings import ResolvedSettings
    from opdsl.train.run.listener import Listener
    from opdsl.workflow.programs.program import Program
    from opdsl.workflow.training.resuming import ResumableRun
    from opdsl.workflow.training.summary import TrainingSummary

PROGRAMS = (".op", ".json")  # how the name of a program ends


class TrainCommand(TyperCommand):
    """The parser of `train`, which lets `--resume` stand alone and with the folder of a run."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Replace a `--resume` without a value by `--resume=`, the empty value."""
        return super().parse_args(ctx, list(with_values(args)))


def with_values(args: Sequence[str]) -> Iterator[str]:
    """Yield the words of a command line, with `--resume=` for a `--resume` that no run follows.

    A program or an option behind it is not its value: `--resume spec.op --out RUN` is valid too.
    """
    for i, word in enumerate(args):
        if word == "--":
            yield from args[i:]
            return
        after = args[i + 1] if i + 1 < len(args) else "-"
        alone = after.startswith("-") or Path(after).suffix in PROGRAMS
        yield f"{word}=" if word == "--resume" and alone else word


def command(
    spec: OptionalSpec = None,
    data: TrainingDataOption = None,
    valid: Annotated[
        str | None,
        typer.Option(
            "--valid", metavar="PATH", help="Data that choose the weights: PATH, 0.1 or none."
        ),
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
        str | None,
        typer.Option(
            "--resume",
            metavar="[RUN]",
            help="Go on with a run; without RUN that of --out or the latest.",
        ),
    ] = None,
    epochs: Epochs = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds", metavar="N", min=1, help="Train N runs with seeds one after the other."
        ),
    ] = None,
    device: Device = None,
    precision: PrecisionOption = None,
    sets: SetOption = None,
    config: Config = None,
    model: Model = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print every setting with its origin, and stop.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, try some steps, and stop.")
    ] = False,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Find the learning rate of the steepest descent.")
    ] = False,
    overfit: Annotated[
        int | None,
        typer.Option("--overfit", metavar="N", help="Learn N samples by heart, and stop."),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Time and memory of a step by node.")
    ] = False,
    nproc: Annotated[
        int | None,
        typer.Option("--nproc", metavar="N", min=1, help="Train in N processes of this machine."),
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option(
            "--wait",
            metavar="SECONDS",
            min=0.1,
            help="How long processes wait for each other at the start; 300 if not given.",
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a model.

    Of settings given twice the later wins: train block, --config, --set, options.
    --data replaces all that a train block or a file says of data of its own.

    Example: opdsl train specs/fno_darcy.op --data darcy.h5 --set model.width=48

    A run goes on with its own program, settings and data; only what is given
    here changes, where it may.

    Example: opdsl train --resume runs/darcy --epochs 30

    Several seeds give the mean and the deviation of the errors.

    Example: opdsl train specs/fno_darcy.op --seeds 3 --out runs/darcy

    Several processes share each batch; `opdsl launch` is for several machines.

    Example: opdsl train specs/fno_darcy.op --nproc 4
    """
    from opdsl.cli.settings_table import show_settings
    from opdsl.cli.several_processes import in_processes, join, resumed_run, starts
    from opdsl.cli.trials import chosen_trial, run_trial

    alone = print_config or dry_run or find_lr or overfit is not None or profile
    options = options_of(data, valid, test, epochs, device, precision)
    if starts(nproc, alone=alone):

        def settings() -> Settings | None:
            if resume is not None:
                return None
            program, resolved = _new(spec, model, sets, config, options, silent=True)
            _refuse_no_data(program, resolved)
            return resolved.settings

        raise typer.Exit(in_processes(nproc or 1, seeds=seeds, spec=spec, settings=settings))
    resume = resumed_run(resume, out)
    join(wait, alone=alone or seeds is not None)
    trial = chosen_trial(
        dry_run=dry_run,
        find_lr=find_lr,
        overfit=overfit,
        profile=profile,
        resumes=resume is not None,
    )
    if resume is not None and seeds is None:
        resumable = _resumable(spec, resume, out, source, model, sets, config, options)
        program, resolved = resumable.program, resumable.resolved
    else:
        resumable, (program, resolved) = None, _new(spec, model, sets, config, options)
    if print_config:
        show_settings(program, resolved, as_json=as_json)
        return
    _refuse_no_data(program, resolved)
    if trial is not None:
        run_trial(trial, program, resolved, source=source, overfit=overfit, as_json=as_json)
        return
    if seeds is not None:
        from opdsl.cli.seeds import folder_of, train_with_seeds

        train_with_seeds(
            program,
            resolved,
            folder_of(resume, out, program),
            seeds,
            resume=resume is not None,
            options=options,
            listener=lambda: _listener(quiet=quiet),
            source=source,
            as_json=as_json,
        )
        return
    folder = out if resumable is None else resumable.run
    _train(program, resolved, resumable, folder, source, quiet=quiet, as_json=as_json)


def _train(
    program: Program,
    resolved: ResolvedSettings,
    resumable: ResumableRun | None,
    out: Path | None,
    source: Path | None,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train one run, new or resumed, and print its errors."""
    from opdsl.cli.training_progress import stopped_text
    from opdsl.parallel.processes import leave
    from opdsl.workflow.training.execution import begin_run, resume_run
    from opdsl.workflow.training.interrupt import Interrupted

    if out is None:
        from opdsl.workflow.folder.writing import new_folder

        out = new_folder(program.graph.name)
    if resumable is not None and resumable.finished:
        say(_nothing_to_do(resumable))
    try:
        listener = _listener(quiet=quiet)
        if resumable is not None:
            summary = resume_run(resumable, listener=listener, warn=warn)
        else:
            summary = begin_run(program, resolved, out, listener=listener, source=source, warn=warn)
    except Interrupted as stop:
        say(stopped_text(stop, out))
        raise typer.Exit(stop.exit_code) from stop
    leave()
    if as_json:
        show_json(summary.to_json())
    else:
        result(_text(summary))


def _new(
    spec: str | None,
    model: str | None,
    sets: list[str] | None,
    config: list[str] | None,
    options: list[Setting],
    *,
    silent: bool = False,
) -> tuple[Program, ResolvedSettings]:
    """Read the program and the settings of a new run; `silent` leaves warnings out."""
    from opdsl.cli.files import open_source
    from opdsl.workflow.errors import ignore
    from opdsl.workflow.programs.program import open_program, resolve_settings

    if spec is None:
        raise UsageError("name a program, as in `opdsl train model.op`, or a run: `--resume RUN`")
    source, folder = open_source(spec)
    shows = ignore if silent else warn
    program = open_program(source, folder, model=model, sets=sets, configs=config, warn=shows)
    return program, resolve_settings(program, options)


def _resumable(
    spec: str | None,
    named: str,
    out: Path | None,
    source: Path | None,
    model: str | None,
    sets: list[str] | None,
    config: list[str] | None,
    options: list[Setting],
) -> ResumableRun:
    """Read the run to continue, and the settings that change.

    If a program is given, it has to be that of the run; without a folder, the latest run of its
    model is continued.
    """
    from opdsl.cli.files import open_source
    from opdsl.workflow.folder.writing import latest_folder
    from opdsl.workflow.training.execution import refuse_other_start
    from opdsl.workflow.training.resuming import model_in, resumable_run

    program = None if spec is None else open_source(spec)
    latest = model or (None if program is None else model_in(*program))
    if named and out is not None and Path(named).resolve() != out.resolve():
        raise UsageError(f"`--resume {named} --out {out}`: name one folder")
    run = Path(named) if named else out if out is not None else latest_folder(latest)
    if source is not None:
        refuse_other_start(run, source)
    return resumable_run(
        run, spec=program, model=model, sets=sets, configs=config, options=options, warn=warn
    )


def _nothing_to_do(resumable: ResumableRun) -> str:
    """Return the message for a finished run, which lists the settings without effect."""
    changes = ", ".join(f"`{x}`" for x in resumable.changed)
    without_effect = f"; {changes} would take effect with more epochs only" if changes else ""
    command = shlex.join(["opdsl", "train", "--resume", str(resumable.run), "--epochs"])
    return (
        f"the run is finished after {resumable.epochs} epochs and stays as it is{without_effect}\n"
        f"to go on with it: {command} N"
    )


def options_of(
    data: str | None,
    valid: str | None,
    test: list[str] | None,
    epochs: int | None,
    device: str | None,
    precision: str | None,
) -> list[Setting]:
    """Return the settings that are set by their own options, such as `--epochs`."""
    from opdsl.workflow.programs.overrides import option

    values = (
        ("--data", ("data", "path"), data),
        ("--valid", ("data", "valid"), None if valid is None else _part_or_path(valid)),
        ("--test", ("data", "test"), test or None),
        ("--epochs", ("schedule", "epochs"), epochs),
        ("--device", ("device",), device),
        ("--precision", ("precision",), precision),
    )
    return [option(name, path, value) for name, path, value in values if value is not None]


def _part_or_path(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _refuse_no_data(program: Program, resolved: ResolvedSettings) -> None:
    """Refuse a run without data.

    Raises:
        OpError: OP0602, nothing says which data it learns from.
    """
    if resolved.settings.data.path is not None:
        return
    from opdsl.workflow.programs.program import train_block_exists

    name = program.graph.name
    block = train_block_exists(program)
    lack = "its train block lacks `data.path`" if block else "it has no train block"
    message = f"nothing says which data `{name}` shall learn from: {lack}"
    helps = (
        "name a file: `--data PATH`",
        f'or write it into the program: `train {name} {{ data {{ path = "..." }} }}`',
    )
    raise fault("OP0602", message, helps=helps, file=program.source.name)


def _listener(*, quiet: bool) -> Listener:
    from opdsl.cli.training_progress import PlainLines, progress
    from opdsl.workflow.training.progress import SilentListener

    if quiet:
        return SilentListener()
    return progress(sys.stderr) if lively(sys.stderr) else PlainLines(sys.stderr)


def _text(summary: TrainingSummary) -> str:
    from opdsl.cli.results import metrics_table

    best, epochs = summary.best_epoch, summary.epochs
    rows = [*summary.valid, *summary.tests]
    lines = [metrics_table(rows)] if rows else []
    lines.append(f"validation   {summary.choice}")
    weights = f"epoch {best} of {epochs}, the best on the validation data"
    lines.append(f"weights      {weights if best else f'the last, of epoch {epochs}'}")
    lines += [f"begun with   {summary.start}"] if summary.start else []
    lines += [f"run folder   {summary.run}", f"report page  {summary.report}"]
    return "\n".join(lines)
