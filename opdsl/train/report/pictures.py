"""What sheets and pages of functions share: colours, dots and triangles of points, text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from opdsl.train.report.series import Array, Cloud

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#848d97"  # readable on white and on black
COLOURS = ("#2f81d6", "#e0803a", "#3fa66a", "#b45fc4", "#c94f4f", "#8c8c3e")
DPI = 144
CORNERS = 3  # of a triangle


def draw_points(axes: Axes, cloud: Cloud, values: Array, style: dict[str, Any]) -> Any:
    """Draw points of the plane: their triangles in colour, or the points themselves."""
    from matplotlib.tri import Triangulation

    x, y = cloud.points[:, 0], cloud.points[:, 1]
    axes.set_aspect("equal")
    if cloud.cells is not None and cloud.cells.shape[1] == CORNERS and np.isfinite(values).all():
        mesh = Triangulation(x, y, cloud.cells)
        return axes.tripcolor(mesh, values, shading="gouraud", **style)
    return axes.scatter(x, y, c=values, s=dot_area(len(x)), linewidths=0, **style)


def dot_area(points: int) -> float:
    """Return the area of a dot, small enough that many points do not hide each other."""
    return float(np.clip(12000 / points, 0.8, 16))


def finite(values: Array) -> Array:
    """Select the values that are finite, as a flat array."""
    return values[np.isfinite(values)]


def literal(text: str) -> str:
    """Escape a name for matplotlib: no formulas, no leading underscore, which hides a label."""
    return text.replace("$", r"\$").lstrip("_")


def saved(figure: Figure, kind: str, **options: Any) -> bytes:
    """Return a figure as the bytes of a file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, **options)
    return buffer.getvalue()
