"""The table of the runs below a folder: the settings that differ, data, errors and cost."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opdsl.diagnostics import OpError, Source, fault
from opdsl.elaborate import models
from opdsl.files import read_text
from opdsl.syntax.parser import parse
from opdsl.syntax.tree import Param
from opdsl.train.config.schema import Settings
from opdsl.train.run.folder import ABOUT, WEIGHTS
from opdsl.train.run.metrics_log import read_metrics, validation
from opdsl.workflow.experiments.scores import number, score_of
from opdsl.workflow.folder.reading import PROGRAM, own_settings, read_about

DEPTH = 3  # folders below the one that is searched: a sweep in a folder of sweeps
PLACES = ("data.path", "data.valid", "data.test")  # the hash of the data says more
MODULE = "module."  # before the names of weights, as `opdsl.train.run.trained` writes them
REALS = {"C64": 2, "C128": 2}  # numbers in an element, by the type of a tensor; 1 for the others
SORTS = ("valid", "test", "seconds", "parameters", "name")


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in one row.

    Attributes:
        folder: of the run.
        model: its name.
        settings: all settings that have an effect, and `model.NAME` for each parameter.
        data: the first characters of the hash of the training data.
        samples: for training.
        epoch, epochs: finished and planned.
        finished: whether the errors are measured and the report is written.
        valid: the error that chose the weights; None if there are no validation data.
        test: the relative L2 error on the first test set; None if there is none.
        seconds: of training.
        parameters: real numbers in the weights; None before they are written.
    """

    folder: Path
    model: str
    settings: Mapping[str, Any]
    data: str
    samples: int
    epoch: int
    epochs: int
    finished: bool
    valid: float | None
    test: float | None
    seconds: float
    parameters: int | None

    @property
    def status(self) -> str:
        """`finished`, or how far the run has come."""
        return "finished" if self.finished else f"{self.epoch} of {self.epochs} epochs"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        data = {name: getattr(self, name) for name in type(self).__dataclass_fields__}
        return data | {"folder": str(self.folder), "settings": dict(self.settings)}


@dataclass(frozen=True, slots=True)
class RunTable:
    """The runs below a folder; see `opdsl.runs` for an example.

    Attributes:
        folder: that was searched.
        rows: a row for each run.
        notes: folders that look like runs and cannot be read, a sentence each.
    """

    folder: Path
    rows: tuple[RunRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def differing(self) -> list[str]:
        """The settings and parameters that have several values, in the order of the runs.

        A run of an earlier version lacks the settings of later ones, and has their defaults.
        """
        keys = dict.fromkeys(k for x in self.rows for k in x.settings if k not in PLACES)
        usual = dict(Settings().rows())
        values = {k: {repr(x.settings.get(k, usual.get(k))) for x in self.rows} for k in keys}
        return [k for k in keys if len(values[k]) > 1]

    def sorted_by(self, key: str) -> RunTable:
        """Return the table sorted by `valid`, `test`, `seconds`, `parameters` or `name`."""
        if key == "name":
            rows = sorted(self.rows, key=lambda x: str(x.folder))
        else:
            rows = sorted(self.rows, key=lambda x: _last_if_none(getattr(x, key)))
        return RunTable(self.folder, tuple(rows), self.notes)

    def cells(self) -> list[tuple[str, ...]]:
        """Return the table as text, the headings first; columns without any value are left out."""
        keys = self.differing
        heads = ("run", "model", *keys, "data", "samples", "valid", "test", "parameters", "time")
        rows = [
            (
                _relative(x.folder, self.folder),
                x.model,
                *(_text(x.settings.get(k)) for k in keys),
                x.data,
                str(x.samples),
                _text(x.valid),
                _text(x.test),
                _text(x.parameters),
                _time(x.seconds),
                x.status,
            )
            for x in self.rows
        ]
        return _without_idle_columns([(*heads, "status"), *rows])

    def to_json(self) -> list[dict[str, Any]]:
        """Return each run as plain data."""
        return [x.to_json() for x in self.rows]

    def __str__(self) -> str:
        cells = self.cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        pad = [[f"{x:<{n}}" for x, n in zip(row, widths, strict=True)] for row in cells]
        return "\n".join("  ".join(row).rstrip() for row in pad)


def runs(folder: str | os.PathLike[str] = "runs", *, sort: str = "name") -> RunTable:
    """List the runs below a folder, such as `runs` or that of a sweep.

    No weights are read and no program is executed.

    Args:
        folder: of the runs.
        sort: `valid`, `test`, `seconds`, `parameters` or `name`; runs without a value come last.

    Raises:
        OpError: OP0627, there is no run.

    >>> import numpy as np, opdsl
    >>> a = np.random.default_rng(0).normal(size=(20, 1, 16)).astype("float32")
    >>> for width in (1, 2):
    ...     batch = {"batch": 4 * width, "out": FOLDER / "several" / str(width)}
    ...     run = opdsl.train(PROGRAM, data={"a": a, "u": a}, epochs=1, **batch)
    >>> opdsl.runs(FOLDER / "several").differing
    ['batch']
    """
    root, rows, notes = Path(folder), [], []
    for path in _run_folders(root, DEPTH):
        try:
            rows.append(_row(path))
        except OpError as error:
            notes.append(f"{path}: {error.diagnostics[0].message}")
    if not rows:
        helps = ("`opdsl train SPEC --data PATH` makes one", *notes)
        raise fault("OP0627", "there is no run below this folder", helps=helps, file=str(root))
    return RunTable(root, tuple(rows), tuple(notes)).sorted_by(sort)


def _run_folders(root: Path, depth: int) -> Iterator[Path]:
    """Yield the folders that hold a run, in the order of their names; links are not followed."""
    if (root / ABOUT).is_file():
        yield root
        return
    if depth == 0 or not root.is_dir():
        return
    for path in sorted(root.iterdir()):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield from _run_folders(path, depth - 1)


def _row(run: Path) -> RunRow:
    about = read_about(run)
    history = read_metrics(run)
    own = {".".join(x.path): x.value for x in own_settings(run, about)}
    settings = _parameters(run) | own
    end = about.get("finished") or {}
    best = end.get("best_epoch")
    scores = [x for row in history if (x := score_of(validation(row) or {})) is not None]
    chosen = next((validation(x) for x in history if x["epoch"] == best), None)
    tests = [number(x.get("rel_l2")) for x in end.get("tests", []) if isinstance(x, Mapping)]
    return RunRow(
        folder=run,
        model=str(about.get("model", "")),
        settings=settings,
        data=str(about.get("data", {}).get("fingerprint", ""))[:8],
        samples=int(about.get("data", {}).get("samples", 0)),
        epoch=history[-1]["epoch"] if history else 0,
        epochs=int(number(settings.get("schedule.epochs")) or 0),
        finished=bool(end),
        valid=score_of(chosen or {}) if chosen else min(scores, default=None),
        test=tests[0] if tests else None,
        seconds=round(sum(number(x.get("seconds")) or 0.0 for x in history), 3),
        parameters=_weights(run / WEIGHTS),
    )


def _parameters(run: Path) -> dict[str, Any]:
    """Read the parameters of the model from the text of its program."""
    try:
        file = parse(Source(PROGRAM, read_text(run / PROGRAM)))[0]
        declared = [y for x in models(file) for y in x.body if isinstance(y, Param)]
    except (OSError, ValueError, OpError):
        return {}
    texts = {x.name.text: x.value.span.text for x in declared if x.value is not None}
    return {f"model.{k}": x for k, x in texts.items()}


def _weights(path: Path) -> int | None:
    """Count the real numbers in a file of weights, of which only the head is read."""
    from math import prod

    from safetensors import SafetensorError, safe_open

    if not path.is_file() or path.is_symlink():
        return None
    try:
        with safe_open(path, "np") as file:
            parts = [file.get_slice(x) for x in file.keys() if x.startswith(MODULE)]  # noqa: SIM118  no dictionary
            return sum(int(prod(x.get_shape())) * REALS.get(x.get_dtype(), 1) for x in parts)
    except (OSError, SafetensorError):
        return None


# ------------------------------------------------------------------------------------ the text


def _without_idle_columns(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    columns = [x for x in zip(*rows, strict=True) if any(cell != "-" for cell in x[1:])]
    return list(zip(*columns, strict=True))


def _relative(folder: Path, root: Path) -> str:
    return str(folder.relative_to(root)) if folder != root else str(folder)


def _text(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.4g}"
        case int():
            return f"{value:,}"
    return str(value)


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.1f} min" if minutes < 60 else f"{hours:.1f} h"


def _last_if_none(value: float | None) -> tuple[bool, float]:
    return value is None, value or 0.0
