"""One run of a comparison, read from its folder without its weights and without torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opdsl.diagnostics import Diagnostic, OpError, fault
from opdsl.files import read_text
from opdsl.ir.graph import Graph
from opdsl.summary import summarise
from opdsl.train.config.changes import as_flat, setting_text
from opdsl.train.config.schema import Settings
from opdsl.train.config.settings import resolve
from opdsl.train.report.curves import number
from opdsl.train.run.metrics_log import read_metrics, validation
from opdsl.workflow.folder.reading import PROGRAM, own_settings, read_run_folder
from opdsl.workflow.programs.program import used_settings

METRICS = ("rel_l2", "rel_h1", "rmse", "max_error")

ErrorKey = tuple[str, str]  # the part of the data, and the name of the set


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """A run of a comparison.

    Attributes:
        name: a short name, unlike those of the other runs.
        folder: of the run.
        graph: its model.
        settings: with which it was trained.
        values: the text of each parameter (`model.width`) and of each setting that has an effect.
        history: a row for each epoch.
        errors: the errors on each set, by the part of the data and the name of the set; of a run
            that has not finished those of the best epoch so far.
        best_epoch: after which the weights were saved, if there was one.
        finished: whether the run has ended.
        parameters: count of trained real numbers.
        about: the content of `opdsl.json`.
        program: the text of its program.
    """

    name: str
    folder: Path
    graph: Graph
    settings: Settings
    values: Mapping[str, str]
    history: Sequence[Mapping[str, Any]]
    errors: Mapping[ErrorKey, Mapping[str, Any]]
    best_epoch: int | None
    finished: bool
    parameters: int
    about: Mapping[str, Any]
    program: str

    @property
    def seconds(self) -> float:
        """The time of all epochs."""
        return sum(x for r in self.history if isinstance(x := r.get("seconds"), int | float))

    def error(self, key: ErrorKey, metric: str) -> float | None:
        """Return an error on a set; `metric` may be an expression of `eval.metrics`."""
        row = self.errors.get(key, {})
        expressions = row.get("expressions")
        more = expressions if isinstance(expressions, Mapping) else {}
        return number(row.get(metric, more.get(metric)))

    @property
    def expressions(self) -> list[str]:
        """The metrics of `eval.metrics` by their texts."""
        rows = [x.get("expressions") for x in self.errors.values()]
        return list(dict.fromkeys(str(k) for x in rows if isinstance(x, Mapping) for k in x))

    @property
    def data(self) -> dict[str, str]:
        """What tells the data of two runs apart: of training and validation, and of the tests."""
        data = self.about.get("data", {})
        valid = (data.get("fingerprint"), data.get("samples"), data.get("choice"))
        tests = [sorted((k, repr(v)) for k, v in x.items()) for x in data.get("tests", [])]
        return {"valid": repr(valid), "test": repr(tests)}

    @property
    def tests_in_memory(self) -> bool:
        """Whether there are test data that were arrays, which leave no path and no fingerprint."""
        tests = self.about.get("data", {}).get("tests", [])
        return any(str(x.get("path")).startswith("<") for x in tests)

    def to_json(self) -> dict[str, Any]:
        """Return the run as plain data."""
        return {
            "name": self.name,
            "run": str(self.folder),
            "model": self.graph.name,
            "finished": self.finished,
            "parameters": self.parameters,
            "epochs": len(self.history),
            "best_epoch": self.best_epoch,
            "seconds": round(self.seconds, 3),
            "train_loss": self.history[-1]["train_loss"] if self.history else None,
            "errors": [
                {"split": key[0], "set": key[1]}
                | {k: self.error(key, k) for k in (*METRICS, *self.expressions)}
                for key in self.errors
            ],
        }


def read_runs(folders: Sequence[str | os.PathLike[str]]) -> tuple[ComparedRun, ...]:
    """Read the runs of a comparison.

    Raises:
        OpError: OP0627 for each folder that is no run, OP0628; OP0770, there are fewer than two.
    """
    paths = list(dict.fromkeys(Path(x) for x in folders))
    distinct = {os.path.realpath(x): x for x in paths}
    if len(distinct) < 2:
        raise _too_few(paths)
    runs, diagnostics = [], list[Diagnostic]()
    names = run_names(list(distinct.values()))
    for path, name in zip(distinct.values(), names, strict=True):
        try:
            runs.append(_read(path, name))
        except OpError as error:
            diagnostics += error.diagnostics
    if diagnostics:
        raise OpError(*diagnostics)
    return tuple(runs)


def run_names(folders: Sequence[Path]) -> list[str]:
    """Return the last part of each path, or as many parts as tell all of them apart."""
    parts = [Path(os.path.abspath(x)).parts for x in folders]  # noqa: PTH100  links stay
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(x[-count:]) for x in parts]
        if len({*names}) == len(names):
            return names
    return [str(x) for x in folders]


def _read(folder: Path, name: str) -> ComparedRun:
    content = read_run_folder(folder)
    history = read_metrics(folder)
    end = content.about.get("finished")
    errors, best = _final(end) if isinstance(end, Mapping) else _so_far(history)
    resolved = resolve(own_settings(folder, content.about))
    flat = as_flat(content.settings)
    effective = [key for key, _, _ in used_settings(resolved)]
    values = {f"model.{k}": setting_text(v) for k, v in content.graph.params.items()}
    values |= {k: setting_text(flat[k]) for k in effective if k in flat}
    return ComparedRun(
        name=name,
        folder=folder,
        graph=content.graph,
        settings=content.settings,
        values=values,
        history=history,
        errors=errors,
        best_epoch=best,
        finished=isinstance(end, Mapping),
        parameters=int(summarise(content.graph).params),
        about=content.about,
        program=read_text(folder / PROGRAM),
    )


def _final(
    end: Mapping[str, Any],
) -> tuple[dict[ErrorKey, Mapping[str, Any]], int | None]:
    """Return the errors at the end of a run, and its best epoch."""
    rows = [("valid", x) for x in end["valid"]] + [("test", x) for x in end["tests"]]
    named = {
        (split, str(row.get("set", ""))): row for split, row in rows if isinstance(row, Mapping)
    }
    return named, end["best_epoch"]


def _so_far(
    history: Sequence[Mapping[str, Any]],
) -> tuple[dict[ErrorKey, Mapping[str, Any]], int | None]:
    """Return the errors of the best epoch of a run that has not finished."""
    rows = [(x["rel_l2"], row["epoch"], x) for row in history if (x := validation(row))]
    known = [x for x in rows if isinstance(x[0], int | float)]
    if not known:
        return {}, None
    _, epoch, errors = min(known, key=lambda x: x[0])
    return {("valid", "so far"): errors}, epoch


def _too_few(paths: Sequence[Path]) -> OpError:
    names = ", ".join(f"`{x}`" for x in paths)
    message = "a comparison needs at least two different runs"
    notes = (f"there is one: {names}",) if paths else ()
    helps = ("name the folders of the runs: `opdsl compare runs/a runs/b`",)
    return fault("OP0770", message, notes=notes, helps=helps)
