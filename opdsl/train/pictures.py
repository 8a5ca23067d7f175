"""The pictures of the report: learning curves as SVG, fields over a grid as PNG."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]
Line = Sequence[tuple[int, float | None]]

GREY = "#848d97"  # readable on white and on black
COLOURS = ("#2f81d6", "#e0803a", "#3fa66a", "#b45fc4", "#c94f4f", "#8c8c3e")
DPI = 144
MARKED = 40  # shorter lines show their points


def curves_svg(lines: Mapping[str, Line]) -> bytes:
    """Values against epochs, logarithmic, transparent; what is not positive is left out."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "opdsl", "font.size": 10}):
        figure, axes = _one_axes()
        for i, (name, line) in enumerate(lines.items()):
            _draw_line(axes, name, line, COLOURS[i % len(COLOURS)])
        _dress(axes)
        return _saved(figure, "svg", transparent=True, metadata={"Date": None})


def fields_png(panels: Sequence[tuple[str, Array]]) -> bytes:
    """Fields side by side: truth and prediction with one scale, the error around white.

    Lines for one axis, images for two, the middle slice for more.
    """
    from matplotlib.figure import Figure

    shown = [(name, _flat(values)) for name, values in panels]
    per_row = min(4, len(shown))
    rows = -(-len(shown) // per_row)
    figure = Figure(figsize=(2.9 * per_row, 2.65 * rows), layout="constrained")
    limits = _limits([v for name, v in shown if name in {"truth", "prediction"}])
    for i, (name, values) in enumerate(shown):
        axes = figure.add_subplot(rows, per_row, i + 1)
        axes.set_title(name, fontsize=10, color="#1c2128")
        _draw_field(figure, axes, name, values, limits)
    return _saved(figure, "png", dpi=DPI, facecolor="white")


def _one_axes() -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    return figure, figure.add_subplot()


def _draw_line(axes: "Axes", name: str, line: Line, colour: str) -> None:
    points = [(x, y) for x, y in line if y is not None and y > 0]
    if points:
        x, y = zip(*points, strict=True)
        mark = "o" if len(points) <= MARKED else ""
        axes.plot(x, y, color=colour, label=_literal(name), lw=1.6, marker=mark, ms=3)


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


def _draw_field(
    figure: "Figure", axes: "Axes", name: str, values: Array, limits: tuple[float, float]
) -> None:
    if values.ndim == 1:
        axes.plot(values, color=COLOURS[0] if name != "error" else COLOURS[4], lw=1.2)
        axes.tick_params(labelsize=8)
        axes.margins(x=0)
        return
    colours, low, high = _colours(name, values, limits)
    image = axes.imshow(values, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    axes.set_axis_off()
    bar = figure.colorbar(image, ax=axes, shrink=0.82, pad=0.03)
    bar.ax.tick_params(labelsize=7.5, length=2)
    bar.ax.yaxis.get_offset_text().set_fontsize(7)
    bar.formatter.set_powerlimits((-2, 3))  # type: ignore[attr-defined]  # the default formatter is a ScalarFormatter
    bar.outline.set_visible(False)


def _colours(
    name: str, values: Array, limits: tuple[float, float]
) -> tuple[str, float | None, float | None]:
    if name == "error":
        reach = float(np.max(np.abs(_finite(values)), initial=0.0)) or 1.0
        return "RdBu_r", -reach, reach
    return ("viridis", *limits) if name in {"truth", "prediction"} else ("cividis", None, None)


def _limits(arrays: Sequence[Array]) -> tuple[float, float]:
    """The range of the truth, so that a wild prediction does not hide it."""
    first = _finite(arrays[0]) if arrays else np.zeros(1)
    return float(np.min(first, initial=np.inf)), float(np.max(first, initial=-np.inf))


def _finite(values: Array) -> Array:
    return values[np.isfinite(values)]


def _flat(values: Array) -> Array:
    """One or two axes: the middle slice of any further ones."""
    values = np.asarray(values, dtype=np.float64)
    while values.ndim > 2:
        values = values[..., values.shape[-1] // 2]
    return values


def _literal(text: str) -> str:
    """A name as it stands: no formulas, and no leading underscore, which would hide it."""
    return text.replace("$", r"\$").lstrip("_")


def _saved(figure: "Figure", kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, **options)
    return buffer.getvalue()
