"""The end of a run in numbers and words, read from its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opdsl.files import read_json
from opdsl.train.config.changes import read_changes
from opdsl.train.engine.warm_start import WarmStart
from opdsl.train.run.metrics_log import read_metrics, validation
from opdsl.workflow.datasets.division import BY_TEST
from opdsl.workflow.folder.writing import REPORT

START = "start.json"  # in the folder of a run: which first weights came from another run


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """The end of a run.

    Attributes:
        run: its folder.
        report: its report page.
        epochs, steps, skipped: how many of each, over all sessions.
        best_epoch: the epoch of the stored weights, None if they are the last.
        train_loss: of the last epoch.
        choice: the validation data in words.
        valid, tests: a row of errors for each set.
        changes: settings that changed while the run went on.
        notes: what the user should know, a sentence each.
        start: the weights that the run began with, in words, if they are of another run.
    """

    run: Path
    report: Path
    epochs: int
    steps: int
    skipped: int
    best_epoch: int | None
    train_loss: float | None
    choice: str
    valid: list[dict[str, Any]]
    tests: list[dict[str, Any]]
    changes: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    start: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain data; `start` only where there is one."""
        names = [x for x in type(self).__dataclass_fields__ if x != "start" or self.start]
        return {x: getattr(self, x) for x in names} | {
            "run": str(self.run),
            "report": str(self.report),
        }


def first_weights(run: Path) -> dict[str, Any]:
    """Read which weights the run began with; empty if all of them were random."""
    try:
        start: dict[str, Any] = read_json(run / START)
    except (OSError, ValueError):
        return {}
    return start


def summary_of(run: Path, about: Mapping[str, Any], notes: Sequence[str] = ()) -> TrainingSummary:
    """Return the summary of a finished run, from its files."""
    history = read_metrics(run)
    end = about.get("finished") or _earlier_end(history)
    start = first_weights(run)
    return TrainingSummary(
        run=run,
        report=run / REPORT,
        epochs=end["epochs"],
        steps=end["step"],
        skipped=end["skipped"],
        best_epoch=end["best_epoch"],
        train_loss=history[-1]["train_loss"] if history else None,
        choice=about["data"].get("choice", BY_TEST),
        valid=end["valid"],
        tests=end["tests"],
        changes=[x.data() for x in read_changes(run)],
        notes=list(notes),
        start=str(WarmStart.from_data(start)) if start else None,
    )


def _earlier_end(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the end of a run that an earlier version has finished, from its metrics."""
    scores = [(x.get("pinball", x["rel_l2"]), row) for row in history if (x := validation(row))]
    best = min(scores, key=lambda x: x[0], default=(None, {}))[1]
    tests = [{"set": k, **x, "split": "test"} for k, x in (best.get("tests") or {}).items()]
    return {
        "epochs": history[-1]["epoch"] if history else 0,
        "step": history[-1]["step"] if history else 0,
        "skipped": sum(x["skipped"] for x in history),
        "best_epoch": best.get("epoch"),
        "valid": [],
        "tests": tests,
    }
