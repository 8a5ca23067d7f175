"""The groups and arrays of an open, untrusted HDF5 file, each checked before it is described.

h5py's own objects take a millisecond for each array; the calls below them take a tenth of it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from opdsl.data.io.memory_budget import too_large_for_memory
from opdsl.diagnostics import OpError, fault

MOST_OBJECTS = 100_000  # in one file; each costs time and memory to look at
MOST_ATTRIBUTE = 1 << 20  # bytes of one attribute
DEFLATE = 1032  # no compressor that HDF5 carries makes data smaller than by this factor
SLACK = 1 << 20  # bytes that may be declared and never written
SCALE, SCALES = "DIMENSION_SCALE", "DIMENSION_LIST"  # class of a scale; the scales of an array
NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable"

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


@dataclass(slots=True)
class Survey:
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
        waiting: list[tuple[str, Any]] = [("", self.file["/"].id)]
        while waiting:
            path, group = waiting.pop()
            if group in seen:
                continue
            seen.add(group)
            self.groups[path] = _attributes(group, path, self.source)
            inside: list[tuple[str, Any]] = []
            for name in group:
                inner = posixpath.join(path, _text(name))
                kind = group.links.get_info(name).type
                count = len(self.groups) + len(self.arrays) + len(soft) + len(waiting)
                _limit(count + len(inside), self.source)
                if kind == h5py.h5l.TYPE_SOFT:
                    target = posixpath.join("/", path, _text(group.links.get_val(name)))
                    soft.append((inner, posixpath.normpath(target)[1:]))
                elif kind != h5py.h5l.TYPE_HARD:
                    raise _outside(f"`{inner}` is a link to another file", self.source)
                elif isinstance(item := h5py.h5o.open(group, name), h5py.h5g.GroupID):
                    inside.append((inner, item))
                elif isinstance(item, h5py.h5d.DatasetID):
                    self._array(item, inner)
            waiting += reversed(inside)  # the next one to visit is last
        return soft

    def _array(self, item: Any, path: str) -> None:
        import h5py

        attributes = _attributes(item, path, self.source)
        if attributes.get("CLASS") == SCALE:
            self.names[h5py.h5o.get_info(item).addr] = posixpath.basename(path)
            if str(attributes.get("NAME", "")).startswith(NO_VARIABLE):
                return
        self.arrays[path] = _stored(item, path, self.source, self.cap, attributes)
        if h5py.h5a.exists(item, SCALES.encode()):
            self.scales[path] = _scales(self.file, item, len(self.arrays[path].shape))


def _scales(file: Any, item: Any, rank: int) -> list[int | None]:
    """Return the address of the first scale of each axis; None for an axis without a scale."""
    import h5py

    try:
        axes = h5py.Dataset(item).attrs[SCALES]
    except TypeError:  # a type that NumPy lacks
        return []
    return [_address(file, x) for x in axes] if np.shape(axes)[:1] == (rank,) else []


def _address(file: Any, references: Any) -> int | None:
    """Return the address of what the first reference means; None if there is nothing."""
    import h5py

    try:
        scale = file[references[0]]
        address: int = h5py.h5o.get_info(scale.id).addr
    except Exception:  # noqa: BLE001  no reference, or one to what is gone: a dozen types
        return None
    return address


def _limit(count: int, source: str) -> None:
    if count > MOST_OBJECTS:
        raise fault("OP0610", f"the file holds more than {MOST_OBJECTS} objects", file=source)


def _stored(found: Any, path: str, source: str, cap: int, attributes: Attributes) -> Hdf5Array:
    """Describe an array; refuse one whose bytes are in other files or not stored.

    Raises:
        OpError: OP0610 it declares more than it stores; OP0615 its values are in other files.
    """
    import h5py

    plan = found.get_create_plist()
    if plan.get_external_count():
        raise _outside(f"the values of `{path}` are stored in another file", source)
    if plan.get_layout() == h5py.h5d.VIRTUAL:
        raise _outside(f"`{path}` is virtual: its values are those of other files", source)
    extent = found.get_space()
    # an array without extent holds nothing
    none = extent.get_simple_extent_type() == h5py.h5s.NULL
    shape = (0,) if none else tuple(extent.get_simple_extent_dims())
    dtype = _dtype(found)
    size = prod(shape) * dtype.itemsize
    nbytes = found.get_storage_size()
    if size > DEFLATE * nbytes + SLACK:
        raise fault(
            "OP0610",
            f"`{path}` declares {size} bytes and stores {nbytes}",
            notes=("no compression reaches that; reading it would fill the memory with nothing",),
            file=source,
        )
    chunk = plan.get_chunk() if plan.get_layout() == h5py.h5d.CHUNKED else ()
    piece = prod(chunk) * dtype.itemsize
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
        dtype: np.dtype[Any] = found.dtype
    except TypeError:
        dtype = np.dtype(f"V{found.get_type().get_size()}")
    return dtype


def _attributes(found: Any, path: str, source: str) -> Attributes:
    """Read the attributes of text and numbers; references and other types are left out."""
    import h5py

    plain: dict[str, Any] = {}
    if not h5py.h5a.get_num_attrs(found):
        return plain
    is_group = isinstance(found, h5py.h5g.GroupID)
    manager = (h5py.Group(found) if is_group else h5py.Dataset(found)).attrs
    for name in manager:
        info = h5py.h5a.get_info(found, name.encode("utf-8", "surrogateescape"))
        if info.data_size > MOST_ATTRIBUTE:
            raise fault("OP0610", f"the attribute `{name}` of `/{path}` is too large", file=source)
        try:
            value = _plain(manager[name])
        except TypeError:  # a type that NumPy lacks
            continue
        if _is_plain(value):
            plain[name] = value
    return plain


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


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
