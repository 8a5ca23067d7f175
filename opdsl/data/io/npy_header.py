"""The header of an array in NumPy's own format, read without its values."""

from __future__ import annotations

from math import prod
from typing import IO, Any

import numpy as np

from opdsl.safe_pt import UnsafeFileError


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the shape, whether the order is that of Fortran, and the dtype of an array.

    The file is left where the values begin.

    Raises:
        ValueError: the header is damaged.
    """
    version = np.lib.format.read_magic(file)
    header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran, dtype = header(file)
    if any(n < 0 for n in shape):
        raise ValueError(f"the shape {shape} is negative")
    return shape, fortran, dtype


def refuse_short(what: str, shape: tuple[int, ...], dtype: np.dtype[Any], room: int) -> None:
    """Refuse an array whose header declares more bytes than follow it.

    Raises:
        UnsafeFileError: naming both.
    """
    size = prod(shape) * dtype.itemsize
    if dtype.kind != "O" and size > room:  # Python objects have no size in the file
        raise UnsafeFileError(f"{what} declares {size:,} bytes and has {room:,}")
