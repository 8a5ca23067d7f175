"""Arrays by name, saved with `numpy.savez` or `numpy.savez_compressed`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from opdsl.data.arrays.containers.admission import damage
from opdsl.data.arrays.containers.stored import Stored, StoredArrays, member_offset
from opdsl.data.arrays.containers.strided import dense
from opdsl.data.arrays.formats import ArrayFormat
from opdsl.data.arrays.listing import ArrayFile
from opdsl.data.io.data_file import DataFile
from opdsl.data.io.npy_header import read_header, refuse_short
from opdsl.safe_pt import inspect_zip

ENDING = ".npy"


@contextmanager
def _open(file: DataFile) -> Iterator[ArrayFile]:
    size = file.path.stat().st_size
    with (
        damage(file.source, "NumPy"),
        file.path.open("rb") as stream,
        zipfile.ZipFile(stream) as archive,
    ):
        inspect_zip(archive, size)
        entries = archive.infolist()
        places = {x.filename.removesuffix(ENDING): _stored(stream, archive, x) for x in entries}
    yield StoredArrays("NumPy .npz", file.source, file.path, places)


def _stored(stream: IO[bytes], archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Stored:
    with archive.open(entry) as member:
        shape, fortran, dtype = read_header(member)
        start = member.tell()
    refuse_short(f"`{entry.filename}`", shape, dtype, entry.file_size - start)
    place = dense(start, dtype, shape, fortran=fortran)
    sealed = place.end == entry.file_size
    return Stored(place, entry.filename, member_offset(stream, entry), sealed)


def _matches(file: DataFile) -> bool:
    names = file.members() if file.container == "zip" else ()
    return bool(names) and all(x.endswith(ENDING) for x in names)


FORMAT = ArrayFormat("NumPy (.npz)", _matches, _open)
