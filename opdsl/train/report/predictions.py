"""Predictions of several models on one sample, beside each other and in the same colours."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from opdsl.train.report.charts import COLOURS
from opdsl.train.report.raster import limits_of, symmetric_limits
from opdsl.train.report.samples import OutputFilm, error_of, input_tiles
from opdsl.train.report.series import Film
from opdsl.train.report.tiles import curve_row, curves_tile, heading_line, image_tile, tile_row


class Contender(NamedTuple):
    """The predictions of one model: its name, facts about its error, and its channels."""

    name: str
    facts: Sequence[str]
    outputs: Sequence[OutputFilm]


class ComparedSample(NamedTuple):
    """A sample with the predictions of several models, whose channels are the same."""

    title: str
    inputs: Sequence[Film]
    contenders: Sequence[Contender]


def compared_html(sample: ComparedSample) -> str:
    """Return the figure of a sample: inputs, truth, then predictions and errors of each model.

    Of functions with several frames the last one is shown.
    """
    facts = [f"{x.name}: {', '.join(x.facts)}" for x in sample.contenders]
    caption = f"<b>{escape(sample.title)}</b>" + "".join(f"<span>{escape(x)}</span>" for x in facts)
    channels = zip(*(x.outputs for x in sample.contenders), strict=True)
    names = [x.name for x in sample.contenders]
    parts = [input_tiles(sample.inputs), *(_channel(names, x) for x in channels)]
    return f'<figure class="sample"><figcaption>{caption}</figcaption>{"".join(parts)}</figure>'


def _channel(names: Sequence[str], outputs: Sequence[OutputFilm]) -> str:
    """Show a channel of an output: the truth and the prediction of each model, then the errors."""
    films = [x.truth for x in outputs[:1]] + [x.prediction for x in outputs]
    words = ["truth", *names]
    frames = [x.series.frames[-1] for x in films]
    errors = [error_of(x) for x in outputs]
    last = [x.frames[-1] for x in errors]
    truth = films[0]
    place = [*truth.labels[-1:], *truth.cuts]
    head = heading_line(", ".join((outputs[0].name, *place)))
    if truth.series.dims == 1:
        shown = [*zip(words, frames, COLOURS, strict=False)]
        wrong = [*zip(names, last, COLOURS[1:], strict=False)]
        charts = [
            curves_tile("truth and predictions", shown, truth.series),
            curves_tile("errors", wrong, truth.series),
        ]
        return head + curve_row(charts)
    limits, reach = limits_of(frames[:1]), symmetric_limits([np.stack(last)])
    values = [image_tile(w, truth.series, x, limits) for w, x in zip(words, frames, strict=True)]
    wrong_tiles = [
        image_tile(f"{w}, error", e, x, reach) for w, e, x in zip(names, errors, last, strict=True)
    ]
    return head + tile_row(values) + tile_row(wrong_tiles)
