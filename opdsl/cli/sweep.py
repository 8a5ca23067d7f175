"""`opdsl sweep`: train a program at many points of its parameters and settings, and choose one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opdsl.cli.console import UsageError, result, say, show_json, table, warn
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

if TYPE_CHECKING:
    from opdsl.workflow.experiments.sweep_plan import SweepPlan
    from opdsl.workflow.experiments.sweep_state import Sweep, SweepPoint

SHOWN = 20  # points in the table; all of them are in `--json`


def command(
    spec: OptionalSpec = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            "--over",
            metavar="KEY=VALUES",
            help="An axis: model.width=16,32 or optimizer.lr=log(1e-4,1e-2,8); repeatable.",
        ),
    ] = None,
    search: Annotated[
        str, typer.Option("--search", metavar="WORD", help="grid, random or optuna.")
    ] = "grid",
    points: Annotated[
        int | None, typer.Option("--points", metavar="N", help="How many points to train.")
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", help="How often to train each point.")
    ] = 1,
    jobs: Annotated[
        int, typer.Option("--jobs", metavar="N", help="Processes that train side by side.")
    ] = 1,
    data: TrainingDataOption = None,
    valid: Annotated[
        str | None,
        typer.Option("--valid", metavar="PATH", help="Data that choose the point: PATH or 0.1."),
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option("--test", metavar="PATH", help="Samples to test the best point on."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="The sweep's folder; sweeps/MODEL-TIME."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="FOLDER", help="Go on with a sweep.")
    ] = None,
    epochs: Epochs = None,
    device: Device = None,
    precision: PrecisionOption = None,
    sets: SetOption = None,
    config: Config = None,
    model: Model = None,
    no_test: Annotated[
        bool, typer.Option("--no-test", help="Leave the test data for later.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a program at many points and choose the best.

    Validation data choose. Every point is checked before the first one starts.
    Each is a run of its own in the folder of the sweep; the test data are
    measured once, for the best.

    Example: opdsl sweep darcy.op --over model.width=16,32,64 --over "optimizer.lr=log(1e-4,1e-2,8)"

    A sweep that was stopped goes on where it was.

    Example: opdsl sweep --resume sweeps/darcy --jobs 2
    """
    from opdsl.workflow.experiments.sweep import new_sweep_folder, resumed, run_sweep

    if resume is not None:
        if any(
            (spec, over, data, valid, test, out, epochs, device, precision, sets, config, model)
        ):
            raise UsageError("`--resume FOLDER` takes its program and settings from the folder")
        folder, plan = resume, resumed(resume)
    else:
        if spec is None or not over:
            raise UsageError("name a program and an axis: `opdsl sweep SPEC --over KEY=VALUES`")
        options = _options(data, valid, test, epochs, device, precision)
        plan = _plan(spec, over, search, points, seeds, sets, config, options, model)
        folder = out if out is not None else new_sweep_folder(Path(plan.program).stem)
    try:
        sweep = run_sweep(
            plan,
            folder,
            jobs=jobs,
            resume=resume is not None,
            with_tests=not no_test,
            report=_silent if quiet else _report,
            warn=warn,
        )
    except BaseException as stop:
        if type(stop).__name__ in {"Interrupted", "KeyboardInterrupt"}:
            say(f"stopped; to go on: {shlex.join(['opdsl', 'sweep', '--resume', str(folder)])}")
        raise
    if as_json:
        show_json(sweep.to_json())
    else:
        result(_text(sweep))


def _options(
    data: str | None,
    valid: str | None,
    test: list[str] | None,
    epochs: int | None,
    device: str | None,
    precision: str | None,
) -> list[tuple[str, tuple[str, ...], Any]]:
    """Return the settings that are set by their own options, with absolute paths."""
    from opdsl.cli.train import options_of

    settings = options_of(data, valid, test, epochs, device, precision)
    return [(x.origin, x.path, _absolute(x.value)) for x in settings]


def _absolute(value: Any) -> Any:
    """Return an existing path as seen from any folder; other values stay as they are."""
    if isinstance(value, list):
        return [_absolute(x) for x in value]
    if isinstance(value, str) and Path(value).exists():
        return str(Path(value).resolve())
    return value


def _plan(
    spec: str,
    over: list[str],
    search: str,
    points: int | None,
    seeds: int,
    sets: list[str] | None,
    config: list[str] | None,
    options: list[tuple[str, tuple[str, ...], Any]],
    model: str | None,
) -> SweepPlan:
    from opdsl.workflow.experiments.sweep_plan import SweepPlan, source_of

    program, text, folder = source_of(spec)
    return SweepPlan(
        program,
        text,
        folder,
        model,
        tuple(sets or ()),
        tuple(str(Path(x).resolve()) for x in config or ()),
        tuple(options),
        tuple(over),
        search,
        points,
        seeds,
    )


def _silent(_point: SweepPoint, _sweep: Sweep) -> None:
    """Print nothing."""


def _report(point: SweepPoint, sweep: Sweep) -> None:
    """Print a line for a point that has ended."""
    values = "  ".join(f"{k}={v}" for k, v in point.values.items())
    head = f"point {point.number}/{sweep.plan.total}  {values}"
    if point.score is None:
        say(f"{head}  failed: {point.message}")
        return
    spread = f" ± {point.deviation:.2g}" if point.deviation is not None else ""
    best = sweep.best
    mark = "  the best so far" if best and best.number == point.number else ""
    say(f"{head}  valid {point.score:.4g}{spread}  {point.seconds:.1f} s{mark}")


def _text(sweep: Sweep) -> str:
    keys = list(sweep.points[0].values) if sweep.points else []
    several = sweep.plan.seeds > 1
    heads = ("point", *keys, "valid error", *(("deviation",) if several else ()), "seconds")
    rows = [heads]
    for x in sweep.ranked[:SHOWN]:
        score = "failed" if x.score is None else f"{x.score:.4g}"
        spread = ("-" if x.deviation is None else f"{x.deviation:.2g}",) if several else ()
        values = (x.values[k] for k in keys)
        rows.append((str(x.number), *values, score, *spread, f"{x.seconds:.1f}"))
    lines = [table(rows, left=0)]
    hidden = len(sweep.points) - SHOWN
    lines += [f"and {hidden} more points: `--json` shows them"] if hidden > 0 else []
    lines += [f"point {x.number}: {x.message}" for x in sweep.ranked[:SHOWN] if x.message]
    best = sweep.best
    if best is None:
        return "\n".join([*lines, f"sweep folder  {sweep.folder}"])
    lines.append(f"best point    {best.number}, chosen by the error on the validation data")
    lines += _test_lines(sweep)
    lines.append(f"sweep folder  {sweep.folder}")
    lines.append(f"best run      {best.folders[0]}")
    sets = [y for k, v in best.values.items() for y in ("--set", f"{k}={v}")]
    program = sweep.plan.program
    lines.append(f"train again   {shlex.join(['opdsl', 'train', program, *sets])}")
    return "\n".join(lines)


def _test_lines(sweep: Sweep) -> list[str]:
    """Return a line for each test set of the best point, over its seeds."""
    from statistics import fmean, stdev

    lines = []
    for rows in zip(*sweep.tests, strict=False):
        errors = [x["rel_l2"] for x in rows if x.get("rel_l2") is not None]
        if errors:
            spread = f" ± {stdev(errors):.2g} over {len(errors)} seeds" if len(errors) > 1 else ""
            lines.append(f"test error    rel. L2 {fmean(errors):.4g}{spread} on {rows[0]['set']}")
    return lines
