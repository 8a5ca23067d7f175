"""Tiles of a page: a function as an image with its colour bar, or as curves."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from opdsl.train.report.charts import chart
from opdsl.train.report.markup import image
from opdsl.train.report.raster import gradient, picture, png, shape_of
from opdsl.train.report.series import Array, Cloud, ColourLimits, CurveSeries


def tile_row(parts: Sequence[str], name: str = "tiles") -> str:
    """Return tiles beside each other, as many in a row as there is room for."""
    return f'<div class="{name}">{"".join(parts)}</div>' if parts else ""


def curve_row(parts: Sequence[str]) -> str:
    """Return charts beside each other."""
    return tile_row(parts, "curves")


def image_tile(heading: str, series: CurveSeries, frame: Array, limits: ColourLimits) -> str:
    """Show one frame of a function below its heading, and the colour bar."""
    head = f'<span class="head">{escape(heading)}</span>'
    content = drawn_image(heading, series, frame, limits) + colour_bar(series, limits)
    return f'<div class="tile">{head}{content}</div>'


def drawn_image(words: str, series: CurveSeries, frame: Array, limits: ColourLimits) -> str:
    """Show one frame of a function; `words` describe it."""
    drawn = png(picture(series, frame, limits))
    if isinstance(series.place, Cloud):
        return image(drawn, "png", words, "points")
    return image(drawn, "png", words, "pixels", f"aspect-ratio:{shape_of(series.place):.4g}")


def colour_bar(series: CurveSeries, limits: ColourLimits) -> str:
    """Return the colour bar with the numbers at its ends."""
    low, high = limits
    ends = f"<span>{low:.3g}</span><span>{high:.3g}</span>"
    return (
        f'<div class="bar" style="background:{gradient(series.colours)}"></div>'
        f'<div class="ends">{ends}</div>'
    )


def curves_tile(
    heading: str,
    curves: Sequence[tuple[str, Array, str]],
    series: CurveSeries,
    limits: ColourLimits | None = None,
) -> str:
    """Show functions of one variable in one chart."""
    x, order, name = line_of(series)
    lines = {k: list(zip(x.tolist(), v[order].tolist(), strict=True)) for k, v, _ in curves}
    plot = chart(
        lines,
        across=name,
        log=False,
        limits=limits,
        colours=[c for _, _, c in curves],
        legend=len(curves) > 1,
    )
    return f'<div class="tile"><span class="head">{escape(heading)}</span>{plot}</div>'


def line_of(series: CurveSeries) -> tuple[Array, Array, str]:
    """Return the coordinates of a curve, the order in which they rise, and their name."""
    place = series.place
    if isinstance(place, Cloud):
        line, name = place.points[:, 0], ""
    else:
        line, name = place.lines[0], place.names[0]
    order = np.argsort(line, kind="stable")
    return line[order], order, name


def heading_line(text: str) -> str:
    """Return a line of text above tiles."""
    return f'<p class="head">{escape(text)}</p>'
