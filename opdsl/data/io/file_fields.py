"""The fields of one file, as a reader returns them; `dataset` joins several files."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from opdsl.data.bind.coordinates import AxesCoordinates
from opdsl.data.bind.samples import Role
from opdsl.data.derive.coarsen import Layout
from opdsl.nn.points.batch import Values
from opdsl.nn.points.geometry import Geometries


@dataclass(frozen=True, slots=True, eq=False)
class FileFields:
    """The fields of one file.

    Attributes:
        name: the data set's name.
        values: field -> (samples, channels, *grid); on points (samples, channels, points) where
            all samples share them, else packed.
        roles: field -> its role, as the file declares it.
        axes: names of the axes of the grid; none where all fields are on points.
        layout: which points a coarser grid may keep.
        places: set of points -> where they are, for each sample or once for all.
        homes: field on points -> the set.
        coordinates: axis of the grid -> where its points are; only those that the file states.
        times: field whose channels are times and components, the times first -> the times.
        orders: field on a grid -> order of its tensors, where the file states more than scalars.
    """

    name: str
    values: Mapping[str, Values]
    roles: Mapping[str, Role]
    axes: tuple[str, ...]
    layout: Layout
    places: Mapping[str, Geometries] = field(default_factory=dict)
    homes: Mapping[str, str] = field(default_factory=dict)
    coordinates: AxesCoordinates = field(default_factory=dict)
    times: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    orders: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of samples."""
        counts = [len(x) for x in self.values.values()] or [len(x) for x in self.places.values()]
        return counts[0]
