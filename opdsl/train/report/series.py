"""Functions that are drawn, and where their values are: on the axes of a grid or at points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]
ColourLimits = tuple[float, float]  # the values at the ends of a colour map
FLAT = 2  # axes of a grid that a drawing shows


class Cloud(NamedTuple):
    """Where the points of a sample are, (n, d), and the cells between them, if there are some."""

    points: Array
    cells: Array | None = None


class PlotAxes(NamedTuple):
    """The axes of a grid: names, coordinates, and whether they are latitude and longitude."""

    names: tuple[str, ...]
    lines: tuple[Array, ...]
    sphere: bool = False


class CurveSeries(NamedTuple):
    """One function of one sample, at one time or at several.

    Attributes:
        name: its heading.
        frames: (*grid) with one or two axes, or (n,) on the points of a cloud, for each time.
        place: where the values are.
        colours: the colour map.
    """

    name: str
    frames: Sequence[Array] | Array
    place: PlotAxes | Cloud
    colours: str = "viridis"

    @property
    def dims(self) -> int:
        """Dimensions of space in which the function is drawn."""
        if isinstance(self.place, Cloud):
            return int(self.place.points.shape[1])
        return len(self.place.names)


class Film(NamedTuple):
    """A function that is drawn with one or two axes, and the label of each frame.

    Attributes:
        series: the function.
        labels: of its frames, `step 3` or `t = 0.5`; none where there is one frame without a name.
        cuts: where further axes are cut, `z = 0.5`.
    """

    series: CurveSeries
    labels: tuple[str, ...] = ()
    cuts: tuple[str, ...] = ()


def film(series: CurveSeries, labels: Sequence[str] = ()) -> Film:
    """Reduce a function on a grid of more than two axes to one that can be drawn.

    Where there is one frame, the last axis becomes that of the frames; all others beyond the second
    are cut in the middle.

    Args:
        series: frames of (*grid), with any number of axes.
        labels: of the frames; none where there is one.
    """
    place, frames = series.place, series.frames
    if isinstance(place, Cloud) or len(place.names) <= FLAT:
        return Film(series, tuple(labels))
    names, lines, cuts = list(place.names), list(place.lines), []
    if len(frames) == 1:
        whole = frames[0]
        frames = [whole[..., i] for i in range(whole.shape[-1])]
        labels = [f"{names[-1]} = {x:.3g}" for x in lines[-1]]
        names, lines = names[:-1], lines[:-1]
    while len(names) > FLAT:
        middle = len(lines[FLAT]) // 2
        frames = [x.take(middle, FLAT) for x in frames]
        cuts.append(f"{names.pop(FLAT)} = {lines.pop(FLAT)[middle]:.3g}")
    flat = series._replace(frames=frames, place=PlotAxes(tuple(names), tuple(lines), place.sphere))
    return Film(flat, tuple(labels), tuple(cuts))
