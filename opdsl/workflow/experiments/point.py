"""One point of a sweep: a run of its own, trained or resumed, and its error on validation data."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opdsl.diagnostics import OpError
from opdsl.train.run.folder import ABOUT
from opdsl.train.run.metrics_log import read_metrics, validation
from opdsl.workflow.datasets.reading.sources import Sources
from opdsl.workflow.experiments.scores import number, score_of
from opdsl.workflow.experiments.search import SweepValues
from opdsl.workflow.experiments.sweep_plan import SweepPlan
from opdsl.workflow.folder.reading import read_about
from opdsl.workflow.training.execution import begin_run, resume_run
from opdsl.workflow.training.progress import SilentListener
from opdsl.workflow.training.resuming import resumable_run


@dataclass(frozen=True, slots=True)
class SweepRun:
    """A run of a sweep: a point with a seed.

    Attributes:
        point: its number, from 1.
        values: of the axes.
        seed: added to the seed of the settings.
        folder: of the run, in that of the sweep.
    """

    point: int
    values: SweepValues
    seed: int
    folder: str

    def to_json(self) -> dict[str, Any]:
        """Return plain data, which `SweepRun(**data)` reads."""
        return {name: getattr(self, name) for name in type(self).__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class RunResult:
    """The end of a run of a sweep.

    Attributes:
        score: error on the validation data of the best epoch; None if the run failed.
        epoch: the best epoch.
        seconds: of training, over all epochs.
        code, message: why the run failed.
    """

    score: float | None = None
    epoch: int | None = None
    seconds: float = 0.0
    code: str | None = None
    message: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data, which `RunResult(**data)` reads."""
        return {name: getattr(self, name) for name in type(self).__dataclass_fields__}


def train_point(
    plan: SweepPlan, run: SweepRun, out: Path, sources: Sources | None = None
) -> RunResult:
    """Train a run of a sweep, or go on with it; test data are not touched.

    What goes wrong is in the result, except for an interruption.

    Raises:
        Interrupted: a signal stopped the run, whose state is saved.
    """
    folder = out / run.folder
    try:
        _train(plan, run, folder, sources)
        return finished_result(folder) or RunResult(message="the run has no validation error")
    except OpError as error:
        first = error.diagnostics[0]
        return RunResult(code=first.code, message=first.message)
    except Exception as error:  # noqa: BLE001  one point must not end the others
        text = " ".join(str(error).split())[:200]
        return RunResult(message=f"{type(error).__name__}: {text}")


def _train(plan: SweepPlan, run: SweepRun, folder: Path, sources: Sources | None) -> None:
    if (folder / ABOUT).exists():
        resumable = resumable_run(folder, sources=sources)
        resume_run(resumable, listener=SilentListener(), with_tests=False)
        return
    if folder.is_dir():  # the process ended while it wrote the beginning
        shutil.rmtree(folder)
    program = plan.open(run.values)
    begin_run(
        program,
        plan.settings(program, run.seed),
        folder,
        listener=SilentListener(),
        sources=sources,
        with_tests=False,
    )


def finished_result(folder: Path) -> RunResult | None:
    """Return the result of a finished run from its files; None if it is not finished."""
    try:
        end = read_about(folder).get("finished")
    except OpError:
        return None
    if not isinstance(end, Mapping):
        return None
    rows = read_metrics(folder)
    best = end["best_epoch"] or end.get("epochs")
    errors = next((validation(x) for x in rows if x["epoch"] == best), None)
    score = score_of(errors or {})
    return RunResult(score, best, round(sum(number(x.get("seconds")) or 0.0 for x in rows), 3))
