"""`StoredArrays`: the arrays of a file in which each lies as plain numbers, perhaps deflated."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from opdsl.data.arrays.containers.admission import admit, damage, selected
from opdsl.data.arrays.containers.strided import Strided, read_strided
from opdsl.data.arrays.listing import ArrayInfo

BFLOAT16 = np.dtype("<V2")  # NumPy has no such number
LOCAL_HEADER = 30  # bytes, before the name of a member of a zip archive


@dataclass(frozen=True, slots=True)
class Stored:
    """An array in a file.

    Attributes:
        place: where it lies in the file, or in the member of the archive.
        member: the member of a zip archive; None if the file is no archive.
        offset: where the member begins in the file; None if it is compressed.
        sealed: whether the array ends with the member, so that reading all of it through the
            archive compares the checksum.
    """

    place: Strided
    member: str | None = None
    offset: int | None = None
    sealed: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """The number format in which `StoredArrays.read` returns values."""
        if self.place.dtype == BFLOAT16:
            return np.dtype(np.float32)
        return self.place.dtype.newbyteorder("=")

    def info(self) -> ArrayInfo:
        """Describe the array."""
        packed = self.member is not None and self.offset is None
        return ArrayInfo(self.place.shape, self.dtype, by_rows=self.place.by_rows and not packed)


@dataclass(slots=True)
class StoredArrays:
    """An `ArrayFile` of arrays that lie in the file as plain numbers.

    Attributes:
        path: the file.
        places: name -> where the array lies.
    """

    format: str
    source: str
    path: Path
    places: Mapping[str, Stored]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    arrays: Mapping[str, ArrayInfo] = field(init=False)

    def __post_init__(self) -> None:
        self.arrays = {k: x.info() for k, x in self.places.items()}

    def read(self, name: str, index: Sequence[slice] = ()) -> NDArray[Any]:
        """Read an array, or the part that `index` selects; see `ArrayFile.read`."""
        stored, info = self.places[name], self.arrays[name]
        ranges = selected(info.shape, index)
        admit(name, info, ranges, self.source)
        whole = stored.sealed and prod(map(len, ranges)) == prod(info.shape)
        with damage(self.source, "NumPy"), _stream(self.path, stored, whole=whole) as (file, base):
            return _decoded(file, _moved(stored.place, base), ranges)


@contextmanager
def _stream(path: Path, stored: Stored, *, whole: bool) -> Iterator[tuple[IO[bytes], int]]:
    """Open the stream in which an array lies; yield it, and where the member begins in it."""
    with path.open("rb") as file:
        if stored.member is None:
            yield file, 0
        elif stored.offset is not None and not whole:
            yield file, stored.offset
        else:
            with zipfile.ZipFile(file) as archive, archive.open(stored.member) as member:
                yield member, 0
                if whole:
                    member.read(1)  # at the end the checksum is compared


def _moved(place: Strided, base: int) -> Strided:
    return Strided(place.offset + base, place.dtype, place.shape, place.strides)


def _decoded(file: IO[bytes], place: Strided, ranges: Sequence[range]) -> NDArray[Any]:
    """Read values; convert those that NumPy lacks, and bytes that stand for truth values."""
    as_numbers: dict[Any, np.dtype[Any]] = {
        BFLOAT16: np.dtype("<u2"),
        np.dtype(np.bool_): np.dtype(np.uint8),
    }
    plain = as_numbers.get(place.dtype, place.dtype)
    raw = read_strided(file, Strided(place.offset, plain, place.shape, place.strides), ranges)
    if place.dtype == BFLOAT16:  # the upper half of a float32
        wide: NDArray[Any] = raw.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    return cast("NDArray[Any]", raw != 0) if place.dtype.kind == "b" else raw


def member_offset(file: IO[bytes], entry: zipfile.ZipInfo) -> int | None:
    """Return where the bytes of an archive member begin; None if they are not plain.

    Raises:
        ValueError: the member is encrypted, or its own header is damaged.
    """
    if entry.flag_bits & 1:
        raise ValueError(f"`{entry.filename}` is encrypted")
    if entry.compress_type != zipfile.ZIP_STORED:
        return None
    file.seek(entry.header_offset)
    head = file.read(LOCAL_HEADER)
    if len(head) < LOCAL_HEADER or not head.startswith(b"PK\x03\x04"):
        raise ValueError(f"the header of `{entry.filename}` is damaged")
    name, extra = (int.from_bytes(head[i : i + 2], "little") for i in (26, 28))
    return entry.header_offset + LOCAL_HEADER + name + extra
