"""`opdsl.sweep`: train a program at many values of its parameters and settings, and choose one.

The choice is by the error on validation data; test data are measured once, for the chosen point.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opdsl.compiler import read
from opdsl.diagnostics import OpError, fault
from opdsl.export import to_program
from opdsl.files import read_json
from opdsl.ir.graph import Graph
from opdsl.train.run.folder import lock
from opdsl.workflow.datasets.reading.in_memory import TrainingData, as_sources
from opdsl.workflow.datasets.reading.sources import Sources, in_memory
from opdsl.workflow.errors import ArgumentError, Warn, ignore, warn_in_python
from opdsl.workflow.experiments.axes import axes_of
from opdsl.workflow.experiments.point import train_point
from opdsl.workflow.experiments.pool import train_in_processes
from opdsl.workflow.experiments.search import SEARCHES
from opdsl.workflow.experiments.sweep_plan import PLAN, SweepPlan, checked_plan, read_plan
from opdsl.workflow.experiments.sweep_state import (
    PointListener,
    Sweep,
    SweepPoint,
    SweepState,
    nothing,
)
from opdsl.workflow.folder.reading import read_about
from opdsl.workflow.output import write_file
from opdsl.workflow.programs.overrides import settings_in_python
from opdsl.workflow.runs.opening import open_run
from opdsl.workflow.views import ProgramSource

SWEEPS = Path("sweeps")
CHOICE = "best.json"  # the chosen point with its test errors


def sweep(
    program: ProgramSource,
    over: Mapping[str, object] | Sequence[str],
    *,
    data: TrainingData | None = None,
    valid: TrainingData | float | None = None,
    test: TrainingData | Sequence[TrainingData] | None = None,
    search: str = "grid",
    points: int | None = None,
    seeds: int = 1,
    jobs: int = 1,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    model: str | None = None,
    parameters: Mapping[str, object] | None = None,
    progress: Callable[[SweepPoint], object] | None = None,
    warn: Warn = warn_in_python,
    **settings: Any,
) -> Sweep:
    """Train a program at many points, and choose the one with the least validation error.

    Every point is checked before the first one is trained. Each point is a run in the folder of the
    sweep. Only the chosen point is measured on the test data, once, at the end.

    Args:
        program: a path, the text of a program, or a graph.
        over: the axes, `{"model.width": [16, 32], "optimizer.lr": "log(1e-4, 1e-2, 8)"}`, or texts
            as for `--over`.
        data, valid, test: as for `opdsl.train`.
        search: `grid` trains every combination, `random` draws points, `optuna` proposes them from
            the errors so far.
        points: how many points; all of a grid, or 20, if not given.
        seeds: how often each point is trained, with seeds that follow `seed`; points are compared
            by their mean error.
        jobs: processes that train side by side; data in memory need 1.
        out: the folder of the sweep; `sweeps/MODEL-TIME` if not given.
        resume: go on with the sweep in `out`.
        model, parameters, warn: as for `opdsl.train`.
        progress: called with each point that has ended.
        settings: of every run, as for `opdsl.train`.

    Raises:
        OpError: every mistake in the program or a point; OP0743, an axis is wrong; OP0744, `out`
            holds another sweep; OP0745, there are no validation data to choose by.
        KeyboardInterrupt: the user stopped the sweep, which `resume` goes on with.

    >>> import numpy as np, opdsl
    >>> a = np.random.default_rng(0).normal(size=(20, 1, 16)).astype("float32")
    >>> over = {"optimizer.lr": [1e-4, 1e-2]}
    >>> sweep = opdsl.sweep(PROGRAM, over, data={"a": a, "u": a}, epochs=2, out=FOLDER / "sweep")
    >>> sweep.best.values
    {'optimizer.lr': '0.01'}
    """
    path, text, folder = _source(program)
    sets = tuple(f"model.{k}={_value(v)}" for k, v in (parameters or {}).items())
    texts = tuple(over) if not isinstance(over, Mapping) else tuple(_texts(over))
    plan = SweepPlan(
        path,
        text,
        folder,
        model,
        sets,
        over=texts,
        search=search,
        count=points,
        seeds=seeds,
        seed=int(settings.get("seed", 0)),
    )
    first = plan.open({x.key: x.extremes[0] for x in plan.axes})
    sources, places = as_sources(first.graph, data, valid, test)
    options = settings_in_python(settings) + settings_in_python({"data": places}, "data")
    plan = replace(plan, options=tuple((x.origin, x.path, x.value) for x in options))
    here = Path(out) if out is not None else new_sweep_folder(first.graph.name)

    def report(point: SweepPoint, _: Sweep) -> None:
        if progress is not None:
            progress(point)

    return run_sweep(
        plan, here, jobs=jobs, resume=resume, sources=sources, report=report, warn=warn
    )


def _texts(over: Mapping[str, object]) -> Iterator[str]:
    for axis in axes_of(over):
        yield str(axis)


def _value(value: object) -> str:
    return "true" if value is True else "false" if value is False else str(value)


def _source(program: ProgramSource) -> tuple[str, str, str]:
    if isinstance(program, Graph):
        return f"<{program.name}>", to_program(program), str(Path.cwd())
    source, place = read(program if isinstance(program, str) else Path(program))
    path = str(Path(source.name).resolve()) if place is not None else source.name
    return path, source.text, str((place or Path()).resolve())


def new_sweep_folder(model: str) -> Path:
    """Return `sweeps/DarcyFNO-20260131-141500`, numbered if that exists already."""
    stamp = datetime.now(UTC).astimezone().strftime("%Y%m%d-%H%M%S")
    names = [f"{model}-{stamp}", *(f"{model}-{stamp}-{i}" for i in range(2, 1000))]
    return next(SWEEPS / x for x in names if not (SWEEPS / x).exists())


def run_sweep(
    plan: SweepPlan,
    out: Path,
    *,
    jobs: int = 1,
    resume: bool = False,
    sources: Sources | None = None,
    with_tests: bool = True,
    report: PointListener = nothing,
    warn: Warn = ignore,
) -> Sweep:
    """Check every point of a plan, train those that are not trained yet, and test the best.

    Args:
        plan: what to train.
        out: the folder of the sweep.
        jobs: processes side by side.
        resume: go on with the sweep in `out`.
        sources: data sets in memory.
        with_tests: whether to measure the best point on the test data at the end.
        report: is called with each point whose runs have all ended.
        warn: receives warnings about program and data.

    Raises:
        OpError: as for `sweep`.
        ArgumentError: a number or a word of the call has no meaning.
    """
    _refuse_numbers(plan, jobs)
    in_this_process = sources is not None and bool(sources.memory)
    if in_this_process and jobs > 1:
        raise ArgumentError("data in memory are trained by one process: leave `jobs` out")
    known = (out / PLAN).exists()
    if known and not resume:
        message = "the folder holds a sweep already"
        helps = (f"go on with it: `opdsl sweep --resume {out}`", "or name another: `--out FOLDER`")
        raise fault("OP0744", message, helps=helps, file=str(out))
    if not known and out.is_dir() and any(out.iterdir()):
        another = ("name another: `--out FOLDER`",)
        raise fault(
            "OP0744", "the folder is not empty and holds no sweep", helps=another, file=str(out)
        )
    stored = read_plan(out) if known else None
    plan = checked_plan(plan, sources, warn)
    if stored is not None:
        _refuse_other(stored, plan, out)
    out.mkdir(parents=True, exist_ok=True)
    with lock(out):
        if stored is None:
            plan.write(out)
        running = SweepState(plan, out, report)
        if in_this_process:
            while (run := running.next_run()) is not None:
                running.ended(run, train_point(plan, run, out, sources))
        else:
            train_in_processes(out, jobs, running.next_run, running.ended)
        return _tested(running.sweep(), sources, with_tests=with_tests, warn=warn)


def _refuse_numbers(plan: SweepPlan, jobs: int) -> None:
    if plan.search not in SEARCHES:
        raise ArgumentError(f"the search is one of {', '.join(SEARCHES)}, not `{plan.search}`")
    counts = {"jobs": jobs, "seeds": plan.seeds, "points": plan.count}
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ArgumentError(f"`{name}` is {count}, and has to be at least 1")


def _refuse_other(stored: SweepPlan, plan: SweepPlan, out: Path) -> None:
    """Raise OP0744 if the folder holds another sweep, or its program trains something else now."""
    if stored.keys == plan.keys and replace(stored, text="") == replace(plan, text=""):
        return
    names = ("program", "model", "over", "search", "count", "seeds", "sets", "configs", "options")
    differing = [x for x in names if getattr(stored, x) != getattr(plan, x)]
    what = ", ".join(f"`{x}`" for x in differing) or "the program or a settings file"
    message = f"the sweep in the folder was begun otherwise: {what} has changed"
    helps = ("put it back as it was", "or begin another sweep: `--out FOLDER`")
    raise fault("OP0744", message, helps=helps, file=str(out))


def open_sweep(out: str | os.PathLike[str]) -> Sweep:
    """Open the results of a sweep, finished or not.

    Raises:
        OpError: OP0744, the folder is no sweep.

    >>> import numpy as np, opdsl
    >>> a = np.random.default_rng(0).normal(size=(20, 1, 16)).astype("float32")
    >>> more = {"data": {"a": a, "u": a}, "epochs": 1, "out": FOLDER / "seeds"}
    >>> sweep = opdsl.sweep(PROGRAM, {"model.width": [2, 4]}, seeds=2, **more)
    >>> [len(point.results) for point in opdsl.open_sweep(FOLDER / "seeds").points]
    [2, 2]
    """
    folder = Path(out)
    sweep = SweepState(read_plan(folder), folder, nothing).sweep()
    return replace(sweep, tests=_stored_tests(sweep))


# ----------------------------------------------------------------------------- the chosen point


def _tested(sweep: Sweep, sources: Sources | None, *, with_tests: bool, warn: Warn) -> Sweep:
    """Measure the best point on the test data, unless that has been done."""
    best = sweep.best
    if best is None or not with_tests:
        return sweep
    tests = _stored_tests(sweep)
    if not tests:
        tests = tuple(_test_rows(x, sources, warn) for x in best.folders)
        tests = tests if all(tests) else ()
    choice = {"point": best.number, "values": best.values, "score": best.score, "tests": tests}
    write_file(sweep.folder / CHOICE, json.dumps(choice, indent=1).encode())
    return replace(sweep, tests=tests)


def _stored_tests(sweep: Sweep) -> tuple[tuple[Mapping[str, Any], ...], ...]:
    """Return the test errors that have been measured for the point that is the best one."""
    try:
        choice = read_json(sweep.folder / CHOICE)
        rows = tuple(tuple(x) for x in choice["tests"])
        same = sweep.best is not None and choice["point"] == sweep.best.number
    except (OSError, ValueError, LookupError, TypeError):
        return ()
    return rows if same else ()


def _test_rows(folder: Path, sources: Sources | None, warn: Warn) -> tuple[Mapping[str, Any], ...]:
    """Measure a run on its test data; nothing for a run without any."""
    places = [x["path"] for x in read_about(folder)["data"].get("tests", [])]
    if not places:
        return ()
    memory = sources.memory if sources else {}
    if any(in_memory(x) for x in places):
        data: Any = [memory[x] for x in places if x in memory]
        if len(data) < len(places):
            return ()
    else:
        data = None
    run = open_run(folder, device="auto")
    return tuple(run.evaluate(data, warn=warn).rows())


def resumed(out: Path) -> SweepPlan:
    """Return the plan of a sweep, to go on with it: its points are those of the plan.

    Raises:
        OpError: OP0744, the folder is no sweep; OP0202, its program cannot be read.
    """
    plan = read_plan(out)
    if plan.program.startswith("<"):
        return plan
    try:
        source, _ = read(Path(plan.program))
    except OpError as error:
        helps = (f"put it back; the sweep was begun with its text, which is in `{PLAN}`",)
        raise fault(
            "OP0744", "the program of the sweep is gone", helps=helps, file=plan.program
        ) from error
    return replace(plan, text=source.text)
