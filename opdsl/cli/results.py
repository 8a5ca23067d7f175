"""The table of errors by resolution, as text and as data.

What comes in: metrics by the name of the test set. What goes out: rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opdsl.cli.console import table

if TYPE_CHECKING:
    from opdsl.data.samples import Samples
    from opdsl.train.evaluate import Metrics

Row = Mapping[str, Any]

HEADS = {
    "set": "test set",
    "samples": "samples",
    "rel_l2": "rel. L2",
    "rel_h1": "rel. H1",
    "rmse": "RMSE",
    "max_error": "max error",
}


def row(samples: Samples, metrics: Metrics) -> dict[str, Any]:
    """The errors on one test set."""
    return {
        "set": samples.name,
        "resolution": list(samples.resolution),
        "data": samples.source,
        **metrics.to_json(),
    }


def metrics_table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    cells = [tuple(_cell(x[key]) for key in HEADS) for x in rows]
    return table([tuple(HEADS.values()), *cells])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
