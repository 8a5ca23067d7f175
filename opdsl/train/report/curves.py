"""The learning curves of a run: losses and their terms, learning rate, gradient norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from opdsl.train.report.charts import CurvePoints, chart
from opdsl.train.report.markup import figure

TableRow = Mapping[str, Any]
# rows of metrics.jsonl that only some runs have, and what they show; each may have several lines
SINGLE = {
    "lr": "learning rate",
    "grad_norm": "norm of the gradient, mean over the steps of an epoch, before clipping",
    "scale": "scale of the loss in half precision",
}
GROUPS = {"terms": "terms of the training loss", "weights": "weights of the terms"}


def curves_html(history: Sequence[TableRow]) -> str:
    """Return a chart for each kind of number in the rows of metrics.jsonl, those that are there.

    Rows may come from other versions or from strangers: what is no number is a gap.
    """
    lines: dict[str, CurvePoints] = {"train loss": line(history, "train_loss")}
    lines |= {f"{name}, rel. L2": points for name, points in error_series(history).items()}
    charts = [("loss and validation error", lines)]
    charts += [(title, group_lines(history, key)) for key, title in GROUPS.items()]
    charts += [
        (title, {title.partition(",")[0]: line(history, key)}) for key, title in SINGLE.items()
    ]
    drawn = [(title, chart(x, across="epoch", legend=len(x) > 1)) for title, x in charts]
    figures = "".join(figure(x, title) for title, x in drawn if x)
    return f'<div class="plots">{figures}</div>' if figures else ""


def error_series(history: Sequence[TableRow]) -> dict[str, list[tuple[float, float | None]]]:
    """Return the points (epoch, relative L2 error) on the validation data.

    Runs of earlier versions have errors on test data there, by the names of the sets.
    """
    series: dict[str, list[tuple[float, float | None]]] = {}
    for row in history:
        errors_by_set = {f"test {k}": x for k, x in (row.get("tests") or {}).items()}
        errors_by_set |= {"validation": row["valid"]} if row.get("valid") else {}
        for name, errors in errors_by_set.items():
            series.setdefault(name, []).append((row["epoch"], number(errors.get("rel_l2"))))
    return series


def line(history: Sequence[TableRow], key: str) -> list[tuple[float, float | None]]:
    """Return the points (epoch, number) of a key of the rows."""
    return [(row["epoch"], number(row.get(key))) for row in history]


def group_lines(history: Sequence[TableRow], key: str) -> dict[str, CurvePoints]:
    """Return the lines of a key whose values are numbers by name, as `terms` are."""
    groups = [x if isinstance(x := row.get(key), Mapping) else {} for row in history]
    names = dict.fromkeys(str(name) for group in groups for name in group)
    return {
        name: [
            (row["epoch"], number(group.get(name)))
            for row, group in zip(history, groups, strict=True)
        ]
        for name in names
    }


def number(value: object) -> float | None:
    """Return a finite number as it is, and None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)
