"""Functions that are drawn on a sheet, and the axes on which they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from opdsl.train.report.pictures import Cloud

Array = NDArray[Any]


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
