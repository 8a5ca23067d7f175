"""Parts of an array that lies in a stream as plain numbers, read in pieces of bounded size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedIOBase
from math import prod
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

PIECE = 4 << 20  # bytes of the stream that are in memory at a time, apart from the result
SMALL = 1 << 16  # bytes that are read at once, however few of them are asked for
SPARSE = 8  # a larger piece is halved while so many bytes are read for each that is asked for


@dataclass(frozen=True, slots=True)
class Strided:
    """Where the entries of an array lie in a stream.

    Attributes:
        offset: position of the first entry, in bytes.
        dtype: number format of the entries, with their byte order.
        shape: entries on each axis.
        strides: bytes from an entry to the next one on each axis; none is negative.
    """

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def end(self) -> int:
        """Position after the last entry, in bytes."""
        if not prod(self.shape):
            return self.offset
        steps = zip(self.shape, self.strides, strict=True)
        return self.offset + sum((n - 1) * s for n, s in steps) + self.dtype.itemsize

    @property
    def by_rows(self) -> bool:
        """Whether the first axis is the outermost, so that its entries lie one after the other."""
        return not self.strides or self.strides[0] == max(self.strides)


def dense(offset: int, dtype: np.dtype[Any], shape: tuple[int, ...], *, fortran: bool) -> Strided:
    """Describe an array without gaps, its last axis running fastest, or its first (`fortran`)."""
    sizes = shape[:-1] if fortran else shape[:0:-1]
    strides = [dtype.itemsize]
    for n in sizes:
        strides.append(strides[-1] * n)
    strides = strides[: len(shape)]
    return Strided(offset, dtype, shape, tuple(strides if fortran else strides[::-1]))


def read_strided(file: IO[bytes], place: Strided, ranges: Sequence[range]) -> NDArray[Any]:
    """Read the entries at the positions `ranges` of each axis, in this machine's byte order.

    The stream is only read forwards where the array has no gaps.

    Raises:
        EOFError: the stream ends before.
    """
    out = np.empty(tuple(map(len, ranges)), place.dtype.newbyteorder("="))
    if out.size:
        _fill(file, place, ranges, out)
    return out


def _fill(file: IO[bytes], place: Strided, ranges: Sequence[range], out: NDArray[Any]) -> None:
    """Read a piece that is small or without gaps at once, and halves of any other."""
    strides = [r.step * s for r, s in zip(ranges, place.strides, strict=True)]
    reach = [(len(r) - 1) * s for r, s in zip(ranges, strides, strict=True)]
    span = sum(reach) + place.dtype.itemsize
    start = place.offset + sum(r[0] * s for r, s in zip(ranges, place.strides, strict=True))
    file.seek(start)
    if span == out.nbytes and out.flags.c_contiguous and _same_order(out, strides):
        _exactly(file, out)
        if place.dtype != out.dtype:
            out.byteswap(inplace=True)
    elif span <= SMALL or span <= min(PIECE, SPARSE * out.nbytes):
        data = np.empty(span, np.uint8)
        _exactly(file, data)
        out[...] = np.ndarray(out.shape, place.dtype, data, strides=strides)
    else:
        axis = max(range(len(reach)), key=lambda i: strides[i] if reach[i] else 0)
        middle = len(ranges[axis]) // 2
        for half in (slice(None, middle), slice(middle, None)):
            part = (*ranges[:axis], ranges[axis][half], *ranges[axis + 1 :])
            _fill(file, place, part, out[(slice(None),) * axis + (half,)])


def _same_order(out: NDArray[Any], strides: Sequence[int]) -> bool:
    axes = zip(out.shape, out.strides, strides, strict=True)
    return all(n == 1 or a == b for n, a, b in axes)


def _exactly(file: IO[bytes], out: NDArray[Any]) -> None:
    """Fill an array with the next bytes of the stream."""
    view = out.reshape(-1).view(np.uint8).data
    while view:
        count = cast("BufferedIOBase", file).readinto(view)
        if not count:
            raise EOFError("the file ends before its values")
        view = view[count:]
