"""Tensors by name in a file of safetensors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from opdsl.data.arrays.containers.admission import damage
from opdsl.data.arrays.containers.stored import BFLOAT16, Stored, StoredArrays
from opdsl.data.arrays.containers.strided import dense
from opdsl.data.arrays.formats import ArrayFormat
from opdsl.data.arrays.listing import ArrayFile
from opdsl.data.io.data_file import DataFile

LENGTH = 8  # bytes of the length of the header, with which a file begins
METADATA = "__metadata__"
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
    "C64": "<c8",
}


@contextmanager
def _open(file: DataFile) -> Iterator[ArrayFile]:
    from safetensors import safe_open

    with damage(file.source, "safetensors"):
        with safe_open(file.path, "np"):  # compares the header with the length of the file
            pass
        with file.path.open("rb") as stream:
            size = int.from_bytes(stream.read(LENGTH), "little")
            header: dict[str, Any] = json.loads(stream.read(size))
        about = header.pop(METADATA, None) or {}
        places = {k: _stored(x, LENGTH + size) for k, x in header.items()}
    yield StoredArrays("safetensors", file.source, file.path, places, attributes=about)


def _stored(entry: Mapping[str, Any], start: int) -> Stored:
    begin, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    dtype = np.dtype(DTYPES.get(entry["dtype"], "V1"))  # 8-bit floats cannot be read
    if entry["dtype"] == "BF16":
        dtype = BFLOAT16
    place = dense(start + begin, dtype, shape, fortran=False)
    if place.end > start + end:
        raise ValueError(f"the shape {shape} needs more bytes than are stored")
    return Stored(place)


def _matches(file: DataFile) -> bool:
    size = int.from_bytes(file.head[:LENGTH], "little")
    begins = file.head[LENGTH : LENGTH + 1] == b"{"
    return begins and 0 < size <= file.path.stat().st_size - LENGTH


FORMAT = ArrayFormat("safetensors (.safetensors)", _matches, _open)
