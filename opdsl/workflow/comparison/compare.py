"""`compare`: how trained runs differ, and which of them is better."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from opdsl.export import Difference
from opdsl.export import compare as compare_models
from opdsl.train.report.curves import number
from opdsl.workflow.comparison.runs import METRICS, ComparedRun, ErrorKey, read_runs
from opdsl.workflow.comparison.text import text_table
from opdsl.workflow.errors import Warn, warn_in_python
from opdsl.workflow.runs.splits import SPLITS

if TYPE_CHECKING:
    from opdsl.workflow.datasets.reading.in_memory import TrainingData
    from opdsl.workflow.runs.run import Run

MISSING = "-"


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """Differences between trained runs; see `opdsl.compare` for an example.

    Attributes:
        runs: in the order in which they were named.
        settings: parameters of the model and settings that differ: the text of each by run, None
            where a run has no such setting.
        models: for each run but the first, how its model differs from that of the first.
        notes: what bears on the comparison, a sentence each.
        page: the page with curves and pictures, if one was written.

    `str()` is the text that the command prints; a notebook shows it too. See `opdsl.compare` for an
    example.
    """

    runs: tuple[ComparedRun, ...]
    settings: Mapping[str, tuple[str | None, ...]]
    models: tuple[Difference, ...]
    notes: tuple[str, ...] = ()
    page: Path | None = None

    @property
    def names(self) -> list[str]:
        """The names of the runs."""
        return [x.name for x in self.runs]

    def errors(self, metric: str = "rel_l2") -> dict[ErrorKey, tuple[float | None, ...]]:
        """Return the errors of each run by the part of the data and the name of the set."""
        keys = dict.fromkeys(key for x in self.runs for key in x.errors)
        every = {k: tuple(x.error(k, metric) for x in self.runs) for k in keys}
        return {k: x for k, x in every.items() if any(y is not None for y in x)}

    @property
    def metrics(self) -> tuple[str, ...]:
        """The errors that every run has, and the metrics of `eval.metrics` by their texts."""
        return tuple(dict.fromkeys([*METRICS, *(y for x in self.runs for y in x.expressions)]))

    def best(self, key: ErrorKey, metric: str = "rel_l2") -> int | None:
        """Return the index of the run with the smallest error on a set.

        None if not all runs that have an error there had equal data, as far as is known.
        """
        errors = self.errors(metric).get(key, ())
        known = [(x, i) for i, x in enumerate(errors) if x is not None]
        runs = [self.runs[i] for _, i in known]
        part = "valid" if key[0] == "valid" else "test"
        alike = len({x.data[part] for x in runs}) == 1
        if len(known) < 2 or not alike or (part == "test" and runs[0].tests_in_memory):
            return None
        return min(known)[1]

    def seeds(self, metric: str = "rel_l2") -> dict[ErrorKey, tuple[float, float]]:
        """Return mean and deviation of each error, of runs that differ in nothing but the seed."""
        if set(self.settings) != {"seed"} or not all(x.same for x in self.models):
            return {}
        whole = {k: [x for x in e if x is not None] for k, e in self.errors(metric).items()}
        return {k: (mean(e), stdev(e)) for k, e in whole.items() if len(e) == len(self.runs)}

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain data."""
        pairs = zip(self.runs[1:], self.models, strict=True)
        return {
            "runs": [x.to_json() for x in self.runs],
            "settings": {k: list(x) for k, x in self.settings.items()},
            "models": {x.name: y.to_json() for x, y in pairs},
            "notes": list(self.notes),
            "page": None if self.page is None else str(self.page),
        }

    def __str__(self) -> str:
        """Return the tables that `opdsl compare` prints."""
        parts = [text_table("", self._costs(), self.names)]
        if rows := self.error_rows():
            parts.append(text_table("rel. L2 error", rows, self.names))
        more = {x: self.error_rows(x) for x in self.metrics[len(METRICS) :]}
        parts += [text_table(x, rows, self.names) for x, rows in more.items() if rows]
        if seeds := self.seeds():
            parts += [
                f"{set_words(k)}: {m:.4g} ± {d:.2g} over the seeds" for k, (m, d) in seeds.items()
            ]
        if self.settings:
            cells = {k: [x or MISSING for x in row] for k, row in self.settings.items()}
            parts.append(text_table("settings that differ", cells, self.names))
        else:
            parts.append("no settings differ")
        first = self.runs[0].name
        for run, model in zip(self.runs[1:], self.models, strict=True):
            if not model.same:
                lines = "\n".join(f"  {x}".rstrip() for x in str(model).splitlines())
                parts.append(f"model of {run.name}, compared with {first}:\n{lines}")
        parts += [f"note: {x}" for x in self.notes]
        return "\n\n".join(parts)

    def error_rows(self, metric: str = "rel_l2") -> dict[str, list[str]]:
        """Return the cells of the table of errors; the smallest has a star."""
        rows = {}
        for key, errors in self.errors(metric).items():
            best = self.best(key, metric)
            cells = [MISSING if x is None else f"{x:.4g}" for x in errors]
            rows[set_words(key)] = [f"{x}*" if i == best else x for i, x in enumerate(cells)]
        return rows

    def _costs(self) -> dict[str, list[str]]:
        """Return the rows of the table of runs."""
        runs = self.runs
        rows = {
            "model": [x.graph.name for x in runs],
            "parameters": [f"{x.parameters:,}" for x in runs],
            "epochs": [str(len(x.history)) for x in runs],
            "best epoch": [MISSING if x.best_epoch is None else str(x.best_epoch) for x in runs],
            "seconds": [f"{x.seconds:.4g}" for x in runs],
            "train loss": [_loss(x) for x in runs],
        }
        if not all(x.finished for x in runs):
            rows["finished"] = ["yes" if x.finished else "no" for x in runs]
        return rows

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(self.names)}: {len(self.settings)} settings differ>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def compare(
    *runs: str | os.PathLike[str] | Run,
    out: str | os.PathLike[str] | None = None,
    data: TrainingData | None = None,
    warn: Warn = warn_in_python,
) -> Comparison:
    """Compare trained runs: settings, programs, errors, costs; curves and pictures on a page.

    Args:
        runs: folders, or runs that are open; at least two.
        out: the page to write, an HTML file; none if not given.
        data: of which samples are shown on the page; the test data of the first run if not given.
        warn: receives warnings about the data.

    Raises:
        OpError: OP0770, there are fewer than two runs; OP0627, a folder is no run; OP0610 to
            OP0615, `data` cannot be read or do not fit; OP0625, the page cannot be written.

    >>> import opdsl
    >>> comparison = opdsl.compare("runs/grid", "runs/grid_half")
    >>> comparison.names
    ['grid', 'grid_half']
    """
    folders = [x if isinstance(x, str | os.PathLike) else x.folder for x in runs]
    compared = read_runs(folders)
    first, *others = compared
    settings = _differing([x.values for x in compared])
    models = tuple(compare_models(first.graph, x.graph) for x in others)
    comparison = Comparison(compared, settings, models, tuple(_notes(compared)))
    if out is None:
        return comparison
    from opdsl.workflow.comparison.page import write_comparison

    return write_comparison(comparison, Path(out), data, warn)


def set_words(key: ErrorKey) -> str:
    """Return the part of the data and the name of a set in words: `test 33x33`."""
    split, name = key
    return f"{SPLITS.get(split, split)} {name}".strip()


def _differing(values: Sequence[Mapping[str, str]]) -> dict[str, tuple[str | None, ...]]:
    """Return the settings that are not the same in all runs."""
    keys = dict.fromkeys(key for x in values for key in x)
    rows = {k: tuple(x.get(k) for x in values) for k in keys}
    return {k: x for k, x in rows.items() if len({*x}) > 1}


def _notes(runs: Sequence[ComparedRun]) -> list[str]:
    """Say what makes errors of these runs incomparable or preliminary."""
    notes = [
        f"{x.name} has not finished; its errors are those of its best epoch so far"
        for x in runs
        if not x.finished and x.history
    ]
    notes += [f"{x.name} has no finished epoch" for x in runs if not x.history]
    pairs = list(combinations(runs, 2))
    if any(a.data["valid"] != b.data["valid"] for a, b in pairs):
        notes.append(
            "the runs differ in training or validation data, so errors on validation data "
            "do not say which is better"
        )
    if any(a.data["test"] != b.data["test"] for a, b in pairs):
        notes.append("the runs have different test data, so no test error is called the best")
    elif any(x.tests_in_memory for x in runs):
        notes.append(
            "the test data were arrays in memory; whether they were the same is not known, so no "
            "test error is called the best"
        )
    return notes


def _loss(run: ComparedRun) -> str:
    loss = number(run.history[-1]["train_loss"]) if run.history else None
    return MISSING if loss is None else f"{loss:.4g}"


__all__ = ["METRICS", "Comparison", "compare", "set_words"]
