"""The state of a sweep in its folder: which runs have ended, which are next, and their ranking."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TypeAlias

from opdsl.diagnostics import fault
from opdsl.files import open_regular, read_regular, write_all
from opdsl.workflow.experiments.point import RunResult, SweepRun, finished_result
from opdsl.workflow.experiments.search import OptunaSearch, SweepValues
from opdsl.workflow.experiments.sweep_plan import SweepPlan
from opdsl.workflow.runs.opening import open_run
from opdsl.workflow.runs.run import Run

JOURNAL = "results.jsonl"  # each run that was begun or has ended
LARGEST = 64 << 20  # bytes of the journal
DIVERGED = "OP0620"  # repeats itself, so that such a run is not trained again


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """A point of a sweep and the results of its runs.

    Attributes:
        number: from 1.
        values: texts of the values by the name of the axis.
        results: of each seed that has ended.
        folders: of these runs.
    """

    number: int
    values: SweepValues
    results: tuple[RunResult, ...] = ()
    folders: tuple[Path, ...] = ()

    @property
    def score(self) -> float | None:
        """The mean error on the validation data over the seeds; None if a run failed."""
        scores = [x.score for x in self.results]
        return fmean(x for x in scores if x is not None) if scores and None not in scores else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation of that error over the seeds; None for one seed."""
        scores = [x.score for x in self.results if x.score is not None]
        return stdev(scores) if len(scores) > 1 else None

    @property
    def seconds(self) -> float:
        """The time of training, over all seeds."""
        return sum(x.seconds for x in self.results)

    @property
    def message(self) -> str | None:
        """Why a run failed; None if none did."""
        return next((x.message for x in self.results if x.message), None)


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep and its results; see `opdsl.sweep` for an example.

    Attributes:
        folder: of the sweep.
        plan: what it trains.
        points: those with at least one run that has ended, by number.
        tests: rows of errors on the test data for each seed of the best point.
    """

    folder: Path
    plan: SweepPlan
    points: tuple[SweepPoint, ...]
    tests: tuple[tuple[Mapping[str, Any], ...], ...] = ()

    @property
    def ranked(self) -> list[SweepPoint]:
        """The points by their error on the validation data, the best first, failed ones last."""
        return sorted(self.points, key=lambda x: (x.score is None, x.score or 0.0, x.number))

    @property
    def best(self) -> SweepPoint | None:
        """The point of the least error; None if all failed."""
        return next((x for x in self.ranked if x.score is not None), None)

    def open_best(self) -> Run:
        """Open the run of the first seed of the best point.

        Raises:
            OpError: OP0744, every point failed.
        """
        if self.best is None:
            raise fault("OP0744", "no point of the sweep has been trained", file=str(self.folder))
        return open_run(self.best.folders[0])

    def to_json(self) -> dict[str, Any]:
        """Return the results as plain data, the best point first."""
        rows = [
            {
                "point": x.number,
                "values": x.values,
                "score": x.score,
                "deviation": x.deviation,
                "scores": [y.score for y in x.results],
                "seconds": round(x.seconds, 3),
                "message": x.message,
                "runs": [str(y) for y in x.folders],
            }
            for x in self.ranked
        ]
        return {"folder": str(self.folder), "points": rows, "tests": [*map(list, self.tests)]}


PointListener: TypeAlias = Callable[[SweepPoint, Sweep], None]


def nothing(_point: SweepPoint, _sweep: Sweep) -> None:
    """Report nothing."""


@dataclass(slots=True)
class SweepState:
    """The state of a sweep: which runs have ended, and which are next."""

    plan: SweepPlan
    out: Path
    report: PointListener
    values: dict[int, SweepValues] = field(default_factory=dict)
    results: dict[tuple[int, int], RunResult] = field(default_factory=dict)
    active: set[tuple[int, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.values = dict(enumerate(self.plan.points, 1))
        for row in _rows(self.out / JOURNAL):
            key = row["point"], row["seed"]
            self.values.setdefault(key[0], row["values"])
            if "result" in row:
                self.results[key] = RunResult(**row["result"])
        for key, result in list(self.results.items()):
            if result.score is None and result.code != DIVERGED:
                del self.results[key]  # what has failed for want of memory or disk is tried again
        for key in self._keys():  # a run that ended after the last line of the journal
            if key not in self.results and (end := finished_result(self.out / _name(*key))):
                self.results[key] = end

    def _keys(self) -> list[tuple[int, int]]:
        return [(i, s) for i in sorted(self.values) for s in range(self.plan.seeds)]

    def next_run(self) -> SweepRun | None:
        """Return the next run to train; None while or after the last ones are trained."""
        key = self._waiting()
        if key is None and self.plan.search == "optuna" and len(self.values) < self.plan.total:
            self._propose()
            key = self._waiting()
        if key is None:
            return None
        self.active.add(key)
        run = SweepRun(key[0], self.values[key[0]], key[1], _name(*key))
        self._write({"point": run.point, "seed": run.seed, "values": run.values})
        return run

    def _waiting(self) -> tuple[int, int] | None:
        return next(
            (x for x in self._keys() if x not in self.results and x not in self.active), None
        )

    def _propose(self) -> None:
        """Add the point that Optuna proposes, if its program and settings are right."""
        points = {x.number: x for x in self.sweep().points}
        complete = [x for x in points.values() if len(x.results) == self.plan.seeds]
        finished = [(x.values, x.score) for x in complete]
        numbers = {x.number for x in complete}
        running = [x for i, x in self.values.items() if i not in numbers]
        search = OptunaSearch(self.plan.axes, self.plan.seed)
        self.values[len(self.values) + 1] = search.propose(finished, running)

    def ended(self, run: SweepRun, result: RunResult) -> None:
        """Record the end of a run; report its point if it was the last of its runs."""
        key = run.point, run.seed
        self.active.discard(key)
        self.results[key] = result
        row = {"point": run.point, "seed": run.seed, "values": run.values}
        self._write(row | {"result": result.to_json()})
        sweep = self.sweep()
        point = next(x for x in sweep.points if x.number == run.point)
        if len(point.results) == self.plan.seeds:
            self.report(point, sweep)

    def sweep(self) -> Sweep:
        """Return the results up to now."""
        points = []
        for number, values in sorted(self.values.items()):
            seeds = [s for s in range(self.plan.seeds) if (number, s) in self.results]
            results = tuple(self.results[number, s] for s in seeds)
            folders = tuple(self.out / _name(number, s) for s in seeds)
            if results:
                points.append(SweepPoint(number, values, results, folders))
        return Sweep(self.out, self.plan, tuple(points))

    def _write(self, row: Mapping[str, Any]) -> None:
        """Add a line to the journal.

        Raises:
            OpError: OP0625.
        """
        path = self.out / JOURNAL
        try:
            handle = open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW)
            try:
                write_all(handle, json.dumps(row).encode() + b"\n")
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            message = f"the results of the sweep cannot be written: {error.strerror or error}"
            raise fault("OP0625", message, file=str(path)) from error


def _name(point: int, seed: int) -> str:
    return f"{point:04d}" if seed == 0 else f"{point:04d}-seed{seed}"


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a journal; torn and foreign lines are left out."""
    try:
        data = read_regular(path, LARGEST, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    for line in data.split(b"\n"):
        try:
            row = json.loads(line)
            RunResult(**row.get("result", {}))
        except (ValueError, TypeError, AttributeError):
            continue
        counts = isinstance(row.get("point"), int) and isinstance(row.get("seed"), int)
        if counts and isinstance(row.get("values"), dict):
            yield row
