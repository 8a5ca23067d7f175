"""netCDF files of the classic format: CDF-1, CDF-2 (64-bit offsets) and CDF-5 (64-bit data).

SciPy's reader sets attributes of a file as attributes of its own objects, which a file can thus
overwrite, and lacks CDF-5; the header is short enough to be read here.

Source: NetCDF classic format specification, docs.unidata.ucar.edu/netcdf-c (file format).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from opdsl.data.arrays.containers.admission import admit, damage, selected
from opdsl.data.arrays.containers.packing import decode, decoded_type
from opdsl.data.arrays.containers.strided import Strided, dense, read_strided
from opdsl.data.arrays.formats import ArrayFormat
from opdsl.data.arrays.listing import ArrayFile, ArrayInfo
from opdsl.data.io.data_file import DataFile
from opdsl.data.io.hdf5.hdf5_survey import MOST_ATTRIBUTE, MOST_OBJECTS

CDF = b"CDF"
OFFSETS_64, DATA_64 = 2, 5
VERSIONS = (1, OFFSETS_64, DATA_64)
DIMENSIONS, VARIABLES, ATTRIBUTES = 10, 11, 12
TEXT = 2
CLASSIC = {1: "i1", TEXT: "S1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8"}
TYPES = CLASSIC | {7: "u1", 8: ">u2", 9: ">u4", 10: ">i8", 11: ">u8"}  # the others in CDF-5 only
ALIGNMENT = 4
MOST_AXES = 32


@dataclass(slots=True)
class _Netcdf3Arrays:
    """The `ArrayFile` of a classic netCDF file; texts are left out."""

    source: str
    path: Path
    attributes: Mapping[str, Any]
    arrays: Mapping[str, ArrayInfo]
    places: Mapping[str, Strided]
    format: str = "netCDF-3"
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def read(self, name: str, index: Sequence[slice] = ()) -> NDArray[Any]:
        """Read an array, or the part that `index` selects; see `ArrayFile.read`."""
        info = self.arrays[name]
        ranges = selected(info.shape, index)
        admit(name, info, ranges, self.source)
        with damage(self.source, "the reader"), self.path.open("rb") as file:
            values = read_strided(file, self.places[name], ranges)
        return decode(values, info.attributes, self.source)


@dataclass(frozen=True, slots=True)
class _Variable:
    """A variable as the header describes it; `length` is None on the axis of records."""

    axes: tuple[str, ...]
    lengths: tuple[int | None, ...]
    attributes: Mapping[str, Any]
    dtype: np.dtype[Any]
    begin: int

    @property
    def record(self) -> bool:
        """Whether the first axis is that of records."""
        return bool(self.lengths) and self.lengths[0] is None

    @property
    def fixed(self) -> tuple[int, ...]:
        """Entries on each axis but that of records."""
        return tuple(n for n in self.lengths[self.record :] if n is not None)

    @property
    def nbytes(self) -> int:
        """Bytes of one record, or of all values where there are none."""
        return prod(self.fixed) * self.dtype.itemsize


@dataclass(slots=True)
class _Header:
    """The header of a file, read from its beginning."""

    file: IO[bytes]
    version: int
    records: int | None = None  # None: the file does not state it

    def number(self, *, wide: bool | None = None) -> int:
        """Read a count or an offset."""
        wide = self.version == DATA_64 if wide is None else wide
        return int(struct.unpack(">Q" if wide else ">I", self._exactly(8 if wide else 4))[0])

    def kind(self) -> int:
        """Read a tag or the type of a value."""
        return self.number(wide=False)

    def text(self) -> str:
        """Read a name."""
        return self._padded(self.number()).decode("utf-8", "replace")

    def count(self, tag: int) -> int:
        """Read the number of entries of a list.

        Raises:
            ValueError: another list is there, or the list is too long.
        """
        kind, count = self.kind(), self.number()
        if kind != tag and (kind or count):
            raise ValueError(f"the header has the mark {kind}, expected {tag}")
        if count > MOST_OBJECTS:
            raise ValueError(f"there are more than {MOST_OBJECTS} objects")
        return count

    def attributes(self) -> dict[str, Any]:
        """Read a list of attributes as texts, numbers and lists of numbers."""
        return {self.text(): self._values() for _ in range(self.count(ATTRIBUTES))}

    def _values(self) -> Any:
        kind, count = self.kind(), self.number()
        dtype = np.dtype(TYPES[kind])
        data = self._padded(count * dtype.itemsize)
        if kind == TEXT:
            return data.rstrip(b"\0").decode("utf-8", "replace")
        values = np.frombuffer(data, dtype).tolist()
        return values[0] if len(values) == 1 else values

    def _padded(self, count: int) -> bytes:
        if count > MOST_ATTRIBUTE:
            raise ValueError(f"an attribute or a name has {count} bytes")
        return self._exactly(-(-count // ALIGNMENT) * ALIGNMENT)[:count]

    def _exactly(self, count: int) -> bytes:
        data = self.file.read(count)
        if len(data) < count:
            raise EOFError("the file ends in its header")
        return data


@contextmanager
def _open(file: DataFile) -> Iterator[ArrayFile]:
    size = file.path.stat().st_size
    with damage(file.source, "the reader"), file.path.open("rb") as stream:
        stream.seek(len(CDF) + 1)
        header = _Header(stream, file.head[len(CDF)])
        attributes, variables = _contents(header)
        places = _places(header.records, variables, size)
    numbers = {k: x for k, x in variables.items() if x.dtype.kind != "S"}
    infos = {k: _info(x, places[k], file.source) for k, x in numbers.items()}
    yield _Netcdf3Arrays(file.source, file.path, attributes, infos, places)


def _contents(header: _Header) -> tuple[dict[str, Any], dict[str, _Variable]]:
    records = header.number()
    streaming = 2 ** (64 if header.version == DATA_64 else 32) - 1
    header.records = None if records == streaming else records
    dims = [(header.text(), header.number() or None) for _ in range(header.count(DIMENSIONS))]
    attributes = header.attributes()
    count = header.count(VARIABLES)
    return attributes, {header.text(): _variable(header, dims) for _ in range(count)}


def _variable(header: _Header, dims: Sequence[tuple[str, int | None]]) -> _Variable:
    rank = header.number()
    if rank > MOST_AXES:
        raise ValueError(f"a variable has {rank} axes")
    own = [dims[header.number()] for _ in range(rank)]
    if None in [n for _, n in own[1:]]:
        raise ValueError("the axis of records is not the first")
    attributes = header.attributes()
    dtype = np.dtype(TYPES[header.kind()])
    header.number()  # bytes of the variable, which its shape tells: 32 bits may be too few
    begin = header.number(wide=header.version >= OFFSETS_64)
    names, lengths = tuple(k for k, _ in own), tuple(n for _, n in own)
    return _Variable(names, lengths, attributes, dtype, begin)


def _places(
    records: int | None, variables: Mapping[str, _Variable], size: int
) -> dict[str, Strided]:
    """Find where values lie.

    Raises:
        EOFError: the file ends before them.
    """
    recorded = [x for x in variables.values() if x.record]
    step = sum(-(-x.nbytes // ALIGNMENT) * ALIGNMENT for x in recorded)
    if len(recorded) == 1:  # records of a single variable have no padding
        step = recorded[0].nbytes
    if records is None:
        begin = min((x.begin for x in recorded), default=size)
        records = max(size - begin, 0) // max(step, 1)
    places = {}
    for name, x in variables.items():
        inner = dense(x.begin, x.dtype, x.fixed, fortran=False)
        shape, strides = (records, *x.fixed), (step, *inner.strides)
        places[name] = Strided(x.begin, x.dtype, shape, strides) if x.record else inner
        if places[name].end > size:
            raise EOFError(f"the file ends before the values of `{name}`")
    return places


def _info(variable: _Variable, place: Strided, source: str) -> ArrayInfo:
    dtype = decoded_type(variable.dtype, variable.attributes, source)
    return ArrayInfo(place.shape, dtype, variable.axes, variable.attributes)


def _matches(file: DataFile) -> bool:
    start = file.head[: len(CDF) + 1]
    return len(start) > len(CDF) and start[:-1] == CDF and start[-1] in VERSIONS


FORMAT = ArrayFormat("netCDF-3 (.nc)", _matches, _open)
