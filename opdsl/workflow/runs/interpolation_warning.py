"""The warning OP0656: on a finer grid, interpolation is better than the model."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from pathlib import Path

from opdsl.diagnostics import Diagnostic, Help
from opdsl.ir.graph import Graph
from opdsl.ir.steps import Extend
from opdsl.workflow.runs.interpolation import Row, extent_text
from opdsl.workflow.runs.splits import SPLITS

MARGIN = 0.99  # an interpolation that is less than 1 % better is no reason for a warning


def interpolation_warnings(graph: Graph, rows: Sequence[Row], run: Path) -> list[Diagnostic]:
    """Warn where the interpolated prediction has a smaller error than the prediction itself.

    Args:
        graph: the model.
        rows: the errors on each set as plain data, see `SetErrors.to_json`.
        run: the folder of the run.

    Returns:
        At most one warning, OP0656, with the errors of all sets where that is so.
    """
    worse = [x for x in rows if _ratio(x) > 1 / MARGIN]
    if not worse:
        return []
    worst = max(worse, key=_ratio)
    trained = extent_text(worst["trained_resolution"])
    message = f"{_place(worst)} the relative L2 error is {_text(worst['rel_l2'])}; that of the "
    message += f"prediction at {trained}, the resolution of training, interpolated by cubic "
    message += f"splines is {_text(worst['interpolated'])}"
    others = [
        f"{_place(x)}: {_text(x['rel_l2'])}, interpolated {_text(x['interpolated'])}"
        for x in worse
        if x is not worst
    ]
    return [
        Diagnostic(
            "OP0656",
            message,
            notes=(
                *others,
                "on the finer grid the model loses the accuracy of its own training resolution",
            ),
            helps=tuple(map(Help, _cures(graph, trained))),
            severity="warning",
            file=str(run),
        )
    ]


def _ratio(row: Row) -> float:
    """Return the error of a prediction divided by that of the interpolated one; 0 without one.

    An error that is not finite is None in plain data, and worse than any other.
    """
    own, interpolated = row["rel_l2"], row.get("interpolated")
    if interpolated is None:
        return 0.0
    return inf if own is None else float(own) / max(interpolated, 1e-300)


def _place(row: Row) -> str:
    split = row.get("split", "test")
    return f"on the {SPLITS.get(split, split)} data at {row['set']}"


def _text(error: float | None) -> str:
    return "not finite" if error is None else f"{error:.4g}"


def _cures(graph: Graph, trained: str) -> list[str]:
    predict = f"predict at {trained} and interpolate"
    if not _has_fourier_between_ends(graph):
        return [f"train at a finer `data.resolution`, or {predict}"]
    basis = "follow the boundary instead of a period that the domain does not have: replace "
    basis += "`FourierLayer` by `SpectralLayer` of `std.spectral`, or write "
    basis += "`spectral_conv(basis = auto)`"
    extended = any(isinstance(y, Extend) for x in graph.nodes for y in x.space.domain.steps)
    room = "or give Fourier layers room at the ends: `domain E = extend(D, fraction = 0.25)`, "
    room += "`pad(to = E)` before them and `crop(to = D)` after them"
    return [basis, *([] if extended else [room]), f"or {predict}"]


def _has_fourier_between_ends(graph: Graph) -> bool:
    """Return whether a Fourier layer acts on a model whose inputs have axes with ends."""
    ends = any(not all(x.space.domain.periodic) for x in graph.inputs)
    circles = (any(x.block.circles(*graph.arguments(x))) for x in graph.nodes)
    return ends and any(circles)
