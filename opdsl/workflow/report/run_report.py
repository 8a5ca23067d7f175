"""The report page of a run, `report.html`: its diagram, errors, pictures and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from opdsl.diagnostics import OpError
from opdsl.files import read_text
from opdsl.ir.graph import Graph
from opdsl.train.config.changes import Change, setting_text
from opdsl.train.config.settings import ResolvedSettings
from opdsl.train.report.page import write_report
from opdsl.train.scaling.normalise import Normaliser
from opdsl.workflow.datasets.division import BY_TEST
from opdsl.workflow.datasets.reading.streamed import AnySamples
from opdsl.workflow.folder.reading import PROGRAM, read_about
from opdsl.workflow.folder.writing import REPORT
from opdsl.workflow.programs.program import used_settings
from opdsl.workflow.report.environment import environment, weight_rows
from opdsl.workflow.report.set_figures import set_figures
from opdsl.workflow.runs.interpolation import interpolated_heading, missing_interpolations
from opdsl.workflow.runs.interpolation_warning import interpolation_warnings
from opdsl.workflow.runs.splits import SPLITS

SETS = 3  # test sets of which samples are shown
HIDDEN = (  # of a row
    "data",
    "resolution",
    "split",
    "steps",
    "interpolated_h1",
    "trained_resolution",
    "not_interpolated",
)


def make_report(
    graph: Graph,
    resolved: ResolvedSettings,
    run: Path,
    module: nn.Module,
    normaliser: Normaliser,
    tests: Mapping[str, AnySamples],
    history: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    *,
    selection: Sequence[str],
    changes: Sequence[Change],
    out: Path | None = None,
) -> Path:
    """Write the page.

    Args:
        graph: the model.
        resolved: its settings.
        run: the folder of the run.
        module: with the weights of which predictions are shown.
        normaliser: of its values.
        tests: sets of which samples are shown.
        history: a row for each epoch.
        rows: errors on validation and test data.
        selection: sentences on which of these chose the weights.
        changes: settings that changed while the run went on.
        out: the file to write, `report.html` of the run if not given.

    Raises:
        OpError: OP0625, it cannot be written.
    """
    from opdsl.ir.certificate import certify
    from opdsl.summary.table import certificate_text

    settings = resolved.settings
    some = list(tests.values())[:SETS]
    return write_report(
        out or run / REPORT,
        title=graph.name,
        subtitle=graph.doc or "",
        diagram_svg=_diagram(graph),
        spec=read_text(run / PROGRAM),
        certificate=certificate_text(certify(graph)),
        settings_rows=used_settings(resolved),
        history=history,
        errors=[_cells(x, interpolated_heading(rows)) for x in rows],
        remarks=[f"{x[:1].upper()}{x[1:]}." for x in missing_interpolations(rows)],
        warnings=interpolation_warnings(graph, rows, run),
        selection=selection,
        changes=[_change(x) for x in changes],
        sets=[set_figures(graph, module, normaliser, x, settings, rows) for x in some],
        parameters=[{"parameter": k, "value": setting_text(v)} for k, v in graph.params.items()],
        weights=weight_rows(graph),
        environment=environment(graph, settings, _about(run)),
    )


def _cells(row: Mapping[str, Any], interpolated: str | None) -> dict[str, Any]:
    """Return the cells of a row, beginning with the part of the data.

    Args:
        row: errors on a set.
        interpolated: the heading of the error after interpolation.
    """
    heads = {"interpolated": interpolated}
    cells: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):  # metrics by name, each a column
            cells |= value
        elif key not in HIDDEN:
            cells[heads.get(key) or key] = value
    return {"data": SPLITS[row["split"]]} | cells


def _about(run: Path) -> dict[str, Any]:
    """Read `opdsl.json`; a page without an environment is better than no page."""
    try:
        return read_about(run)
    except OpError:
        return {}


def _change(change: Change) -> dict[str, Any]:
    """Return the cells of a setting that changed."""
    return {
        "from step": change.step,
        "setting": change.setting,
        "before": setting_text(change.before),
        "after": setting_text(change.after),
        "learning rate": " -> ".join(f"{x:.3g}" for x in change.rates or ()),
    }


def selection(choice: str, end: Mapping[str, Any]) -> list[str]:
    """Say which data chose the weights, and which only measured them.

    Args:
        choice: the validation data in words.
        end: `epochs`, `best_epoch`, and the rows of `valid` and `tests`.
    """
    best, epochs = end["best_epoch"], end["epochs"]
    sentences = [f"Validation data: {choice}."]
    if best is None:
        sentences.append(f"The weights are the last ones, of epoch {epochs}.")
    else:
        sentences.append(
            f"The weights are those of epoch {best} of {epochs}, the best on these data."
        )
    if choice == BY_TEST:
        sentences.append(
            "So the errors on the test data are smaller than on data that chose nothing."
        )
    elif end["tests"]:
        sentences.append("The test data were measured once, with these weights.")
    else:
        sentences.append("There are no test data; errors on data that chose nothing are not known.")
    return sentences


def _diagram(graph: Graph) -> str:
    """Draw the model; a page without a drawing is better than no page."""
    from opdsl.render import render

    try:
        return str(render(graph, "svg"))
    except OpError:
        return ""
