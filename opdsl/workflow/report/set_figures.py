"""What a page shows of a test set: its best, median and worst sample, and the spectra of errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from opdsl.data.bind.samples import Samples
from opdsl.ir.graph import Graph
from opdsl.ir.spaces import Space
from opdsl.train.config.schema import Settings
from opdsl.train.engine.loader import FieldValues
from opdsl.train.engine.rollout import Rollout
from opdsl.train.metrics.energy_spectrum import EnergySpectrum, grid_spectrum, sphere_spectrum
from opdsl.train.metrics.evaluate import predict, steps_of
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.metrics.sample_errors import SetSurvey, sample_errors, spectrum_lines
from opdsl.train.report.curves import number
from opdsl.train.report.page import SetFigures, SpectrumFigure
from opdsl.train.report.samples import OutputFilm, SampleFigure
from opdsl.train.report.series import Film
from opdsl.train.scaling.normalise import Normaliser
from opdsl.workflow.datasets.reading.streamed import AnySamples, StreamedSamples, head_of
from opdsl.workflow.report.functions import INPUT, OUTPUT, channel_films, is_vector, vector_text
from opdsl.workflow.runs.evaluation import latitude_samplings
from opdsl.workflow.runs.rollout import loop_of

MEASURED = 512  # samples of a set among which the best and the worst are searched
INPUTS, OUTPUTS = 12, 6  # channels of a sample that are shown


def set_figures(
    graph: Graph,
    module: nn.Module,
    normaliser: Normaliser,
    samples: AnySamples,
    settings: Settings,
    rows: Sequence[Mapping[str, Any]] = (),
) -> SetFigures:
    """Measure the samples of a set, and show three of them; the first one where no truth is known.

    Args:
        graph: the model.
        module: with the weights of which predictions are shown.
        normaliser: of its values.
        samples: the set.
        settings: device, precision, batch and rollout.
        rows: errors on sets, of which those of this one have the errors of each step.
    """
    if head_of(samples).outputs:
        errors = measured_errors(graph, module, normaliser, samples, settings)
    else:
        errors = SetSurvey(np.zeros(0))
    ranks = errors.ranked() or {"first": 0}
    few = some_samples(samples, list(ranks.values()))

    titles = [f"{rank}: sample {i}" for rank, i in ranks.items()]
    facts = [
        [f"rel. L2 {errors.rel_l2[i]:.4g}"] if errors.rel_l2.size else [] for i in ranks.values()
    ]
    return SetFigures(
        samples.name,
        remarks=_remarks(samples, errors),
        samples=sample_figures(graph, module, normaliser, settings, few, titles, facts),
        spectra=_spectra(graph, errors),
        steps=_steps(samples, rows),
    )


def measured_errors(
    graph: Graph,
    module: nn.Module,
    normaliser: Normaliser,
    samples: AnySamples,
    settings: Settings,
) -> SetSurvey:
    """Measure the first samples of a set, as many as pages look at."""
    return sample_errors(
        module,
        normaliser,
        samples.first(MEASURED),
        spectrum_of=spectra_of(graph),
        samplings=latitude_samplings(graph),
        device=settings.device,
        precision=settings.precision,
        batch=settings.batch,
        loop=loop_of(graph, settings.rollout),
    )


def some_samples(samples: AnySamples, rows: Sequence[int]) -> Samples:
    """Return samples in memory by their indices."""
    return samples.read(rows) if isinstance(samples, StreamedSamples) else samples.take(rows)


def sample_figures(
    graph: Graph,
    module: nn.Module,
    normaliser: Normaliser,
    settings: Settings,
    few: Samples,
    titles: Sequence[str],
    facts: Sequence[Sequence[str]],
) -> list[SampleFigure]:
    """Return the figures of samples: all channels of inputs and outputs, as far as there is room.

    Args:
        graph: the model.
        module: with the weights of which predictions are shown.
        normaliser: of its values.
        settings: device, precision and rollout.
        few: the samples.
        titles: of the samples.
        facts: about each.
    """
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
    return [
        _figure(graph, few, outputs, i, loop, title, known)
        for i, (title, known) in enumerate(zip(titles, facts, strict=True))
    ]


def _figure(
    graph: Graph,
    few: Samples,
    outputs: FieldValues,
    sample: int,
    loop: Rollout | None,
    title: str,
    facts: Sequence[str],
) -> SampleFigure:
    """Return the figure of a sample; outputs without a truth have a prediction only."""
    texts = [vector_text(k, x, sample) for k, x in few.inputs.items() if is_vector(x)]
    inputs: list[Film] = []
    for port in graph.inputs:
        values = few.inputs.get(port.name)
        if values is not None and not is_vector(values):
            timed = bool(loop and loop.timed(port.name, values))
            inputs += channel_films(port, few, values, sample, timed=timed, colours=INPUT)
    channels: list[OutputFilm] = []
    predictions: list[Film] = []
    for port in graph.outputs:
        prediction, truth = outputs[port.name], few.outputs.get(port.name)
        if is_vector(prediction):
            named = {"truth": truth, "prediction": prediction}
            texts += [
                f"{words} {vector_text(port.name, x, sample)}"
                for words, x in named.items()
                if x is not None
            ]
            continue
        show = partial(
            channel_films, port, few, sample=sample, timed=loop is not None, colours=OUTPUT
        )
        films = list(show(values=prediction))
        if truth is None:
            predictions += films
        else:
            pairs = zip(show(values=truth), films, strict=True)
            channels += [OutputFilm(t.series.name, t, p) for t, p in pairs]
    parts = ((inputs, INPUTS), (channels, OUTPUTS), (predictions, OUTPUTS))
    hidden = sum(max(0, len(x) - most) for x, most in parts)
    return SampleFigure(
        title,
        (*facts, *texts),
        inputs[:INPUTS],
        channels[:OUTPUTS],
        predictions[:OUTPUTS],
        hidden,
    )


def spectra_of(graph: Graph) -> dict[str, EnergySpectrum]:
    """Return for each output on a regular grid or a sphere its energy spectrum."""
    spectra = {x.name: _spectrum(x.space) for x in graph.outputs}
    return {k: x for k, x in spectra.items() if x is not None}


def _spectrum(space: Space) -> EnergySpectrum | None:
    domain = space.domain
    if space.complex or domain.steps:
        return None
    if domain.kind == "sphere":
        return partial(sphere_spectrum, sampling=domain.sampling or "equiangular")
    if domain.kind not in {"grid", "interval"}:
        return None  # in products of space and time the waves have different units
    lengths = tuple(x.hi - x.lo for x in domain.axes)
    return partial(grid_spectrum, axes=GridAxes(domain.periodic, lengths, domain.samplings))


def _spectra(graph: Graph, errors: SetSurvey) -> list[SpectrumFigure]:
    words = wave_words(graph)
    return [SpectrumFigure(k, words[k], spectrum_lines(x)) for k, x in errors.spectra.items()]


def wave_words(graph: Graph) -> dict[str, str]:
    """Return for each output what its wave numbers are."""
    on_grid = "wave number, in waves per length of the longest axis"
    spheres = {x.name for x in graph.outputs if x.space.domain.kind == "sphere"}
    return {x.name: "degree" if x.name in spheres else on_grid for x in graph.outputs}


def _remarks(samples: AnySamples, errors: SetSurvey) -> list[str]:
    count, total = len(errors.rel_l2), len(samples)
    if not count:
        return ["The data have no truth; the first sample is shown."]
    names = list(head_of(samples).outputs)
    mean = "" if len(names) == 1 else ", the mean over the outputs"
    among = f"the first {count} of {total}" if count < total else f"all {total}"
    return [f"Best, median and worst by relative L2 error{mean}, among {among} samples."]


def _steps(
    samples: AnySamples, rows: Sequence[Mapping[str, Any]]
) -> list[tuple[float, float | None]]:
    """Return the errors of each step of a rollout on a set."""
    row = next((x for x in rows if x.get("set") == samples.name and x.get("steps")), {})
    steps = row.get("steps")
    errors = steps if isinstance(steps, list) else []
    return [(i + 1.0, number(x)) for i, x in enumerate(errors)]
