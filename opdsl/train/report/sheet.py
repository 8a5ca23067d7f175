"""A sheet of samples as PNG, a film strip where there is time, and an animation as GIF."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opdsl.train.report.pictures import (
    COLOURS,
    DPI,
    GREY,
    dot_area,
    draw_points,
    finite,
    literal,
    saved,
)
from opdsl.train.report.series import Cloud, ColourLimits, CurveSeries, PlotAxes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]

INK = "#1c2128"
MISSING = "#d5d8dc"  # values that are not finite
WIDTH = 2.5  # inches of a panel
SHORTEST, TALLEST = 0.9, 4.5  # inches
FLAT = 0.7  # the height of what is not drawn to scale, in widths
STRETCH = 8  # axes whose lengths differ by more are not drawn to scale
EVEN = 1e-3  # relative differences of spacings that count as equal
LEGIBLE = 96  # dots per inch of an animation
DURATION = 100  # milliseconds of a frame


Rows = Sequence[Sequence[CurveSeries]]  # the functions of each sample
Update = Callable[[Array], None]


def sheet_png(samples: Rows, numbers: Sequence[int], times: Sequence[str]) -> bytes:
    """Draw samples one below the other, as PNG.

    Functions of one variable are curves, with one for each time. Others with several times are film
    strips, a row for each function of each sample. Each function has one scale in all samples.

    Args:
        samples: the functions of each, as many in all.
        numbers: of the samples.
        times: a label for each frame.
    """
    if any(len(x.frames) > 1 and x.dims > 1 for row in samples for x in row):
        return saved(_strips(samples, numbers, times), "png", dpi=DPI, facecolor="white")
    figure, _ = _table(samples, numbers, times, curves=True)
    return saved(figure, "png", dpi=DPI, facecolor="white")


def sheet_gif(samples: Rows, numbers: Sequence[int], times: Sequence[str]) -> bytes:
    """Draw samples one below the other, as an animation in time.

    Args:
        samples: the functions of each; those with one frame stand still.
        numbers: of the samples.
        times: a label for each frame.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure, updates = _table(samples, numbers, times, curves=False)
    canvas: Any = FigureCanvasAgg(figure)  # its methods have no types
    figure.set_dpi(LEGIBLE)
    title = figure.suptitle(times[0], fontsize=10, color=INK)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the panels stay where they are
    pages = []
    for i, label in enumerate(times):
        title.set_text(label)
        for series, update in updates:
            if len(series.frames) > 1:
                update(series.frames[i])
        canvas.draw()
        page = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        pages.append(page.quantize(128))
    buffer = io.BytesIO()
    pages[0].save(buffer, "GIF", save_all=True, append_images=pages[1:], duration=DURATION, loop=0)
    return buffer.getvalue()


def _table(
    samples: Rows, numbers: Sequence[int], times: Sequence[str], *, curves: bool
) -> tuple[Figure, list[tuple[CurveSeries, Update]]]:
    """Draw a row for each sample and a column for each function.

    Args:
        samples: the functions of each.
        numbers: of the samples.
        times: a label for each frame.
        curves: whether functions of one variable have a curve for each time, else for the first.
    """
    columns = len(samples[0])
    heights = [max(_height(x) for x in row) for row in samples]
    figure = _figure(columns * WIDTH, sum(heights) + 1.0)
    grid = figure.add_gridspec(len(samples), columns, height_ratios=heights)
    updates = []
    for j in range(columns):
        column = [row[j] for row in samples]
        limits = _limits(x for series in column for x in series.frames)
        panels = []
        image: Any = None
        for i, series in enumerate(column):
            axes = _axes(figure, grid[i, j], series)
            several = curves and series.dims == 1 and len(series.frames) > 1
            draw = _draw_curves if several else _draw
            image, update = draw(axes, series, limits)
            updates.append((series, update))
            panels.append(axes)
            if i == 0:
                axes.set_title(literal(series.name), fontsize=10, color=INK)
            if j == 0:
                _row_label(axes, f"sample {numbers[i]}")
            alike = j > 0 and _names(series) == _names(samples[i][j - 1])
            _thin_labels(axes, series, left=not alike, bottom=i == len(column) - 1)
        if image is not None:
            labels = (times[0], times[-1]) if column[0].dims == 1 else None
            _bar(figure, image, panels, labels)
    return figure, updates


def _strips(samples: Rows, numbers: Sequence[int], times: Sequence[str]) -> Figure:
    """Draw a row for each function of each sample, and a column for each time."""
    rows = [(n, x) for n, row in zip(numbers, samples, strict=True) for x in row]
    heights = [_height(x) for _, x in rows]
    figure = _figure(len(times) * WIDTH * 0.8 + 1, 0.85 * sum(heights) + 0.5)
    grid = figure.add_gridspec(len(rows), len(times), height_ratios=heights)
    scales = {
        x.name: _limits(y for row in samples for z in row if z.name == x.name for y in z.frames)
        for x in samples[0]
    }
    for i, (number, series) in enumerate(rows):
        panels, image = [], None
        for j, frame in enumerate(series.frames):
            axes = _axes(figure, grid[i, j], series)
            image, _ = _draw(axes, series._replace(frames=[frame]), scales[series.name])
            panels.append(axes)
            moving = len(series.frames) > 1
            if moving and (i == 0 or len(rows[i - 1][1].frames) == 1):
                axes.set_title(times[j], fontsize=9, color=INK)
            if j == 0:
                _row_label(axes, f"sample {number}\n{literal(series.name)}")
            _thin_labels(axes, series, left=j == 0, bottom=i == len(rows) - 1)
        if image is not None:
            for j in range(len(panels), len(times)):  # so that all bars are at one place
                panels.append(figure.add_subplot(grid[i, j]))
                panels[-1].set_axis_off()
            _bar(figure, image, panels, None, location="right")
    return figure


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _axes(figure: Figure, cell: Any, series: CurveSeries) -> Axes:
    axes: Axes = figure.add_subplot(cell, projection="3d" if series.dims == 3 else None)
    return axes


def _height(series: CurveSeries) -> float:
    """Return the height of a panel in inches, so that two axes are drawn to scale."""
    if series.dims != 2:
        return FLAT * WIDTH
    across, up = _extent(series.place)
    height = WIDTH * up / across if _to_scale(across, up) else FLAT * WIDTH
    return float(np.clip(height, SHORTEST, TALLEST))


def _extent(place: PlotAxes | Cloud) -> tuple[float, float]:
    """Return how far the two axes of a drawing reach."""
    if isinstance(place, Cloud):
        across, up = np.ptp(place.points[:, :2], axis=0)
        return float(across) or 1.0, float(up) or 1.0
    x, y = (_edges(line) for line in _drawn(place))
    return abs(float(x[-1] - x[0])), abs(float(y[-1] - y[0]))


def _to_scale(across: float, up: float) -> bool:
    return 1 / STRETCH <= up / across <= STRETCH


def _drawn(place: PlotAxes) -> tuple[Array, Array]:
    """Return the coordinates across and up: longitude is across."""
    first, second = place.lines
    return (second, first) if place.sphere else (first, second)


def _edges(line: Array) -> Array:
    """Return the ends of the cells around points."""
    if len(line) == 1:
        return np.array([line[0] - 0.5, line[0] + 0.5])
    middle = (line[1:] + line[:-1]) / 2
    return np.concatenate([[2 * line[0] - middle[0]], middle, [2 * line[-1] - middle[-1]]])


def _draw(axes: Axes, series: CurveSeries, limits: ColourLimits) -> tuple[Any, Update]:
    """Draw the first frame; return what has colours, if anything, and how to draw another frame."""
    place, values = series.place, np.asarray(series.frames[0], np.float64)
    if series.dims == 1:
        return _draw_line(axes, series, limits)
    style = {"cmap": _colour_map(series.colours), "vmin": limits[0], "vmax": limits[1]}
    if isinstance(place, PlotAxes):
        return _draw_image(axes, place, values, style)
    if series.dims == 3:
        space: Any = axes  # Axes3D, which matplotlib's types do not tell apart
        dots = {"s": dot_area(len(values)), "linewidths": 0, "depthshade": False}
        image = space.scatter(*place.points.T, c=values, **dots, **style)
        space.set_box_aspect(np.maximum(np.ptp(place.points, axis=0), 1e-9), zoom=1.25)
        axes.set_axis_off()
    else:
        image = draw_points(axes, place, values, style)
        axes.set_axis_off()
    return image, image.set_array


def _draw_image(
    axes: Axes, place: PlotAxes, values: Array, style: dict[str, Any]
) -> tuple[Any, Update]:
    """Draw an image: the first axis across and the second one up, but latitude up on a sphere."""
    x, y = (_edges(line) for line in _drawn(place))

    def across(frame: Array) -> Array:
        return frame if place.sphere else frame.T

    even = all(np.allclose(np.diff(e), np.diff(e).mean(), rtol=EVEN) for e in (x, y))
    if even:
        extent = (float(x[0]), float(x[-1]), float(y[0]), float(y[-1]))
        image: Any = axes.imshow(
            across(values), origin="lower", extent=extent, interpolation="nearest", **style
        )
    else:
        image = axes.pcolormesh(x, y, across(values), shading="flat", **style)
    axes.set_xlim(min(x[0], x[-1]), max(x[0], x[-1]))
    axes.set_ylim(min(y[0], y[-1]), max(y[0], y[-1]))
    axes.set_aspect("equal" if _to_scale(*_extent(place)) else "auto")
    names = place.names[::-1] if place.sphere else place.names
    axes.set_xlabel(literal(names[0]), fontsize=8, color=GREY, labelpad=3)
    axes.set_ylabel(literal(names[1]), fontsize=8, color=GREY, labelpad=3)
    return image, lambda frame: image.set_array(across(np.asarray(frame, np.float64)))


def _line(series: CurveSeries) -> tuple[Array, Array, str]:
    """Return the coordinates of a curve, the order in which they rise, and their name."""
    place = series.place
    if isinstance(place, Cloud):
        line, name = place.points[:, 0], ""
    else:
        line, name = place.lines[0], place.names[0]
    order = np.argsort(line, kind="stable")
    return line[order], order, name


def _draw_line(axes: Axes, series: CurveSeries, limits: ColourLimits) -> tuple[None, Update]:
    x, order, name = _line(series)
    mark = "o" if len(x) == 1 else ""
    (curve,) = axes.plot(x, series.frames[0][order], color=COLOURS[0], lw=1.2, marker=mark)
    _dress_curves(axes, name, limits)

    def update(frame: Array) -> None:
        curve.set_ydata(frame[order])

    return None, update


def _draw_curves(axes: Axes, series: CurveSeries, limits: ColourLimits) -> tuple[Any, Update]:
    """Draw a curve for each time, the later ones lighter."""
    import matplotlib as mpl
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    x, order, name = _line(series)
    scale: Any = ScalarMappable(Normalize(0, len(series.frames) - 1), mpl.colormaps["viridis_r"])
    for i, frame in enumerate(series.frames):
        axes.plot(x, frame[order], color=scale.to_rgba(i), lw=1.0)
    _dress_curves(axes, name, limits)
    return scale, lambda _: None


def _dress_curves(axes: Axes, name: str, limits: ColourLimits) -> None:
    low, high = limits
    margin = 0.05 * (high - low) or 0.5
    axes.set_ylim(low - margin, high + margin)
    axes.margins(x=0)
    axes.set_xlabel(literal(name), fontsize=8, color=GREY, labelpad=3)
    axes.spines[["top", "right"]].set_visible(False)


def _names(series: CurveSeries) -> tuple[str, ...]:
    return () if isinstance(series.place, Cloud) else series.place.names


def _thin_labels(axes: Axes, series: CurveSeries, *, left: bool, bottom: bool) -> None:
    """Keep the ticks at the edge of the sheet only; those of curves show different scales."""
    if isinstance(series.place, Cloud) and series.dims > 1:
        return
    axes.tick_params(labelsize=7, length=2, colors=GREY)
    for spine in axes.spines.values():
        spine.set_color(GREY)
        spine.set_linewidth(0.5)
    axes.locator_params(nbins=4)
    if not bottom:
        axes.set_xticklabels([])
        axes.set_xlabel("")
    if not left and series.dims == 2:
        axes.set_yticklabels([])
        axes.set_ylabel("")


def _row_label(axes: Axes, text: str) -> None:
    """Write the name of a row to the left of its first panel."""
    axes.annotate(
        text,
        (0, 0.5),
        xytext=(-46, 0),
        xycoords="axes fraction",
        textcoords="offset points",
        rotation=90,
        ha="center",
        va="center",
        fontsize=9,
        color=INK,
    )


def _bar(
    figure: Figure,
    image: Any,
    panels: Sequence[Axes],
    labels: tuple[str, str] | None,
    *,
    location: str = "bottom",
) -> None:
    """Draw the colour bar of some panels; `labels` are those of its ends, for times."""
    bar = figure.colorbar(image, ax=panels, location=location, shrink=0.85, aspect=25, pad=0.02)
    bar.ax.tick_params(labelsize=7, length=2, colors=GREY)
    bar.outline.set_visible(False)
    if labels is not None:
        bar.set_ticks([image.norm.vmin, image.norm.vmax], labels=list(labels))
        return
    bar.formatter.set_powerlimits((-2, 3))  # type: ignore[attr-defined]  # a ScalarFormatter
    bar.ax.xaxis.get_offset_text().set_fontsize(7)
    bar.ax.yaxis.get_offset_text().set_fontsize(7)
    bar.ax.locator_params(nbins=4)


def _colour_map(name: str) -> Any:
    import matplotlib as mpl

    return mpl.colormaps[name].with_extremes(bad=MISSING)


def _limits(arrays: Iterable[Array]) -> ColourLimits:
    """Return the range of all finite values."""
    parts = [finite(np.asarray(x, np.float64)) for x in arrays]
    parts = [x for x in parts if x.size]
    if not parts:
        return 0.0, 1.0
    low, high = min(float(x.min()) for x in parts), max(float(x.max()) for x in parts)
    return (low, high) if low < high else (low - 0.5, high + 0.5)
