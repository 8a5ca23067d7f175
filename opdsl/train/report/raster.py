"""Functions as small images: one pixel a point on a grid, which the page enlarges.

Text is none of their business: headings, colour bars and numbers are HTML, and so are readable at
every width.
"""

import io
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from opdsl.train.report.pictures import dot_area, draw_points, finite
from opdsl.train.report.series import Array, Cloud, ColourLimits, CurveSeries, PlotAxes

Bytes = NDArray[np.uint8]

MOST = 192  # pixels of a side; finer grids are averaged over blocks
SHADES = 255  # colours of a map; the last entry is that of missing values
MISSING = (213, 216, 220)
CLOUD = 2.4  # inches of a picture of points
CLOUD_DPI = 110
PANEL = 180  # pixels of a panel of an animation
GAP = 8  # pixels between them
PAUSE = 160  # milliseconds of a frame
LAST_PAUSE = 900
STOPS = 9  # colours of a colour bar
VIEWS = ((0, 1, 2), (0, 2, 1), (1, 2, 0))  # across, up, towards the reader
STRETCH = 4  # axes whose lengths differ by more are not drawn to scale


@lru_cache(maxsize=8)
def colour_table(name: str) -> Bytes:
    """Return the colours of a map, (256, 3); the last one is for values that are not finite."""
    import matplotlib as mpl

    colours = mpl.colormaps[name](np.linspace(0, 1, SHADES), bytes=True)[:, :3]
    table: Bytes = np.concatenate([colours, [MISSING]]).astype(np.uint8)
    return table


def gradient(name: str) -> str:
    """Return a colour bar as a background of CSS."""
    rows = colour_table(name)[np.linspace(0, SHADES - 1, STOPS).round().astype(int)]
    stops = ", ".join(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in rows.tolist())
    return f"linear-gradient(to right, {stops})"


def limits_of(arrays: Iterable[Array]) -> ColourLimits:
    """Return the range of all finite values; of width 1 where they are all equal."""
    parts = [y for x in arrays if (y := finite(np.asarray(x, np.float64))).size]
    low = min((float(x.min()) for x in parts), default=0.0)
    high = max((float(x.max()) for x in parts), default=1.0)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def symmetric_limits(arrays: Iterable[Array]) -> ColourLimits:
    """Return a range around zero that contains all finite values."""
    low, high = limits_of([np.zeros(1), *arrays])
    reach = max(abs(low), abs(high))
    return -reach, reach


def shape_of(place: PlotAxes | Cloud) -> float:
    """Return the ratio of width to height in which a function of two axes is drawn."""
    across, up = _extent(place)
    ratio = across / up
    return ratio if 1 / STRETCH <= ratio <= STRETCH else 1.0


def _extent(place: PlotAxes | Cloud) -> tuple[float, float]:
    if isinstance(place, Cloud):
        sides = np.ptp(place.points, axis=0)
        return float(sides[0]) or 1.0, float(sides[1]) or 1.0
    if place.sphere:
        return 2.0, 1.0
    x, y = (abs(float(line[-1] - line[0])) for line in place.lines)
    return x or 1.0, y or 1.0


def grid_pixels(values: Array, place: PlotAxes, limits: ColourLimits) -> Bytes:
    """Return indices into a colour table: the first axis across, the second one up.

    A sphere has longitudes across and the north on top.
    """
    blocks = _coarser(np.asarray(values, np.float64))
    turned = blocks if place.sphere else blocks.T[::-1]
    low, high = limits
    scaled = np.nan_to_num((turned - low) / (high - low), nan=0.0, posinf=1.0, neginf=0.0)
    shades = (scaled.clip(0, 1) * (SHADES - 1)).round()
    pixels: Bytes = np.where(np.isfinite(turned), shades, SHADES).astype(np.uint8)
    return pixels


def _coarser(values: Array) -> Array:
    """Average over blocks of points where a grid has more than the picture needs."""
    for axis in range(values.ndim):
        n = values.shape[axis]
        step = -(-n // MOST)
        if step > 1:
            starts = np.arange(0, n, step)
            sizes = np.diff([*starts, n])
            sums = np.add.reduceat(values, starts, axis)
            values = sums / (sizes[:, None] if axis == 0 else sizes)
    return values


def picture(series: CurveSeries, frame: Array, limits: ColourLimits) -> Image.Image:
    """Draw one frame of a function of two axes, or of points in the plane or in space."""
    if isinstance(series.place, Cloud):
        return _cloud(series.place, frame, series.colours, limits)
    image = Image.fromarray(grid_pixels(frame, series.place, limits), "P")
    image.putpalette(colour_table(series.colours).tobytes())
    return image


def _cloud(cloud: Cloud, values: Array, colours: str, limits: ColourLimits) -> Image.Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    views = VIEWS if cloud.points.shape[1] == len(VIEWS) else ((0, 1, None),)
    heights = [_height(cloud.points, x, y) for x, y, _ in views]
    figure = Figure(figsize=(CLOUD, sum(heights)), dpi=CLOUD_DPI)
    canvas: Any = FigureCanvasAgg(figure)  # its methods have no types
    style: dict[str, Any] = {"cmap": colours, "vmin": limits[0], "vmax": limits[1]}
    bottom = 1.0
    for (x, y, depth), height in zip(views, heights, strict=True):
        bottom -= height / sum(heights)
        axes = figure.add_axes((0.02, bottom + 0.01, 0.96, height / sum(heights) - 0.02))
        axes.set_axis_off()
        if depth is None:
            draw_points(axes, cloud, values, style)
            continue
        order = np.argsort(cloud.points[:, depth], kind="stable")  # the nearer ones above
        p = cloud.points[order]
        axes.scatter(p[:, x], p[:, y], c=values[order], s=dot_area(len(p)), linewidths=0, **style)
        axes.set_aspect("equal")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _height(points: Array, x: int, y: int) -> float:
    """Return the height of a view in inches."""
    sides = np.ptp(points, axis=0)
    return float(np.clip(CLOUD * (sides[y] or 1.0) / (sides[x] or 1.0), CLOUD / 4, 2 * CLOUD))


def png(image: Image.Image) -> bytes:
    """Return an image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=image.mode == "P")
    return buffer.getvalue()


def animation(rows: Sequence[Sequence[Image.Image]], ratio: float) -> bytes:
    """Return panels beside each other as an animated GIF, with a line that shows the time.

    Args:
        rows: for each frame its panels.
        ratio: of width to height of a panel.
    """
    size = (PANEL, max(1, round(PANEL / ratio)))
    width = len(rows[0]) * (PANEL + GAP) - GAP
    pages = []
    for i, panels in enumerate(rows):
        page = Image.new("RGB", (width, size[1] + GAP), "white")
        for j, panel in enumerate(panels):
            resized = panel.convert("RGB").resize(size, Image.Resampling.NEAREST)
            page.paste(resized, (j * (PANEL + GAP), 0))
        part = (i + 1) / len(rows)
        ImageDraw.Draw(page).rectangle(
            (0, size[1] + GAP - 3, round(width * part), size[1] + GAP), fill="#848d97"
        )
        pages.append(page.quantize(128, dither=Image.Dither.NONE))
    buffer = io.BytesIO()
    pauses = [PAUSE] * (len(pages) - 1) + [LAST_PAUSE]
    pages[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=pages[1:],
        duration=pauses,
        loop=0,
        optimize=True,
    )
    return buffer.getvalue()


def curves_picture(
    curves: Sequence[tuple[Array, Array, str]], limits: ColourLimits, ratio: float
) -> Image.Image:
    """Draw functions of one variable as a panel of an animation.

    Args:
        curves: coordinates, values and the colour of each.
        limits: of the values.
        ratio: of width to height.
    """
    width, height = 2 * PANEL, round(2 * PANEL / ratio)  # resized to a half, which smooths lines
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    low, high = limits
    for x, values, colour in curves:
        across = (x - x.min()) / (np.ptp(x) or 1.0) * (width - 1)
        up = (1 - (np.asarray(values, np.float64) - low) / (high - low)) * (height - 8) + 4
        points = [
            (float(a), float(b))
            for a, b in zip(across, up.clip(-height, 2 * height), strict=True)
            if np.isfinite(b)
        ]
        if len(points) > 1:
            draw.line(points, fill=colour, width=4, joint="curve")
    return image.resize((PANEL, round(PANEL / ratio)), Image.Resampling.LANCZOS)
