"""The pictures of the report: learning curves as SVG, functions on grids and points as PNG."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

Array = NDArray[Any]


class Cloud(NamedTuple):
    """Where the points of a sample are, (n, d), and the cells between them, if there are some."""

    points: Array
    cells: Array | None = None


class Panel(NamedTuple):
    """One function with its heading: (*grid), or (n,) on the points of a cloud."""

    name: str
    values: Array
    cloud: Cloud | None = None


CurvePoints = Sequence[tuple[int, float | None]]

GREY = "#848d97"  # readable on white and on black
COLOURS = ("#2f81d6", "#e0803a", "#3fa66a", "#b45fc4", "#c94f4f", "#8c8c3e")
DPI = 144
VIEWS = ((0, 1, 2), (0, 2, 1), (1, 2, 0))  # across, up, towards the reader
CORNERS = 3  # of a triangle
MARKED = 40  # shorter lines show their points


def curves_svg(lines: Mapping[str, CurvePoints]) -> bytes:
    """Plot values against epochs on a logarithmic axis as SVG; values <= 0 are left out."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "opdsl", "font.size": 10}):
        figure, axes = _one_axes()
        for i, (name, line) in enumerate(lines.items()):
            _draw_line(axes, name, line, COLOURS[i % len(COLOURS)])
        _dress(axes)
        return saved(figure, "svg", transparent=True, metadata={"Date": None})


def fields_png(panels: Sequence[Panel | tuple[str, Array]]) -> bytes:
    """Draw fields side by side: truth and prediction with one scale, the error around white.

    Lines for one axis, images for two, the middle slice for more. Points are drawn where they are,
    those in space from three sides.
    """
    from matplotlib.figure import Figure

    flat_panels = [_flat(Panel(*x)) for x in panels]
    tall = any(_in_space(x) for x in flat_panels)
    per_row = min(5 if tall else 4, len(flat_panels))
    rows = -(-len(flat_panels) // per_row)
    figure = Figure(figsize=(2.9 * per_row, (5.6 if tall else 2.65) * rows), layout="constrained")
    limits = _limits([x.values for x in flat_panels if x.name in {"truth", "prediction"}])
    cells = figure.add_gridspec(rows, per_row)
    for i, panel in enumerate(flat_panels):
        if _in_space(panel):
            _draw_views(figure, cells[i], panel, limits)
        else:
            axes = figure.add_subplot(cells[i])
            axes.set_title(panel.name, fontsize=10, color="#1c2128")
            _draw_field(figure, axes, panel, limits)
    return saved(figure, "png", dpi=DPI, facecolor="white")


def _one_axes() -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    return figure, figure.add_subplot()


def _draw_line(axes: "Axes", name: str, line: CurvePoints, colour: str) -> None:
    points = [(x, y) for x, y in line if y is not None and y > 0]
    if points:
        x, y = zip(*points, strict=True)
        mark = "o" if len(points) <= MARKED else ""
        axes.plot(x, y, color=colour, label=literal(name), lw=1.6, marker=mark, ms=3)


def _dress(axes: "Axes") -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("epoch", color=GREY)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(which="both", colors=GREY, labelsize=9)
    axes.grid(visible=True, which="major", color=GREY, alpha=0.25, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    if axes.lines:
        axes.legend(frameon=False, labelcolor=GREY, fontsize=9)


def _draw_field(figure: "Figure", axes: "Axes", panel: Panel, limits: tuple[float, float]) -> None:
    name, values, cloud = panel
    if values.ndim == 1 and (cloud is None or cloud.points.shape[1] == 1):
        x = np.arange(len(values)) if cloud is None else cloud.points[:, 0]
        order = np.argsort(x, kind="stable")
        colour = COLOURS[0] if name != "error" else COLOURS[4]
        axes.plot(x[order], values[order], color=colour, lw=1.2)
        axes.tick_params(labelsize=8)
        axes.margins(x=0)
        return
    colours, low, high = _colours(panel, limits)
    style: dict[str, Any] = {"cmap": colours, "vmin": low, "vmax": high}
    if cloud is None:
        image: Any = axes.imshow(values, interpolation="nearest", **style)
    else:
        image = draw_points(axes, cloud, values, style)
    axes.set_axis_off()
    _draw_bar(figure, image, [axes])


def draw_points(axes: "Axes", cloud: Cloud, values: Array, style: dict[str, Any]) -> Any:
    """Draw points of the plane: their triangles in colour, or the points themselves."""
    from matplotlib.tri import Triangulation

    x, y = cloud.points[:, 0], cloud.points[:, 1]
    axes.set_aspect("equal")
    if cloud.cells is not None and cloud.cells.shape[1] == CORNERS and np.isfinite(values).all():
        mesh = Triangulation(x, y, cloud.cells)
        return axes.tripcolor(mesh, values, shading="gouraud", **style)
    return axes.scatter(x, y, c=values, s=dot_area(len(x)), linewidths=0, **style)


def _draw_views(
    figure: "Figure", cell: "SubplotSpec", panel: Panel, limits: tuple[float, float]
) -> None:
    """Draw points of space from three sides, the nearer ones above the farther ones."""
    name, values, cloud = panel
    assert cloud is not None
    colours, low, high = _colours(panel, limits)
    parts = cell.subgridspec(len(VIEWS), 1, height_ratios=_heights(cloud.points))
    views = []
    for i, (x, y, depth) in enumerate(VIEWS):
        axes = figure.add_subplot(parts[i])
        order = np.argsort(cloud.points[:, depth], kind="stable")
        p, c = cloud.points[order], values[order]
        style: dict[str, Any] = {"cmap": colours, "vmin": low, "vmax": high}
        image = axes.scatter(p[:, x], p[:, y], c=c, s=dot_area(len(p)), linewidths=0, **style)
        axes.set_aspect("equal")
        axes.set_axis_off()
        views.append(axes)
    views[0].set_title(name, fontsize=10, color="#1c2128")
    _draw_bar(figure, image, views)


def _heights(points: Array) -> list[float]:
    """Return the relative heights of the three views, from the extent of the points."""
    sides = np.ptp(points, axis=0)
    least = 0.2 * float(sides.max()) or 1.0
    return [max(float(sides[y]), least) for _, y, _ in VIEWS]


def dot_area(points: int) -> float:
    """Return the area of a dot, small enough that many points do not hide each other."""
    return float(np.clip(12000 / points, 0.8, 16))


def _draw_bar(figure: "Figure", image: Any, axes: Sequence["Axes"]) -> None:
    bar = figure.colorbar(image, ax=axes, shrink=0.82, pad=0.03)
    bar.ax.tick_params(labelsize=7.5, length=2)
    bar.ax.yaxis.get_offset_text().set_fontsize(7)
    bar.formatter.set_powerlimits((-2, 3))  # type: ignore[attr-defined]  # the default formatter is a ScalarFormatter
    bar.outline.set_visible(False)


def _colours(panel: Panel, limits: tuple[float, float]) -> tuple[str, float | None, float | None]:
    name, values = panel.name, panel.values
    if name == "error":
        reach = float(np.max(np.abs(finite(values)), initial=0.0)) or 1.0
        return "RdBu_r" if panel.cloud is None else "coolwarm", -reach, reach  # dots on white
    return ("viridis", *limits) if name in {"truth", "prediction"} else ("cividis", None, None)


def _limits(arrays: Sequence[Array]) -> tuple[float, float]:
    """Return the range of the truth, so that a wild prediction does not hide it."""
    truth = finite(arrays[0]) if arrays else np.zeros(1)
    return float(np.min(truth, initial=np.inf)), float(np.max(truth, initial=-np.inf))


def finite(values: Array) -> Array:
    """Select the values that are finite, as a flat array."""
    return values[np.isfinite(values)]


def _flat(panel: Panel) -> Panel:
    """Reduce a field to one or two axes: the middle slice of all further ones."""
    values = np.asarray(panel.values, dtype=np.float64)
    while values.ndim > 2:
        values = values[..., values.shape[-1] // 2]
    return panel._replace(values=values)


def _in_space(panel: Panel) -> bool:
    return panel.cloud is not None and panel.cloud.points.shape[1] == len(VIEWS)


def literal(text: str) -> str:
    """Escape a name for matplotlib: no formulas, no leading underscore, which hides a label."""
    return text.replace("$", r"\$").lstrip("_")


def saved(figure: "Figure", kind: str, **options: Any) -> bytes:
    """Return a figure as the bytes of a file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, **options)
    return buffer.getvalue()
