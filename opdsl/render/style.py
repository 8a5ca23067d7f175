"""The look of a drawing: one table of colours by kind of block, one of fonts.

The fills are light and the lines and letters dark (contrast above 7 : 1 on each fill), and the
background is white, so that a drawing reads the same on a light page, a dark one and on paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BoxStyle = Literal["integral", "pointwise", "resolution", "join", "source", "port"]
DrawingDirection = Literal["down", "right"]

FONT = "Helvetica,Arial,sans-serif"
INK = "#1f2937"
QUIET = "#4b5563"
LINE = "#6b7280"
FRAME = "#94a3b8"
GROUND = "#f8fafc"


@dataclass(frozen=True, slots=True)
class Look:
    """The fill and the border of a box."""

    fill: str
    border: str


LOOKS: dict[BoxStyle, Look] = {
    "integral": Look("#dbeafe", "#2563ab"),
    "pointwise": Look("#e4f1e4", "#4d7c4f"),
    "resolution": Look("#fdeccf", "#b0701a"),
    "join": Look("#f1f5f9", "#64748b"),
    "source": Look("#ece8f6", "#7562a8"),
    "port": Look("#ffffff", "#1f2937"),
}
