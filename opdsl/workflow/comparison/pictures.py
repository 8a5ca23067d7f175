"""Predictions of several runs on the same samples, for the page of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from opdsl.diagnostics import OpError
from opdsl.ir.graph import Graph
from opdsl.nn.points.batch import all_values
from opdsl.train.metrics.energy_spectrum import Doubles
from opdsl.train.metrics.sample_errors import SetSurvey, spectrum_lines
from opdsl.train.report.charts import CurvePoints
from opdsl.train.report.page import SpectrumFigure
from opdsl.train.report.predictions import ComparedSample, Contender
from opdsl.train.report.samples import SampleFigure
from opdsl.workflow.comparison.runs import ComparedRun
from opdsl.workflow.datasets.binding import binding_of
from opdsl.workflow.datasets.held_out import HeldOut, read_sets
from opdsl.workflow.datasets.reading.in_memory import TrainingData
from opdsl.workflow.datasets.reading.sources import Sources
from opdsl.workflow.datasets.reading.streamed import AnySamples, head_of
from opdsl.workflow.errors import Warn, ignore
from opdsl.workflow.report.set_figures import (
    measured_errors,
    sample_figures,
    some_samples,
    wave_words,
)
from opdsl.workflow.runs.measurements import given_sets, own_sets, settings_here
from opdsl.workflow.runs.opening import open_run
from opdsl.workflow.runs.run import Run


@dataclass(frozen=True, slots=True)
class CommonSamples:
    """What several runs predict on one test set.

    Attributes:
        name: of the set.
        samples: three of them, with the predictions of each run.
        spectra: of the truth and of the error of each run.
        notes: why runs are not shown, a sentence each.
    """

    name: str = ""
    samples: Sequence[ComparedSample] = ()
    spectra: Sequence[SpectrumFigure] = ()
    notes: Sequence[str] = ()


def common_samples(
    runs: Sequence[ComparedRun], data: TrainingData | None, warn: Warn
) -> CommonSamples:
    """Predict on the first test set of the first run, or on given data, with each run.

    A run that cannot read these data, or has other outputs, is left out with a note.

    Raises:
        OpError: OP0610 to OP0615, `data` cannot be read or do not fit the first run.
    """
    first = open_run(runs[0].folder)
    try:
        held_out = own_sets(first, None)[0] if data is None else None
        samples = _samples(first, held_out, data, warn)
    except OpError as error:
        if data is not None:
            raise
        return CommonSamples(notes=[f"the page shows no samples: {error.diagnostics[0].message}"])
    if not head_of(samples).outputs:
        return CommonSamples(notes=["the page shows no samples: the test data have no outputs"])
    notes, opened = [], [_Opened(runs[0].name, first, samples)]
    for run in runs[1:]:
        try:
            other = open_run(run.folder)
            theirs = _samples(other, held_out, data, ignore)
        except OpError as error:
            notes.append(f"the page shows no samples of {run.name}: {error.diagnostics[0].message}")
            continue
        if _outputs(theirs) != _outputs(samples):
            notes.append(f"the page shows no samples of {run.name}: its outputs are others")
            continue
        opened.append(_Opened(run.name, other, theirs))
    return _predicted(opened, notes)


class _Opened(NamedTuple):
    """A run with its weights, and the samples as it reads them."""

    name: str
    run: Run
    samples: AnySamples


def _samples(
    run: Run, held_out: Sequence[HeldOut] | None, data: TrainingData | None, warn: Warn
) -> AnySamples:
    """Read the first test set as the inputs and outputs of a run.

    Args:
        run: whose settings say how.
        held_out: where the sets are; those of `data` if None.
        data: a path, or arrays.
        warn: receives warnings about the data.
    """
    sources = Sources()
    if held_out is None:
        assert data is not None
        held_out, sources = given_sets(run.graph, data, None)
    binding = binding_of(run.graph, run.settings, testing=True, warn=warn)
    sets = read_sets(held_out[:1], (), run.settings.data.resolution, binding, sources)
    return next(iter(sets.values()))


def _outputs(samples: AnySamples) -> tuple[int, dict[str, tuple[int, ...]]]:
    """Return what the samples of two runs have to have in common: number, names and shapes."""
    outputs = head_of(samples).outputs
    return len(samples), {k: tuple(all_values(x).shape[1:]) for k, x in outputs.items()}


def _predicted(opened: Sequence[_Opened], notes: Sequence[str]) -> CommonSamples:
    errors = [
        measured_errors(
            x.run.graph, x.run.module, x.run.operator.normaliser, x.samples, settings_here(x.run)
        )
        for x in opened
    ]
    picks = picked_samples([x.rel_l2 for x in errors])
    titles = [f"{words}: sample {i}" for words, i in picks.items()]
    shown = [
        _figures(x, e, titles, list(picks.values())) for x, e in zip(opened, errors, strict=True)
    ]
    names = [x.name for x in opened]
    samples = [
        ComparedSample(
            figures[0].title,
            figures[0].inputs,
            [Contender(n, f.facts[:1], f.outputs) for n, f in zip(names, figures, strict=True)],
        )
        for figures in zip(*shown, strict=True)
    ]
    spectra = _spectra(opened[0].run.graph, names, errors)
    return CommonSamples(opened[0].samples.name, samples, spectra, notes)


def _figures(
    x: _Opened, errors: SetSurvey, titles: Sequence[str], rows: Sequence[int]
) -> list[SampleFigure]:
    facts = [[f"rel. L2 {errors.rel_l2[i]:.4g}"] for i in rows]
    few = some_samples(x.samples, rows)
    run = x.run
    return sample_figures(
        run.graph, run.module, run.operator.normaliser, settings_here(run), few, titles, facts
    )


def picked_samples(errors: Sequence[Doubles]) -> dict[str, int]:
    """Choose samples by the errors of all runs: the median, the worst, and where they differ most.

    Args:
        errors: of the samples, for each run; NaN where there is none.
    """
    table = np.stack(errors)
    counted = np.flatnonzero(~np.isnan(table).any(0))
    if not len(counted):
        return {"first": 0}
    order = counted[np.argsort(table[:, counted].mean(0), kind="stable")]
    spread = np.ptp(table[:, counted], axis=0)
    picks = {
        "median of the mean error": int(order[(len(order) - 1) // 2]),
        "worst mean error": int(order[-1]),
        "greatest difference": int(counted[int(np.argmax(spread))]),
    }
    chosen: dict[str, int] = {}
    for words, i in picks.items():
        if i not in chosen.values():
            chosen[words] = i
    return chosen


def _spectra(
    graph: Graph, names: Sequence[str], errors: Sequence[SetSurvey]
) -> list[SpectrumFigure]:
    """Return the spectra of the truth and of the error of each run."""
    figures, words = [], wave_words(graph)
    for output in errors[0].spectra:
        lines: dict[str, CurvePoints] = {}
        for name, x in zip(names, errors, strict=True):
            if output in x.spectra:
                parts = spectrum_lines(x.spectra[output])
                lines.setdefault("truth", parts["truth"])
                lines[f"error of {name}"] = parts["error"]
        figures.append(SpectrumFigure(output, words[output], lines))
    return figures
