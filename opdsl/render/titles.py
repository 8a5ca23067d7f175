"""Placement of the titles of frames, away from the arrows.

Titles are at the bottom right, or at the bottom left where fewer arrows cross that corner. Graphviz
itself ignores the arrows when it places titles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

PlanePoint = tuple[float, float]
SAMPLES = 8  # points tested between two control points of a spline


@dataclass(frozen=True, slots=True)
class Corner:
    """A rectangle of the drawing."""

    left: float
    bottom: float
    right: float
    top: float

    def holds(self, point: PlanePoint) -> bool:
        """Return whether the point lies inside."""
        return self.left <= point[0] <= self.right and self.bottom <= point[1] <= self.top


def move_titles(graph: Any) -> None:
    """Place the nodes, then choose the better corner for the title of each frame."""
    graph.layout(prog="dot")
    points = [p for edge in graph.edges() for p in _points(edge.attr["pos"])]
    for frame in _frames(graph):
        left, right = _corners(frame.graph_attr)
        if sum(map(left.holds, points)) < sum(map(right.holds, points)):
            frame.graph_attr["labeljust"] = "l"


def _frames(graph: Any) -> Iterator[Any]:
    for inner in graph.subgraphs():
        if inner.graph_attr["lp"]:
            yield inner
        yield from _frames(inner)


def _corners(frame: Any) -> tuple[Corner, Corner]:
    """Return the rectangles of the title at the bottom left and at the bottom right."""
    x0, y0, x1, _ = (float(x) for x in frame["bb"].split(","))
    wide, high = 72 * float(frame["lwidth"]) + 8, 72 * float(frame["lheight"]) + 8
    return Corner(x0, y0, x0 + wide, y0 + high), Corner(x1 - wide, y0, x1, y0 + high)


def _points(spline: str) -> Iterator[PlanePoint]:
    """Yield points along an arrow: `e,0,1 5,9 ...`, its head, its start, three for each arc."""
    texts = [x.removeprefix("e,") for x in spline.replace("\\\n", "").split()]
    head, *along = [(float(x), float(y)) for x, y in (t.split(",") for t in texts)]
    for (x0, y0), (x1, y1) in pairwise([*along, head]):
        for i in range(SAMPLES):
            t = i / SAMPLES
            yield x0 + t * (x1 - x0), y0 + t * (y1 - y0)
