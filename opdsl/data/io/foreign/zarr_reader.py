"""Read parts of zarr arrays with zarr, in the process that `foreign` limits."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype

from opdsl.data.io.key_store import ArchiveStore, FolderStore, OutsideError, open_store

LIBRARY = "zarr"
NOTHING: tuple[str, ...] = ()


class _ReadOnly(Store):
    """The store of zarr through which it sees a `KeyStore`."""

    supports_writes = False
    supports_deletes = False
    supports_listing = False

    def __init__(self, keys: FolderStore | ArchiveStore) -> None:
        super().__init__(read_only=True)
        self.keys = keys

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read the bytes of a key, or a part of them."""
        data = self.keys.get(key)
        if data is None:
            return None
        match byte_range:
            case RangeByteRequest():
                data = data[byte_range.start : byte_range.end]
            case OffsetByteRequest():
                data = data[byte_range.offset :]
            case SuffixByteRequest():
                data = data[max(len(data) - byte_range.suffix, 0) :]
            case _:
                pass
        return prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read parts of several keys."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether a key is there."""
        return self.keys.get(key) is not None

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse to write."""
        raise PermissionError(f"{key}: read only, {len(value)} bytes")

    async def delete(self, key: str) -> None:
        """Refuse to delete."""
        raise PermissionError(f"{key}: read only")

    async def list(self) -> AsyncIterator[str]:
        """List nothing: arrays are opened by their path."""
        for x in NOTHING:
            yield x

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """List nothing; `prefix` is ignored."""
        del prefix
        for x in NOTHING:
            yield x

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List nothing; `prefix` is ignored."""
        del prefix
        for x in NOTHING:
            yield x


_OPEN: dict[tuple[str, int, int], FolderStore | ArchiveStore] = {}  # one, for the next part


def _store(path: str) -> FolderStore | ArchiveStore:
    state = os.stat(path)  # noqa: PTH116  a plain path of the request
    key = (path, state.st_mtime_ns, state.st_size)
    if key not in _OPEN:
        _OPEN.clear()
        _OPEN[key] = open_store(Path(path))
    return _OPEN[key]


def answer(request: dict[str, Any]) -> tuple[dict[str, Any], list[np.ndarray[Any, Any]]]:
    """Read a part of an array.

    Args:
        request: `path` of the store, `name` of the array in it, `version` of its format, and
            `index`: start, stop and step on each axis.

    Returns:
        The header of the answer, and the values.
    """
    index = tuple(slice(*x) for x in request["index"])
    try:
        array = zarr.open_array(
            _ReadOnly(_store(request["path"])),
            path=request["name"],
            mode="r",
            zarr_format=request["version"],
        )
        values = np.asarray(array[index])
    except OutsideError as error:
        return {"failed": "outside", "text": str(error)}, []
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).reshape(values.shape)
    return {"arrays": [["values", values.dtype.str, list(values.shape)]]}, [values]
