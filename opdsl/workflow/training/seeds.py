"""Several runs that differ by their seed only, and the mean and deviation of their errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from opdsl.setting import Setting
from opdsl.train.config.settings import ResolvedSettings
from opdsl.train.run.folder import ABOUT, refuse_used
from opdsl.train.run.listener import Listener
from opdsl.workflow.errors import Warn, ignore, once
from opdsl.workflow.output import write_file
from opdsl.workflow.programs.program import Program
from opdsl.workflow.training.execution import begin_run, resume_run
from opdsl.workflow.training.resuming import resumable_run
from opdsl.workflow.training.summary import TrainingSummary

SEEDS = "seeds.json"  # in the folder of all runs: their errors together
ERRORS = ("rel_l2", "rel_h1", "rmse", "max_error", "pinball")

Announce = Callable[[int, Path], None]


@dataclass(frozen=True, slots=True)
class SeedsSummary:
    """The end of several runs that differ by their seed.

    Attributes:
        run: the folder of the folders of the runs.
        seeds: of the runs.
        runs: the end of each run.
    """

    run: Path
    seeds: tuple[int, ...]
    runs: tuple[TrainingSummary, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each data set: mean and standard deviation of each error over the runs.

        The deviation is that of a sample, with n - 1 below the sum; None for a single run. An error
        that one of the runs lacks is left out.
        """
        sets = [[*x.valid, *x.tests] for x in self.runs]
        return [_row(rows) for rows in zip(*sets, strict=False)]

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain data."""
        runs = [x.to_json() for x in self.runs]
        return {"run": str(self.run), "seeds": list(self.seeds), "sets": self.rows(), "runs": runs}


def _row(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = rows[0]
    row = {k: first[k] for k in ("set", "split", "resolution", "samples")}
    for key in ERRORS:
        values = [float(x[key]) for x in rows if isinstance(x.get(key), int | float)]
        if len(values) == len(rows):
            deviation = stdev(values) if len(values) > 1 else None
            row[key] = {"mean": mean(values), "deviation": deviation}
    return row


def train_seeds(
    program: Program,
    resolved: ResolvedSettings,
    folder: Path,
    count: int,
    *,
    resume: bool = False,
    options: Sequence[Setting] = (),
    listener: Callable[[], Listener],
    source: Path | None = None,
    announce: Announce = lambda _seed, _run: None,
    warn: Warn = ignore,
) -> SeedsSummary:
    """Train a model with several seeds, one run after the other.

    Args:
        program: what to train.
        resolved: the settings; the first seed is theirs, the others follow it.
        folder: of the runs, which are in `seed-0`, `seed-1` ... in it.
        count: the number of seeds.
        resume: whether to go on with the runs that are in the folder; finished ones stay.
        options: settings that override those of a run that goes on.
        listener: makes what receives the progress of a run.
        source: the folder of a run with whose weights each begins.
        announce: called before each run, with its seed and folder.
        warn: receives each warning once.

    Raises:
        OpError: as for `begin_run`; OP0624, the folder is not empty.
        Interrupted: a signal came.
    """
    if not resume:
        refuse_used(folder)
    seeds = range(resolved.settings.seed, resolved.settings.seed + count)
    warn_once = once(warn)
    summaries = []
    for seed in seeds:
        run = folder / f"seed-{seed}"
        announce(seed, run)
        if resume and (run / ABOUT).exists():
            resumable = resumable_run(run, options=options, warn=warn_once)
            summary = resume_run(resumable, listener=listener(), warn=warn_once)
        else:
            summary = begin_run(
                program,
                _with_seed(resolved, seed),
                run,
                listener=listener(),
                source=source,
                warn=warn_once,
            )
        summaries.append(summary)
    result = SeedsSummary(folder, tuple(seeds), tuple(summaries))
    write_file(folder / SEEDS, json.dumps(result.to_json(), indent=1).encode())
    return result


def _with_seed(resolved: ResolvedSettings, seed: int) -> ResolvedSettings:
    settings = resolved.settings.model_copy(update={"seed": seed})
    return replace(resolved, settings=settings, origins=resolved.origins | {"seed": "--seeds"})


def cells(summary: SeedsSummary) -> Iterator[tuple[str, ...]]:
    """Yield a heading and a row of text for each data set: `mean +- deviation` of each error."""
    rows = summary.rows()
    keys = [x for x in ERRORS if any(x in row for row in rows)]
    yield ("set", "data", *keys)
    for row in rows:
        yield (row["set"], row["split"], *(_text(row.get(x)) for x in keys))


def _text(error: dict[str, Any] | None) -> str:
    if error is None:
        return "-"
    deviation = error["deviation"]
    return f"{error['mean']:.4g}" + ("" if deviation is None else f" +- {deviation:.2g}")
