"""The table of errors by resolution, as text and as data.

What comes in: metrics by the name of the test set. What goes out: rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from opdsl.cli.console import table

if TYPE_CHECKING:
    from opdsl.data.bind.samples import Samples
    from opdsl.train.metrics.error_sums import Metrics

Row = Mapping[str, Any]

HEADS = {
    "set": "test set",
    "samples": "samples",
    "rel_l2": "rel. L2",
    "rel_h1": "rel. H1",
    "rmse": "RMSE",
    "max_error": "max error",
}
SPLITS = {"valid": "validation", "test": "test", "train": "training"}
MORE = {
    "zero_samples": "zero truths",
    "zero_rmse": "their RMSE",
    "pinball": "pinball",
    "points": "points in band",
    "functions": "functions in band",
    "width": "half width",
}


def row(samples: Samples, metrics: Metrics) -> dict[str, Any]:
    """The errors on one test set."""
    return {
        "set": samples.name,
        "resolution": list(samples.resolution),
        "data": samples.source,
        **{k: _finite(v) for k, v in metrics.to_json().items()},
    }


def metrics_table(rows: Sequence[Row]) -> str:
    """The rows as text; what only some runs have stands in more columns, or below."""
    flat = [{**x, **x.get("coverage", {}), "samples": x["samples"]} for x in rows]
    heads = HEADS | {k: v for k, v in MORE.items() if any(k in x for x in flat)}
    if any(x.get("split", "test") != "test" for x in flat):
        flat = [{**x, "split": SPLITS[x.get("split", "test")]} for x in flat]
        heads = {"split": "data"} | heads | {"set": "set"}
    cells = [tuple(_cell(x.get(key)) for key in heads) for x in flat]
    steps = [
        f"rel. L2 of each step, {x['set']}: {', '.join(_cell(y) for y in x['steps'])}"
        for x in rows
        if x.get("steps")
    ]
    return "\n".join([table([tuple(heads.values()), *cells]), *steps])


def _finite(value: Any) -> Any:
    """JSON has no NaN: an error that is not a number is null."""
    if isinstance(value, list):
        return [_finite(x) for x in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
