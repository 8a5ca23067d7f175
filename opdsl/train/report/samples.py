"""Samples on the page: inputs, truth, prediction and error as tiles, film strips and animations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np
from PIL import Image

from opdsl.train.report.charts import COLOURS
from opdsl.train.report.markup import image
from opdsl.train.report.raster import (
    animation,
    curves_picture,
    limits_of,
    picture,
    shape_of,
    symmetric_limits,
)
from opdsl.train.report.series import Array, Cloud, ColourLimits, CurveSeries, Film
from opdsl.train.report.tiles import (
    colour_bar,
    curve_row,
    curves_tile,
    drawn_image,
    heading_line,
    image_tile,
    line_of,
    tile_row,
)

STRIP = 6  # frames of a film strip
ANIMATED = 24  # frames of an animation
ON_GRID, ON_POINTS = "RdBu_r", "coolwarm"  # of errors: dots on white need a visible zero
LINE_RATIO = 1.6  # width to height of curves in an animation
TRUTH, PREDICTION, ERROR = COLOURS[0], COLOURS[1], COLOURS[4]


class OutputFilm(NamedTuple):
    """A channel of an output: truth and prediction, frame by frame."""

    name: str
    truth: Film
    prediction: Film


@dataclass(frozen=True, slots=True)
class SampleFigure:
    """A sample on the page.

    Attributes:
        title: which one it is, `worst: sample 12`.
        facts: its error, and the vectors among its inputs: `rel. L2 0.03`, `nu = 0.1`.
        inputs: the channels of the inputs.
        outputs: the channels of the outputs.
        predictions: the channels of outputs whose truth is not known.
        left_out: how many channels have no room.
    """

    title: str
    facts: Sequence[str] = ()
    inputs: Sequence[Film] = ()
    outputs: Sequence[OutputFilm] = ()
    predictions: Sequence[Film] = ()
    left_out: int = 0


def sample_html(sample: SampleFigure, *, animated: bool = True) -> str:
    """Return the figure of a sample.

    Args:
        sample: what is shown.
        animated: whether functions with several frames are animated, besides the film strip.
    """
    caption = f"<b>{escape(sample.title)}</b>"
    caption += "".join(f"<span>{escape(x)}</span>" for x in sample.facts)
    parts = [input_tiles(sample.inputs)]
    still = [x for x in sample.outputs if len(x.truth.series.frames) == 1]
    parts += [_still(x) for x in still]
    for output in sample.outputs:
        if len(output.truth.series.frames) > 1:
            parts.append(_moving(output))
            parts.append(_animation(output) if animated else "")
    if sample.predictions:
        parts.append(heading_line("predictions, without a truth") + input_tiles(sample.predictions))
    if sample.left_out:
        parts.append(f"<p class='note'>{sample.left_out} further channels are not shown.</p>")
    return f'<figure class="sample"><figcaption>{caption}</figcaption>{"".join(parts)}</figure>'


def input_tiles(inputs: Sequence[Film]) -> str:
    """Show functions in their own colours; those with several frames as film strips."""
    alone = [x for x in inputs if len(x.series.frames) == 1]
    parts = [tile_row([_static(x) for x in alone if x.series.dims > 1])]
    parts += [curve_row([_static(x) for x in alone if x.series.dims == 1])]
    parts += [_strip(x) for x in inputs if len(x.series.frames) > 1]
    return "".join(parts)


def axes_text(film: Film) -> str:
    """Describe the axes of a drawing in words: `x 0 to 2 across, y 0 to 1 up`."""
    place = film.series.place
    if isinstance(place, Cloud):
        return ""
    ends = [f"{line[0]:.3g} to {line[-1]:.3g}" for line in place.lines]
    texts = [f"{name} {text}" for name, text in zip(place.names, ends, strict=True)]
    if len(texts) == 1:
        return f"{texts[0]} across"
    if place.sphere:
        return f"{texts[1]} across, {texts[0]} down"
    return f"{texts[0]} across, {texts[1]} up"


# ------------------------------------------------------------------------------------ one frame


def _static(film: Film) -> str:
    """Show a function with one frame, in its own colours."""
    series = film.series
    heading = ", ".join((series.name, *film.labels, *film.cuts))
    if series.dims == 1:
        return curves_tile(heading, [(series.name, series.frames[0], TRUTH)], series)
    return image_tile(heading, series, series.frames[0], limits_of(series.frames))


def _still(output: OutputFilm) -> str:
    """Show truth, prediction and error of a channel with one frame."""
    truth, prediction = output.truth.series, output.prediction.series
    error = error_of(output)
    cuts = output.truth.cuts
    if truth.dims == 1:
        both = [("truth", truth.frames[0], TRUTH), ("prediction", prediction.frames[0], PREDICTION)]
        tiles = [
            curves_tile(output.name, both, truth),
            curves_tile(f"error of {output.name}", [("error", error.frames[0], ERROR)], truth),
        ]
        return curve_row(tiles)
    limits = limits_of(truth.frames)  # a wild prediction must not hide the truth
    where = "".join(f", {x}" for x in cuts)
    tiles = [
        image_tile(f"{output.name}, truth{where}", truth, truth.frames[0], limits),
        image_tile(f"{output.name}, prediction", prediction, prediction.frames[0], limits),
        image_tile(f"{output.name}, error", error, error.frames[0], symmetric_limits(error.frames)),
    ]
    return tile_row(tiles, "tiles output")


def error_of(output: OutputFilm) -> CurveSeries:
    """Return prediction minus truth, in the colours of errors."""
    truth, prediction = output.truth.series, output.prediction.series
    frames = [
        np.asarray(p, np.float64) - t for p, t in zip(prediction.frames, truth.frames, strict=True)
    ]
    colours = ON_POINTS if isinstance(truth.place, Cloud) else ON_GRID
    return truth._replace(name="error", frames=frames, colours=colours)


# ------------------------------------------------------------------------------- several frames


def _strip(film: Film) -> str:
    """Show a function at some times beside each other."""
    series = film.series
    kept = _some(len(series.frames), STRIP)
    heading = heading_line(", ".join((series.name, *film.cuts)))
    if series.dims == 1:
        limits = limits_of(series.frames)
        tiles = [
            curves_tile(film.labels[i], [(series.name, series.frames[i], TRUTH)], series, limits)
            for i in kept
        ]
        return heading + curve_row(tiles)
    limits = limits_of([series.frames[i] for i in kept])
    columns = [(film.labels[i], [(series, series.frames[i], limits)]) for i in kept]
    return heading + _columns(series.name, columns) + _bars([("", series, limits)])


def _moving(output: OutputFilm) -> str:
    """Show truth, prediction and error of a channel at some times, one above the other."""
    truth, prediction, error = output.truth.series, output.prediction.series, error_of(output)
    labels = output.truth.labels
    kept = _some(len(truth.frames), STRIP)
    heading = ", ".join((output.name, *output.truth.cuts))
    values, errors = limits_of(truth.frames), symmetric_limits(error.frames)
    if truth.dims == 1:
        tiles = [
            curves_tile(
                labels[i],
                [
                    ("truth", truth.frames[i], TRUTH),
                    ("prediction", prediction.frames[i], PREDICTION),
                    ("error", error.frames[i], ERROR),
                ],
                truth,
                limits_of([np.asarray(_widened(values, prediction)), np.asarray(errors)]),
            )
            for i in kept
        ]
        return heading_line(heading) + curve_row(tiles)
    columns = [
        (
            labels[i],
            [
                (truth, truth.frames[i], values),
                (prediction, prediction.frames[i], values),
                (error, error.frames[i], errors),
            ],
        )
        for i in kept
    ]
    heading += "; from top to bottom: truth, prediction, error"
    bars = [("truth and prediction", truth, values), ("error", error, errors)]
    return heading_line(heading) + _columns(output.name, columns) + _bars(bars)


def _columns(
    name: str, columns: Sequence[tuple[str, Sequence[tuple[CurveSeries, Array, ColourLimits]]]]
) -> str:
    """Return a film strip: a column for each time, as many in a row as there is room for."""
    parts = []
    for label, cells in columns:
        images = "".join(drawn_image(f"{name}, {label}", *cell) for cell in cells)
        parts.append(f'<div class="frame"><span class="head">{escape(label)}</span>{images}</div>')
    return f'<div class="strip">{"".join(parts)}</div>'


def _bars(bars: Sequence[tuple[str, CurveSeries, ColourLimits]]) -> str:
    parts = [
        f'<div class="tile"><span class="head">{escape(name)}</span>{colour_bar(x, limits)}</div>'
        for name, x, limits in bars
    ]
    return tile_row(parts)


def _animation(output: OutputFilm) -> str:
    """Return truth, prediction and error in motion; the first frame for readers who want none."""
    truth, prediction, error = output.truth.series, output.prediction.series, error_of(output)
    kept = _some(len(truth.frames), ANIMATED)
    values, errors = limits_of(truth.frames), symmetric_limits(error.frames)
    if truth.dims == 1:
        heads: tuple[str, ...] = ("truth and prediction", "error")
        values = _widened(values, prediction)
        x, order, _ = line_of(truth)
        pages = [
            [
                curves_picture(
                    [
                        (x, truth.frames[i][order], TRUTH),
                        (x, prediction.frames[i][order], PREDICTION),
                    ],
                    values,
                    LINE_RATIO,
                ),
                curves_picture([(x, error.frames[i][order], ERROR)], errors, LINE_RATIO),
            ]
            for i in kept
        ]
        ratio = LINE_RATIO
    else:
        heads = ("truth", "prediction", "error")
        shown = ((truth, values), (prediction, values), (error, errors))
        pages = [[picture(s, s.frames[i], limits) for s, limits in shown] for i in kept]
        ratio = _ratio(pages[0][0], truth)
    words = f"{output.name} from {output.truth.labels[0]} to {output.truth.labels[-1]}"
    still = image(animation(pages[:1], ratio), "gif", words)
    moving = image(animation(pages, ratio), "gif", words)
    source = still.partition('src="')[2].partition('"')[0]
    calm = f'<source media="(prefers-reduced-motion: reduce)" srcset="{source}">'
    names = "".join(f"<span>{x}</span>" for x in heads)
    caption = heading_line(f"{words}: animation, the line at the bottom grows with it")
    return (
        f'{caption}<div class="film"><div class="heads">{names}</div>'
        f"<picture>{calm}{moving}</picture></div>"
    )


def _widened(limits: ColourLimits, prediction: CurveSeries) -> ColourLimits:
    """Return the range of truth and prediction, at most three times that of the truth."""
    span = limits[1] - limits[0]
    low, high = limits_of([np.asarray(limits), *prediction.frames])
    return max(low, limits[0] - span), min(high, limits[1] + span)


def _ratio(drawn: Image.Image, series: CurveSeries) -> float:
    if isinstance(series.place, Cloud):
        return drawn.width / drawn.height
    return shape_of(series.place)


def _some(count: int, most: int) -> list[int]:
    """Return evenly spaced indices with both ends."""
    places = np.linspace(0, count - 1, min(most, count)).round().astype(int)
    return [int(x) for x in np.unique(places)]
