"""The report page of a run, `report.html`: its diagram, errors, pictures and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from opdsl.data.bind.samples import VECTOR, Samples
from opdsl.diagnostics import OpError
from opdsl.files import read_text
from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.graph import Graph
from opdsl.nn.points.batch import Values, all_values, split_samples
from opdsl.nn.points.packed import Packed
from opdsl.train.config.changes import Change, setting_text
from opdsl.train.config.schema import Settings
from opdsl.train.config.settings import ResolvedSettings
from opdsl.train.engine.device import device_of
from opdsl.train.metrics.evaluate import predict, steps_of
from opdsl.train.report.page import Picture, write_report
from opdsl.train.report.pictures import Cloud
from opdsl.train.scaling.normalise import Normaliser
from opdsl.workflow.datasets.division import BY_TEST
from opdsl.workflow.datasets.reading.streamed import AnySamples, loaded
from opdsl.workflow.folder.reading import PROGRAM
from opdsl.workflow.folder.writing import REPORT, versions
from opdsl.workflow.programs.program import used_settings
from opdsl.workflow.runs.evaluation import SPLITS
from opdsl.workflow.runs.interpolation import interpolated_heading, missing_interpolations
from opdsl.workflow.runs.interpolation_warning import interpolation_warnings
from opdsl.workflow.runs.rollout import loop_of

SAMPLES = 2  # shown of each test set
SETS = 3  # shown
MOST_NUMBERS = 4  # of a vector that are shown
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
    """
    from opdsl.ir.certificate import certify
    from opdsl.summary.table import certificate_text

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
        table=[_cells(x, interpolated_heading(rows)) for x in rows],
        remarks=[f"{x[:1].upper()}{x[1:]}." for x in missing_interpolations(rows)],
        warnings=interpolation_warnings(graph, rows, run),
        selection=selection,
        changes=[_change(x) for x in changes],
        pictures=[
            y for x in some for y in _pictures(graph, module, normaliser, x, resolved.settings)
        ],
        environment=_environment(graph, resolved.settings),
    )


def _cells(row: Mapping[str, Any], interpolated: str | None) -> dict[str, Any]:
    """Return the cells of a row, beginning with the part of the data.

    Args:
        row: errors on a set.
        interpolated: the heading of the error after interpolation.
    """
    heads = {"interpolated": interpolated}
    cells = {heads.get(k) or k: v for k, v in row.items() if k not in HIDDEN}
    return {"data": SPLITS[row["split"]]} | cells


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


def _pictures(
    graph: Graph, module: nn.Module, normaliser: Normaliser, samples: AnySamples, settings: Settings
) -> list[Picture]:
    """Show the first samples of a set: the first channel of each function, after the last step."""
    few = loaded(samples.first(SAMPLES))
    loop = loop_of(graph, settings.rollout)
    outputs = predict(
        module,
        normaliser,
        few.inputs,
        device=settings.device,
        precision=settings.precision,
        loop=loop,
        steps=steps_of(few.outputs, loop),
        places=few.model_points,
    )
    domains = {x.name: x.space.domain.name for x in (*graph.inputs, *graph.outputs)}
    with_steps = {k for k, x in few.inputs.items() if loop and loop.timed(k, x)}
    functions = {k: x for k, x in few.inputs.items() if not _is_vector(x)}
    return [
        Picture(
            ", ".join((f"{samples.name}, sample {i}, {name}", *_vectors(few, i))),
            truth=_shown(truth, i, few.weights.get(name), timed=loop is not None),
            prediction=_shown(outputs[name], i, few.weights.get(name), timed=loop is not None),
            inputs={
                k: _shown(x, i, few.weights.get(k), timed=k in with_steps)
                for k, x in functions.items()
            },
            clouds={k: x for k, d in domains.items() if (x := _cloud(few, d, i))},
            output=name,
        )
        for i in range(len(few))
        for name, truth in few.outputs.items()
    ]


def _is_vector(x: Values) -> bool:
    return not isinstance(x, Packed) and x.ndim == VECTOR


def _vectors(few: Samples, sample: int) -> Iterator[str]:
    """Write the vectors of a sample as text: `nu = 0.01`."""
    for name, x in few.inputs.items():
        if _is_vector(x):
            numbers = all_values(x)[sample].tolist()
            text = ", ".join(f"{v:.3g}" for v in numbers[:MOST_NUMBERS])
            more = ", ..." if len(numbers) > MOST_NUMBERS else ""
            yield f"{name} = {text}{more}" if len(numbers) == 1 else f"{name} = ({text}{more})"


def _shown(x: Values, sample: int, weights: Values | None, *, timed: bool) -> NDArray[Any]:
    """Return the first channel of a sample, of the last step in time; NaN where it is masked."""
    function = split_samples(x)[sample]
    if weights is not None and all_values(weights).dtype == torch.bool:
        mask = split_samples(weights)[sample]
        function = torch.where(mask, function, torch.nan)
    values: NDArray[Any] = (function[-1] if timed else function)[0].float().numpy()
    return values


def _cloud(samples: Samples, domain: str, sample: int) -> Cloud | None:
    """Return where the points of a sample are, if the domain is one of points."""
    geometries = samples.places.get(domain)
    if geometries is None:
        return None
    x = geometries[sample if len(geometries) > 1 else 0]
    return Cloud(x.points.numpy(), None if x.cells is None else x.cells.numpy())


def _environment(graph: Graph, settings: Settings) -> dict[str, str]:
    return versions() | {
        "device": str(device_of(settings.device)),
        "fingerprint": fingerprint(graph),
    }
