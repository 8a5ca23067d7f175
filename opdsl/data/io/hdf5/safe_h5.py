"""Safe reading of untrusted HDF5 files.

An external link, external storage or a virtual data set is refused before anything is read
(OP0615): HDF5 itself would follow them silently, to any file of the machine. Nothing larger than
declared is allocated, and whatever h5py raises on a damaged file is OP0610.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opdsl.data.io.foreign.process import refuse_endless_hdf5
from opdsl.data.io.hdf5.hdf5_survey import Attributes, Hdf5Array, Survey
from opdsl.data.io.hdf5.hyperslab import read_hyperslab
from opdsl.data.io.memory_budget import (
    data_budget,
    is_out_of_memory,
    out_of_memory,
    too_large_for_memory,
)
from opdsl.diagnostics import OpError, fault

NUMBERS = "biuf"  # kinds of NumPy types that are fields
LARGEST = 8  # bytes of a number: torch has no longer ones


@dataclass(frozen=True, slots=True)
class Hdf5File:
    """The contents of an open HDF5 file.

    Attributes:
        source: the path as the user wrote it.
        groups: path inside the file, without the first slash -> attributes; the root is "".
        arrays: path inside the file -> description of the array.
        cap: bytes that one read may take.
    """

    source: str
    groups: dict[str, Attributes]
    arrays: dict[str, Hdf5Array]
    cap: int
    _file: Any = field(repr=False)

    def below(self, group: str) -> dict[str, Hdf5Array]:
        """Return the arrays directly in a group, by the last part of their path."""
        return {
            posixpath.basename(p): x
            for p, x in self.arrays.items()
            if posixpath.dirname(p) == group
        }

    def read(
        self, path: str, rows: Sequence[int] | None = None, thin: Sequence[slice] = ()
    ) -> NDArray[Any]:
        """Read an array of numbers, or part of it.

        Args:
            path: a key of `arrays`.
            rows: entries of axis 0 to read; all if None.
            thin: slices of the axes after axis 0.

        Raises:
            OpError: OP0610, the array is no array of numbers, is damaged, or is too large.
        """
        stored = self.arrays[path]
        whole = stored.shape[0] if stored.shape else 1
        rows = range(whole) if rows is None else rows
        self._admit(path, stored, len(rows), thin)
        with _damage(self.source):
            dataset = self._file[path]
            if not stored.shape:
                return np.asarray(dataset[()])
            return _rows(dataset, rows, tuple(thin))

    def span(self, path: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Read the entries `start` to `stop` of axis 0 at once.

        Raises:
            OpError: OP0610, as `read`.
        """
        stored = self.arrays[path]
        whole = stored.shape[0] if stored.shape else 0
        first, last, _ = slice(start, stop).indices(whole)
        self._admit(path, stored, last - first, ())
        with _damage(self.source):
            values: NDArray[Any] = self._file[path][first:last]
            # in this machine's byte order, which torch asks for
            return np.ascontiguousarray(values, values.dtype.newbyteorder("="))

    def part(self, path: str, ranges: Sequence[range]) -> NDArray[Any]:
        """Read the entries at the positions `ranges` of each axis, in this machine's byte order.

        Raises:
            OpError: OP0610, the values are damaged, or compressed in a way that is not installed.
        """
        stored = self.arrays[path]
        with _damage(self.source):
            dataset = self._file[path]
            _refuse_filters(dataset, path, self.source)
            return read_hyperslab(dataset, stored.dtype.newbyteorder("="), ranges)

    def _admit(self, path: str, stored: Hdf5Array, count: int, thin: Sequence[slice]) -> None:
        """Refuse dtypes that torch lacks, and reads whose result or one row exceeds the cap."""
        if stored.dtype.kind not in NUMBERS or stored.dtype.itemsize > LARGEST:
            reason = "not numbers that can be read"
            raise fault("OP0610", f"`{path}` holds {stored.dtype}, {reason}", file=self.source)
        row = stored.shape[1:]
        size = max(count * prod(_kept(row, thin)), prod(row)) * stored.dtype.itemsize
        if size > self.cap:
            raise too_large_for_memory(f"`{path}`", size, self.cap, self.source)


@contextmanager
def open_hdf5(
    path: Path, *, source: str = "", cap: int | None = None, dangling: bool = False
) -> Iterator[Hdf5File]:
    """Open a file for reading for the duration of the block.

    Args:
        path: a regular file.
        source: the path as the user wrote it.
        cap: bytes that one read may take; by default what memory allows.
        dangling: leave out soft links that lead to nothing in the file, instead of refusing them.

    Raises:
        OpError: OP0610 damaged or bigger than it can be; OP0615 it points outside itself.
    """
    import h5py

    source = source or str(path)
    with _damage(source):
        refuse_endless_hdf5(path, source)
        file = h5py.File(path, "r")
    try:
        with _damage(source):
            survey = Survey(file, source, data_budget() if cap is None else cap)
            groups, arrays = survey.run(dangling=dangling)
        yield Hdf5File(source, groups, arrays, data_budget() if cap is None else cap, file)
    finally:
        with _damage(source):
            file.close()


@contextmanager
def _damage(source: str) -> Iterator[None]:
    """Turn whatever HDF5 raises into OP0610; the block may call nothing else."""
    try:
        yield
    except OpError:
        raise
    # h5py raises five types of its own accord, depending on which byte is broken
    except Exception as error:
        if is_out_of_memory(error):
            raise out_of_memory(source) from error
        raise fault(
            "OP0610",
            "the HDF5 file is damaged or incomplete",
            notes=(f"HDF5 says: {error}" if str(error) else f"HDF5 raised {type(error).__name__}",),
            helps=("copy or make it again; a file whose writing was cut short cannot be read",),
            file=source,
        ) from error


def _rows(found: Any, rows: Sequence[int], thin: tuple[slice, ...]) -> NDArray[Any]:
    """Read rows and thin them one by one, so that at most one whole row is in memory."""
    # in this machine's byte order, which torch asks for
    out = np.empty((len(rows), *_kept(found.shape[1:], thin)), found.dtype.newbyteorder("="))
    for i, row in enumerate(rows):
        out[i] = np.asarray(found[row])[thin]
    return out


def _kept(row: Sequence[int], thin: Sequence[slice]) -> tuple[int, ...]:
    """Shape of a row after thinning; an axis without a slice is kept whole."""
    whole = (slice(None),) * (len(row) - len(thin))
    return tuple(len(range(n)[s]) for n, s in zip(row, (*thin, *whole), strict=True))


def _refuse_filters(dataset: Any, path: str, source: str) -> None:
    """Refuse values that are compressed by a filter which this HDF5 lacks.

    Raises:
        OpError: OP0610.
    """
    import h5py

    plist = dataset.id.get_create_plist()
    codes = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    missing = [x for x in codes if not h5py.h5z.filter_avail(x)]
    if missing:
        message = f"`{path}` is compressed by the HDF5 filter {missing[0]}, which is not installed"
        helps = ("write it with gzip instead: `h5repack -f GZIP=4 FILE OUT`",)
        raise fault("OP0610", message, helps=helps, file=source)
