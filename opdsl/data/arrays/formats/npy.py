"""One array saved with `numpy.save`, under the name `data`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opdsl.data.arrays.containers.admission import damage
from opdsl.data.arrays.containers.stored import Stored, StoredArrays
from opdsl.data.arrays.containers.strided import dense
from opdsl.data.arrays.formats import ArrayFormat
from opdsl.data.arrays.listing import ArrayFile
from opdsl.data.io.data_file import DataFile
from opdsl.data.io.npy_header import read_header, refuse_short

MAGIC = b"\x93NUMPY"
NAME = "data"


@contextmanager
def _open(file: DataFile) -> Iterator[ArrayFile]:
    with damage(file.source, "NumPy"), file.path.open("rb") as stream:
        shape, fortran, dtype = read_header(stream)
        start = stream.tell()
        refuse_short("its header", shape, dtype, file.path.stat().st_size - start)
        stored = Stored(dense(start, dtype, shape, fortran=fortran))
    yield StoredArrays("NumPy .npy", file.source, file.path, {NAME: stored})


FORMAT = ArrayFormat("NumPy (.npy)", lambda file: file.head.startswith(MAGIC), _open)
