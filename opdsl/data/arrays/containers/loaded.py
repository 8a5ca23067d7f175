"""`LoadedArrays`: the arrays of a file that can only be read whole, such as a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opdsl.data.arrays.containers.admission import admit, selected
from opdsl.data.arrays.listing import ArrayInfo


@dataclass(frozen=True, slots=True)
class Loaded:
    """Values in memory, and the name of each axis."""

    values: NDArray[Any]
    axes: tuple[str | None, ...]


@dataclass(slots=True)
class LoadedArrays:
    """An `ArrayFile` of values in memory."""

    format: str
    source: str
    loaded: Mapping[str, Loaded]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    arrays: Mapping[str, ArrayInfo] = field(init=False)

    def __post_init__(self) -> None:
        self.arrays = {
            k: ArrayInfo(x.values.shape, x.values.dtype.newbyteorder("="), x.axes)
            for k, x in self.loaded.items()
        }

    def read(self, name: str, index: Sequence[slice] = ()) -> NDArray[Any]:
        """Copy an array, or the part that `index` selects; see `ArrayFile.read`."""
        info = self.arrays[name]
        ranges = selected(info.shape, index)
        admit(name, info, ranges, self.source)
        part = tuple(slice(r.start, r.stop, r.step) for r in ranges)
        return np.array(self.loaded[name].values[part], info.dtype, order="C")
