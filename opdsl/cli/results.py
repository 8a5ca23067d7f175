"""The table of errors by set, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opdsl.cli.console import table
from opdsl.workflow.runs.interpolation import interpolated_heading, missing_interpolations
from opdsl.workflow.runs.splits import SPLITS

HEADS = {
    "set": "test set",
    "samples": "samples",
    "rel_l2": "rel. L2",
    "rel_h1": "rel. H1",
    "rmse": "RMSE",
    "max_error": "max error",
}
MORE = {
    "zero_samples": "zero truths",
    "zero_rmse": "their RMSE",
    "pinball": "pinball",
    "points": "points in band",
    "functions": "functions in band",
    "width": "half width",
}


def metrics_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as text; errors that only some runs have get more columns, or lines below."""
    flat = [{**x, **x.get("coverage", {}), "samples": x["samples"]} for x in rows]
    heads = HEADS | ({"interpolated": heading} if (heading := interpolated_heading(rows)) else {})
    heads |= {k: v for k, v in MORE.items() if any(k in x for x in flat)}
    if any(x.get("split", "test") != "test" for x in flat):
        flat = [{**x, "split": SPLITS[x.get("split", "test")]} for x in flat]
        heads = {"split": "data"} | heads | {"set": "set"}
    cells = [tuple(_cell(x.get(key)) for key in heads) for x in flat]
    steps = [
        f"rel. L2 of each step, {x['set']}: {', '.join(_cell(y) for y in x['steps'])}"
        for x in rows
        if x.get("steps")
    ]
    more = [
        f"{text}, {x['set']}: {_cell(y)}"
        for x in rows
        for text, y in (x.get("expressions") or {}).items()
    ]
    return "\n".join(
        [table([tuple(heads.values()), *cells]), *steps, *more, *missing_interpolations(rows)]
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
