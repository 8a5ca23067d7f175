"""MATLAB files of version 5 to 7, which `save` writes by default.

SciPy reads a variable whole, and its compiled reader follows nested structures without a limit; so
numeric arrays are found here by their tags, and parts of them are read where they lie.
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
from opdsl.data.arrays.containers.inflated import Inflated
from opdsl.data.arrays.containers.strided import Strided, dense, read_strided
from opdsl.data.arrays.formats import ArrayFormat
from opdsl.data.arrays.listing import ArrayFile, ArrayInfo
from opdsl.data.io.data_file import DataFile
from opdsl.data.io.hdf5.hdf5_survey import DEFLATE, MOST_OBJECTS, SLACK

HEADER = 128  # bytes before the first variable
VERSION = 124  # position of the version and of the mark of the byte order
VERSIONS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}
MATRIX, COMPRESSED = 14, 15
ALIGNMENT = 8
SMALL = 4  # bytes of an element that lies inside its tag
# type of an element -> number format in the file
INTEGERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 12: "i8", 13: "u8"}
NUMBERS = INTEGERS | {7: "f4", 9: "f8"}
# class of a variable -> number format in MATLAB
SHORT = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2"}
CLASSES = SHORT | {12: "i4", 13: "u4", 14: "i8", 15: "u8"}
OTHERS = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 16: "function"}
COMPLEX, LOGICAL = 0x800, 0x200
MOST_AXES = 32  # of a NumPy array, before version 2
MOST_NAME = 1 << 10  # bytes; MATLAB allows 63 characters


@dataclass(frozen=True, slots=True)
class _Variable:
    """A numeric variable.

    Attributes:
        place: where its values lie, in the file or in the inflated stream.
        dtype: number format in MATLAB, in which values are returned.
        stream: position and bytes of the zlib stream; None if it is not compressed.
    """

    place: Strided
    dtype: np.dtype[Any]
    stream: tuple[int, int] | None


@dataclass(slots=True)
class _Mat5Arrays:
    """The `ArrayFile` of a file of version 5."""

    source: str
    path: Path
    variables: Mapping[str, _Variable]
    attributes: Mapping[str, Any]
    format: str = "MATLAB v5"
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    arrays: Mapping[str, ArrayInfo] = field(init=False)

    def __post_init__(self) -> None:
        self.arrays = {
            k: ArrayInfo(x.place.shape, x.dtype, by_rows=x.place.by_rows and x.stream is None)
            for k, x in self.variables.items()
        }

    def read(self, name: str, index: Sequence[slice] = ()) -> NDArray[Any]:
        """Read an array, or the part that `index` selects; see `ArrayFile.read`."""
        variable, info = self.variables[name], self.arrays[name]
        ranges = selected(info.shape, index)
        admit(name, info, ranges, self.source)
        with damage(self.source, "the reader"), self.path.open("rb") as file:
            stream = Inflated(file, *variable.stream) if variable.stream else file
            values = read_strided(stream, variable.place, ranges)  # type: ignore[arg-type]
            if variable.stream and prod(map(len, ranges)) == prod(info.shape):
                stream.read()  # only padding is left, then the checksum is compared
            return values.astype(variable.dtype, copy=False)


@contextmanager
def _open(file: DataFile) -> Iterator[ArrayFile]:
    variables: dict[str, _Variable] = {}
    skipped: dict[str, str] = {}
    order = VERSIONS[file.head[VERSION:HEADER]]
    size = file.path.stat().st_size
    with damage(file.source, "the reader"), file.path.open("rb") as stream:
        for kind, start, count in _elements(stream, order, size):
            name, found = _variable(stream, order, kind, start, count)
            variables.pop(name, None)  # a later variable replaces one of its name
            if isinstance(found, _Variable):
                variables[name] = found
            elif name:
                skipped[name] = found
    about = file.head[:116].split(b"\0")[0].decode("latin-1").strip()
    attributes: dict[str, Any] = {"header": about}
    if skipped:
        attributes["skipped"] = [f"{k} ({x})" for k, x in skipped.items() if k not in variables]
    yield _Mat5Arrays(file.source, file.path, variables, attributes)


def _elements(stream: IO[bytes], order: str, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield type, position and bytes of each element of the file.

    Raises:
        EOFError: the file ends inside one.
        ValueError: there are too many.
    """
    start = HEADER
    for _ in range(MOST_OBJECTS):
        if start >= size:
            return
        stream.seek(start)
        kind, count = struct.unpack(f"{order}II", _exactly(stream, 8))
        start += 8
        if start + count > size:
            raise EOFError("the file ends inside a variable")
        yield kind, start, count
        start += count
    raise ValueError(f"there are more than {MOST_OBJECTS} variables")


def _variable(
    stream: IO[bytes], order: str, kind: int, start: int, count: int
) -> tuple[str, _Variable | str]:
    """Return the name of a variable, and where its values lie or the kind that is left out."""
    if kind != COMPRESSED:
        stream.seek(start)
        return _matrix(stream, order, count, None) if kind == MATRIX and count else ("", "")
    inner = Inflated(stream, start, count)
    inner_kind, inner_count = struct.unpack(f"{order}II", _exactly(inner, 8))  # type: ignore[arg-type]
    if inner_kind != MATRIX or not inner_count:
        return "", ""
    if inner_count > DEFLATE * count + SLACK:
        raise ValueError(f"a variable of {count} bytes declares {inner_count}")
    return _matrix(inner, order, inner_count, (start, count))  # type: ignore[arg-type]


def _matrix(
    stream: IO[bytes], order: str, count: int, compressed: tuple[int, int] | None
) -> tuple[str, _Variable | str]:
    """Read the head of a variable, at the current position.

    Raises:
        ValueError: it contradicts itself.
    """
    end = stream.tell() + count
    _, flags = _element(stream, order, 8)
    _, dims = _element(stream, order, 4 * MOST_AXES)
    _, name = _element(stream, order, MOST_NAME)
    if len(flags) != ALIGNMENT or not dims or len(dims) % 4:
        raise ValueError("the head of a variable is damaged")
    word = struct.unpack(f"{order}II", flags)[0]
    shape = struct.unpack(f"{order}{len(dims) // 4}i", dims)
    title = name.decode("utf-8", "replace")
    number_class = CLASSES.get(word & 0xFF)
    if number_class is None or word & COMPLEX:
        return title, "complex" if number_class else OTHERS.get(word & 0xFF, "opaque")
    if min(shape) < 0:
        raise ValueError(f"`{title}` has the shape {shape}")
    kind, size, inside = _tag(stream, order)
    place = stream.tell() - (SMALL if inside else 0)
    stored = NUMBERS.get(kind)
    if inside and size > SMALL:
        raise ValueError("a small element has more than 4 bytes")
    if stored is None or prod(shape) * np.dtype(stored).itemsize != size or place + size > end:
        raise ValueError(f"`{title}` declares the shape {shape} and has {size} bytes")
    dtype = np.dtype(np.bool_ if word & LOGICAL else number_class)
    strided = dense(place, np.dtype(order + stored), shape, fortran=True)
    return title, _Variable(strided, dtype, compressed)


def _tag(stream: IO[bytes], order: str) -> tuple[int, int, bool]:
    """Read a tag: type, bytes, and whether these lie inside the tag, which then is read whole."""
    data = _exactly(stream, 8)
    word, count = struct.unpack(f"{order}II", data)
    if word >> 16:
        return word & 0xFFFF, word >> 16, True
    return word, count, False


def _element(stream: IO[bytes], order: str, most: int) -> tuple[int, bytes]:
    """Read an element of at most so many bytes: its type, and its bytes without padding.

    Raises:
        ValueError: it is longer.
    """
    data = _exactly(stream, 8)
    word, count = struct.unpack(f"{order}II", data)
    if word >> 16:
        if word >> 16 > SMALL:
            raise ValueError("a small element has more than 4 bytes")
        return word & 0xFFFF, data[4 : 4 + (word >> 16)]
    if count > most:
        raise ValueError(f"the head of a variable has an element of {count} bytes")
    padded = -(-count // ALIGNMENT) * ALIGNMENT
    return word, _exactly(stream, padded)[:count]


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = stream.read(count - len(data))
        if not piece:
            raise EOFError("the file ends inside a variable")
        data += piece
    return data


def _matches(file: DataFile) -> bool:
    return file.container is None and file.head[VERSION:HEADER] in VERSIONS


FORMAT = ArrayFormat("MATLAB v5 to v7 (.mat)", _matches, _open)
