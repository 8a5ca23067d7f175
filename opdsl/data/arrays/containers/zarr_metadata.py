"""Metadata of zarr stores, versions 2 and 3: what each array is, and how its chunks are encoded.

Sources: Zarr specifications 2 and 3.1, zarr-specs.readthedocs.io; xarray's conventions for the
names of axes (`_ARRAY_DIMENSIONS`) and for missing values.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from opdsl.data.arrays.containers.packing import FILLS, SCALES, decoded_type
from opdsl.data.arrays.listing import ArrayInfo
from opdsl.data.io.hdf5.hdf5_survey import MOST_OBJECTS
from opdsl.data.io.key_store import KeyStore

MOST_METADATA = 16 << 20  # bytes of the metadata of one array or group
AXES = "_ARRAY_DIMENSIONS"
FILL = "_FillValue"
NUMBERS = "biuf"
ENCODED = 12  # characters of 8 bytes in base 64
# codecs of zarr and numcodecs that only rearrange or compress numbers
COMPRESSORS = {"blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"}
FILTERS = {"astype", "bitround", "crc32", "delta", "fixedscaleoffset", "quantize", "shuffle"}
VERSION_3 = {"blosc", "bytes", "crc32c", "gzip", "sharding_indexed", "transpose", "zstd"}
PREFIX = "numcodecs."
TYPES = {"bool"} | {f"{k}{n}" for k in ("int", "uint") for n in (8, 16, 32, 64)}
FLOATS = {f"float{n}" for n in (16, 32, 64)}

ZarrJson = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ZarrArray:
    """An array in a store.

    Attributes:
        path: its place in the store; empty if the store is the array.
        version: 2 or 3.
        info: what is listed.
        stored: number format in the store.
        packing: attributes that describe packed values, in the form of CF.
        chunks: entries of a chunk on each axis.
        codecs: names of what encodes the chunks.
    """

    path: str
    version: int
    info: ArrayInfo
    stored: np.dtype[Any]
    packing: ZarrJson
    chunks: tuple[int, ...]
    codecs: tuple[str, ...]

    @property
    def unknown_codecs(self) -> tuple[str, ...]:
        """Codecs that are not read: those of other packages, and those of Python objects."""
        known = VERSION_3 if self.version > 2 else COMPRESSORS | FILTERS
        theirs = {PREFIX + x for x in COMPRESSORS | FILTERS} if self.version > 2 else set()
        return tuple(x for x in self.codecs if x not in known | theirs)


@dataclass(frozen=True, slots=True)
class ZarrTree:
    """The contents of a store.

    Attributes:
        arrays: path -> array.
        groups: path -> attributes; the root is "".
        skipped: paths of arrays without numbers, with their number format.
    """

    arrays: dict[str, ZarrArray]
    groups: dict[str, ZarrJson]
    skipped: dict[str, str]


def version_of(keys: KeyStore) -> int | None:
    """Return the version of the format; None if the keys are no zarr store.

    Raises:
        OutsideError: the metadata are a link.
    """
    if keys.get("zarr.json", MOST_METADATA) is not None:
        return 3
    found = (keys.get(x, MOST_METADATA) for x in (".zgroup", ".zarray", ".zattrs"))
    return 2 if any(x is not None for x in found) else None


def read_tree(keys: KeyStore, source: str) -> ZarrTree:
    """Read the metadata of all groups and arrays, not their values.

    Raises:
        OpError: OP0610, packed values have no sound scale.
        OutsideError: a link is in the store.
        ValueError, LookupError, TypeError: metadata are damaged.
    """
    version = version_of(keys)
    tree = ZarrTree({}, {}, {})
    waiting = [""]
    while waiting:
        path = waiting.pop()
        if len(tree.arrays) + len(tree.groups) + len(tree.skipped) + len(waiting) > MOST_OBJECTS:
            raise ValueError(f"the store has more than {MOST_OBJECTS} objects")
        metadata, attributes = (_version_3 if version == 3 else _version_2)(keys, path)
        if metadata is None:
            if path:
                continue
            metadata = {}
        if "shape" not in metadata:
            tree.groups[path] = _plain(attributes)
            inner = [f"{path}/{x}" if path else x for x in keys.children(path)]
            waiting += reversed(inner)
            continue
        array = (_array_3 if version == 3 else _array_2)(path, metadata, attributes, source)
        if isinstance(array, ZarrArray):
            tree.arrays[path] = array
        else:
            tree.skipped[path] = array
    return tree


def _version_2(keys: KeyStore, path: str) -> tuple[ZarrJson | None, ZarrJson]:
    prefix = f"{path}/" if path else ""
    array = _json(keys, f"{prefix}.zarray")
    metadata = array if array is not None else _json(keys, f"{prefix}.zgroup")
    return metadata, _json(keys, f"{prefix}.zattrs") or {}


def _version_3(keys: KeyStore, path: str) -> tuple[ZarrJson | None, ZarrJson]:
    metadata = _json(keys, f"{path}/zarr.json" if path else "zarr.json")
    if metadata is None:
        return None, {}
    is_array = metadata.get("node_type") == "array"
    attributes = _table(metadata.get("attributes", {}))
    return metadata if is_array else {}, attributes


def _json(keys: KeyStore, key: str) -> ZarrJson | None:
    data = keys.get(key, MOST_METADATA)
    return None if data is None else _table(json.loads(data))


def _table(value: Any) -> ZarrJson:
    if not isinstance(value, dict):
        raise TypeError("metadata are no table")
    return value


def _array_2(path: str, metadata: ZarrJson, attributes: ZarrJson, source: str) -> ZarrArray | str:
    kind = metadata["dtype"]
    dtype = np.dtype(kind) if isinstance(kind, str) else np.dtype("O")
    if dtype.kind not in NUMBERS:
        return str(kind)[:40]
    shape, chunks = _lengths(metadata["shape"]), _lengths(metadata["chunks"])
    entries = [x for x in (*(metadata["filters"] or ()), metadata["compressor"]) if x is not None]
    codecs = tuple(str(_table(x)["id"]) for x in entries)
    names = attributes.get(AXES)
    packing = dict(attributes)
    fill = _number(metadata["fill_value"])
    # a fill value 0 is what zarr itself writes; only with a scale has somebody chosen it
    if names is not None and fill is not None and (fill != 0 or any(x in packing for x in SCALES)):
        packing.setdefault(FILL, fill)
    layout = _Layout(2, dtype, shape, chunks, codecs, names, packing)
    return _array(path, layout, attributes, source)


def _array_3(path: str, metadata: ZarrJson, attributes: ZarrJson, source: str) -> ZarrArray | str:
    kind = metadata["data_type"]
    if not isinstance(kind, str) or kind not in TYPES | FLOATS:
        return str(kind)[:40]
    if metadata.get("storage_transformers"):
        raise ValueError("storage transformers are not read")
    grid = _table(metadata["chunk_grid"])
    if grid["name"] != "regular":
        raise ValueError(f"the chunk grid is {str(grid['name'])[:40]!r}, expected 'regular'")
    shape, chunks = _lengths(metadata["shape"]), _lengths(grid["configuration"]["chunk_shape"])
    codecs = tuple(_codec_names(metadata["codecs"], 0))
    names = metadata.get("dimension_names") or attributes.get(AXES)
    dtype = np.dtype(kind)
    packing = {k: _encoded(v) if k in FILLS else v for k, v in attributes.items()}
    layout = _Layout(3, dtype, shape, chunks, codecs, names, packing)
    return _array(path, layout, attributes, source)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the metadata of either version say about an array; `names` may be anything."""

    version: int
    stored: np.dtype[Any]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    codecs: tuple[str, ...]
    names: Any
    packing: ZarrJson


def _array(path: str, layout: _Layout, attributes: ZarrJson, source: str) -> ZarrArray:
    shape, chunks, names = layout.shape, layout.chunks, layout.names
    if len(chunks) != len(shape) or 0 in chunks:
        raise ValueError(f"`{path}` has the shape {shape} and chunks {chunks}")
    axes: tuple[str | None, ...] = ()
    if isinstance(names, list) and len(names) == len(shape):
        axes = tuple(x if isinstance(x, str) else None for x in names)
    packing = {k: v for k, v in layout.packing.items() if k not in FILLS or v is not None}
    plain = {k: v for k, v in _plain(attributes).items() if k != AXES}
    info = ArrayInfo(shape, decoded_type(layout.stored, packing, source), axes, plain)
    return ZarrArray(path, layout.version, info, layout.stored, packing, chunks, layout.codecs)


def _codec_names(codecs: Any, depth: int) -> Iterator[str]:
    if depth > 4:
        raise ValueError("shards are nested too deeply")
    for x in codecs:
        if isinstance(x, str):
            yield x
            continue
        yield str(_table(x)["name"])
        configuration = _table(x.get("configuration") or {})
        for key in ("codecs", "index_codecs"):
            yield from _codec_names(configuration.get(key, ()), depth + 1)


def _lengths(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(n) is int and 0 <= n < 2**63 for n in value):
        raise ValueError(f"{str(value)[:40]!r} is no shape")
    return tuple(value)


def _number(value: Any) -> int | float | None:
    """Convert a fill value of version 2; None if there is none, or it is no number."""
    special = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}
    if isinstance(value, str):
        return special.get(value)
    return value if isinstance(value, int | float) else None


def _encoded(value: Any) -> Any:
    """Decode a mark that xarray writes as 8 bytes in base 64."""
    if isinstance(value, str) and len(value) == ENCODED:
        return struct.unpack("<d", base64.b64decode(value, validate=True))[0]
    return value


def _plain(attributes: ZarrJson) -> dict[str, Any]:
    """Keep texts, numbers and lists of them."""
    return {k: v for k, v in attributes.items() if not isinstance(v, dict) and v is not None}
