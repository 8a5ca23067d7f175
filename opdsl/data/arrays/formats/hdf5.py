"""HDF5 of any layout, and the formats that are HDF5: netCDF-4 and MATLAB v7.3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opdsl.data.arrays.containers.admission import admit, selected
from opdsl.data.arrays.containers.packing import decode, decoded_type
from opdsl.data.arrays.formats import ArrayFormat
from opdsl.data.arrays.listing import ArrayFile, ArrayInfo
from opdsl.data.io.data_file import DataFile
from opdsl.data.io.hdf5.hdf5_survey import Hdf5Array
from opdsl.data.io.hdf5.safe_h5 import Hdf5File, open_hdf5

MATLAB = b"MATLAB 7.3 MAT-file"
MATLAB_EMPTY = "MATLAB_empty"  # the values of such an array are its shape
REFERENCES = "#refs#/"  # cells of MATLAB, by numbers
# attributes by which libraries keep their books; what they say is in the listing already
INTERNAL = frozenset(
    {"CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST", "DIMENSION_LABELS", "MATLAB_class"}
    | {"_Netcdf4Dimid", "_Netcdf4Coordinates", "_NCProperties", "_nc3_strict", "MATLAB_int_decode"}
)


@dataclass(slots=True)
class Hdf5Arrays:
    """An `ArrayFile` on an open HDF5 file.

    Attributes:
        file: the open file.
        packed: whether attributes say how values are packed, by the CF conventions of netCDF.
        reversed: whether axes are in the order of Fortran, as MATLAB shows them.
    """

    format: str
    source: str
    file: Hdf5File
    packed: bool
    reversed: bool
    attributes: Mapping[str, Any] = field(init=False)
    groups: Mapping[str, Mapping[str, Any]] = field(init=False)
    arrays: Mapping[str, ArrayInfo] = field(init=False)

    def __post_init__(self) -> None:
        groups = {k: _without_internal(x) for k, x in self.file.groups.items()}
        self.attributes = groups.pop("")
        self.groups = {k: x for k, x in groups.items() if x}
        self.arrays = {k: self._info(x) for k, x in self.file.arrays.items() if self._shown(k, x)}

    def read(self, name: str, index: Sequence[slice] = ()) -> NDArray[Any]:
        """Read an array, or the part that `index` selects; see `ArrayFile.read`."""
        info, stored = self.arrays[name], self.file.arrays[name]
        ranges = selected(info.shape, index)
        admit(name, info, ranges, self.source)
        if self.reversed:
            return np.ascontiguousarray(self.file.part(name, ranges[::-1]).T)
        values = self.file.part(name, ranges)
        return decode(values, stored.attrs, self.source) if self.packed else values

    def _info(self, stored: Hdf5Array) -> ArrayInfo:
        step = -1 if self.reversed else 1
        dtype = stored.dtype.newbyteorder("=")
        if self.packed:
            dtype = decoded_type(stored.dtype, stored.attrs, self.source)
        attributes = _without_internal(stored.attrs)
        by_rows = not self.reversed or len(stored.shape) < 2
        return ArrayInfo(stored.shape[::step], dtype, stored.axes[::step], attributes, by_rows)

    def _shown(self, name: str, stored: Hdf5Array) -> bool:
        hidden = name.startswith(REFERENCES) or MATLAB_EMPTY in stored.attrs
        return not (self.reversed and hidden)


def _without_internal(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {k: x for k, x in attributes.items() if k not in INTERNAL}


@contextmanager
def _open(file: DataFile) -> Iterator[ArrayFile]:
    matlab = file.head.startswith(MATLAB)
    with open_hdf5(file.path, source=file.source, dangling=True) as inside:
        netcdf = _is_netcdf(inside)
        words = "MATLAB v7.3" if matlab else "netCDF-4" if netcdf else "HDF5"
        yield Hdf5Arrays(words, file.source, inside, netcdf and not matlab, matlab)


def _is_netcdf(inside: Hdf5File) -> bool:
    """Whether the netCDF library wrote a file, or another that marks dimensions as it does."""
    marked = any("_Netcdf4Dimid" in x.attrs for x in inside.arrays.values())
    return marked or "_NCProperties" in inside.groups[""]


FORMAT = ArrayFormat(
    "HDF5 (.h5, .hdf5, netCDF-4 .nc, MATLAB v7.3 .mat)",
    lambda file: file.container == "hdf5",
    _open,
)
