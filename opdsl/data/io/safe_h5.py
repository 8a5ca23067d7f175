"""Safe reading of untrusted HDF5 files.

An external link, external storage or a virtual data set is refused before anything is read
(OP0615): HDF5 itself would follow them silently, to any file of the machine. Nothing larger than
declared is allocated, and whatever h5py raises on a damaged file is OP0610.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opdsl.data.io.foreign import refuse_endless_hdf5
from opdsl.data.io.hyperslab import read_hyperslab
from opdsl.data.io.memory_budget import data_budget, too_large_for_memory
from opdsl.diagnostics import OpError, fault

NUMBERS = "biuf"  # kinds of NumPy types that are fields
LARGEST = 8  # bytes of a number: torch has no longer ones
MOST_OBJECTS = 10_000  # in one file; each costs time and memory to look at
MOST_ATTRIBUTE = 1 << 20  # bytes of one attribute
DEFLATE = 1032  # no compressor that HDF5 carries makes data smaller than by this factor
SCALE, SCALES = "DIMENSION_SCALE", "DIMENSION_LIST"  # class of a scale; the scales of an array
NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable"
SLACK = 1 << 20  # bytes that may be declared and never written

Attributes = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hdf5Array:
    """An array in the file.

    Attributes:
        shape: entries on each axis.
        dtype: number format in the file; bytes without meaning for a type that NumPy lacks.
        attrs: attributes of text and numbers.
        axes: the name of each axis, by dimension scales or labels; empty if none has a name.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    attrs: Attributes
    axes: tuple[str | None, ...] = ()


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
        self, path: str, rows: int | None = None, thin: Sequence[slice] = (), first: int = 0
    ) -> NDArray[Any]:
        """Read an array of numbers, or part of it.

        Args:
            path: a key of `arrays`.
            rows: number of entries of axis 0 to read; all if None.
            thin: slices of the axes after axis 0.
            first: index of the first entry of axis 0 to read.

        Raises:
            OpError: OP0610, the array is no array of numbers, is damaged, or is too large.
        """
        stored = self.arrays[path]
        whole = stored.shape[0] if stored.shape else 1
        count = whole - first if rows is None else min(rows, whole - first)
        self._admit(path, stored, count, thin)
        with _damage(self.source):
            dataset = self._file[path]
            if not stored.shape:
                return np.asarray(dataset[()])
            return _rows(dataset, range(first, first + count), tuple(thin))

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
            survey = _Survey(file, source, data_budget() if cap is None else cap)
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
        raise fault(
            "OP0610",
            "the HDF5 file is damaged or incomplete",
            notes=(f"HDF5 says: {error}" if str(error) else f"HDF5 raised {type(error).__name__}",),
            helps=("copy or make it again; a file whose writing was cut short cannot be read",),
            file=source,
        ) from error


def _rows(found: Any, rows: range, thin: tuple[slice, ...]) -> NDArray[Any]:
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


@dataclass(slots=True)
class _Survey:
    """Collects the groups and arrays that hard links reach, each checked before it is opened.

    Soft links are resolved here by name among these objects: the library never follows one.

    Attributes:
        cap: bytes that one read may take.
        names: address of a dimension scale in the file -> its name.
        scales: path of an array -> addresses of the scales of its axes; None for an axis without.
    """

    file: Any
    source: str
    cap: int
    groups: dict[str, Attributes] = field(default_factory=dict)
    arrays: dict[str, Hdf5Array] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    scales: dict[str, list[int | None]] = field(default_factory=dict)

    def run(self, *, dangling: bool) -> tuple[dict[str, Attributes], dict[str, Hdf5Array]]:
        """Return the groups and arrays by path; `dangling` soft links may be left out."""
        soft = self._walk()
        for path, addresses in self.scales.items():
            axes = tuple(None if x is None else self.names.get(x) for x in addresses)
            if any(axes):
                self.arrays[path] = replace(self.arrays[path], axes=axes)
        for name, target in soft:
            if target in self.arrays:
                self.arrays[name] = self.arrays[target]
            elif target not in self.groups and not dangling:
                message = f"`{name}` is a link to `/{target}`, which is not in this file"
                raise _outside(message, self.source)
        return self.groups, self.arrays

    def _walk(self) -> list[tuple[str, str]]:
        """Visit what hard links reach; return the soft links, each with its target."""
        import h5py

        soft: list[tuple[str, str]] = []
        seen: set[Any] = set()
        waiting: list[tuple[str, Any]] = [("", self.file["/"])]
        while waiting:
            path, group = waiting.pop()
            if group.id in seen:
                continue
            seen.add(group.id)
            self.groups[path] = _attributes(group, path, self.source)
            inside: list[tuple[str, Any]] = []
            for name in group:
                inner = posixpath.join(path, name)
                link = group.get(name, getlink=True)
                count = len(self.groups) + len(self.arrays) + len(soft) + len(waiting)
                _limit(count + len(inside), self.source)
                if isinstance(link, h5py.SoftLink):
                    target = posixpath.normpath(posixpath.join("/", path, link.path))[1:]
                    soft.append((inner, target))
                elif not isinstance(link, h5py.HardLink):
                    raise _outside(f"`{inner}` is a link to another file", self.source)
                elif isinstance(item := group[name], h5py.Group):
                    inside.append((inner, item))
                elif isinstance(item, h5py.Dataset):
                    self._array(item, inner)
            waiting += reversed(inside)  # the next one to visit is last
        return soft

    def _array(self, item: Any, path: str) -> None:
        import h5py

        attributes = _attributes(item, path, self.source)
        if attributes.get("CLASS") == SCALE:
            self.names[h5py.h5o.get_info(item.id).addr] = posixpath.basename(path)
            if str(attributes.get("NAME", "")).startswith(NO_VARIABLE):
                return
        stored = _stored(item, path, self.source, self.cap, attributes)
        self.arrays[path] = stored
        if SCALES in item.attrs:
            self.scales[path] = _scales(self.file, item)


def _scales(file: Any, item: Any) -> list[int | None]:
    """Return the address of the first scale of each axis; None for an axis without a scale."""
    import h5py

    addresses: list[int | None] = []
    try:
        for references in item.attrs[SCALES]:
            one = next((x for x in references if isinstance(x, h5py.Reference)), None)
            addresses.append(h5py.h5o.get_info(file[one].id).addr if one else None)
    except Exception:  # noqa: BLE001  a damaged reference: the axes have no names
        return []
    return addresses if len(addresses) == len(item.shape or ()) else []


def _limit(count: int, source: str) -> None:
    if count > MOST_OBJECTS:
        raise fault("OP0610", f"the file holds more than {MOST_OBJECTS} objects", file=source)


def _stored(found: Any, path: str, source: str, cap: int, attributes: Attributes) -> Hdf5Array:
    """Describe an array; refuse one whose bytes are in other files or not stored.

    Raises:
        OpError: OP0610 it declares more than it stores; OP0615 its values are in other files.
    """
    if found.external:
        raise _outside(f"the values of `{path}` are stored in another file", source)
    if found.is_virtual:
        raise _outside(f"`{path}` is virtual: its values are those of other files", source)
    # a data set without extent has the shape None; it holds nothing
    shape = (0,) if found.shape is None else found.shape
    dtype = _dtype(found)
    size = prod(shape) * dtype.itemsize
    nbytes = found.id.get_storage_size()
    if size > DEFLATE * nbytes + SLACK:
        raise fault(
            "OP0610",
            f"`{path}` declares {size} bytes and stores {nbytes}",
            notes=("no compression reaches that; reading it would fill the memory with nothing",),
            file=source,
        )
    piece = prod(found.chunks or ()) * dtype.itemsize
    if piece > cap:
        raise too_large_for_memory(f"one chunk of `{path}`", piece, cap, source)
    labels = attributes.get("DIMENSION_LABELS")
    axes = tuple(str(x) or None for x in labels) if isinstance(labels, list) else ()
    if not any(axes) or len(axes) != len(shape):
        axes = (posixpath.basename(path),) if _is_coordinate(attributes, shape) else ()
    return Hdf5Array(shape, dtype, attributes, axes)


def _is_coordinate(attributes: Attributes, shape: tuple[int, ...]) -> bool:
    """Whether an array holds the coordinates of the axis that has its name."""
    return attributes.get("CLASS") == SCALE and len(shape) == 1


def _dtype(found: Any) -> np.dtype[Any]:
    """Return the number format of an array; bytes for a type that NumPy lacks."""
    try:
        return np.dtype(found.dtype)
    except TypeError:
        return np.dtype(f"V{found.id.get_type().get_size()}")


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


def _attributes(found: Any, path: str, source: str) -> Attributes:
    """Read the attributes of text and numbers; references and other types are left out."""
    import h5py

    plain: dict[str, Any] = {}
    for name in found.attrs:
        info = h5py.h5a.get_info(found.id, name.encode("utf-8", "surrogateescape"))
        if info.data_size > MOST_ATTRIBUTE:
            raise fault("OP0610", f"the attribute `{name}` of `/{path}` is too large", file=source)
        try:
            value = _plain(found.attrs[name])
        except TypeError:  # a type that NumPy lacks
            continue
        if _is_plain(value):
            plain[name] = value
    return plain


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float)


def _plain(value: Any) -> Any:
    """Convert an attribute to a Python value: str, int, float, bool or a list of them."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray):
        return [_plain(x) for x in value.tolist()]
    return value.item() if isinstance(value, np.generic) else value


def _outside(message: str, source: str) -> OpError:
    return fault(
        "OP0615",
        message,
        notes=("opening data never reads a file that you did not name",),
        helps=("if you trust it, copy it into one self-contained file with `h5repack` or h5py",),
        file=source,
    )
