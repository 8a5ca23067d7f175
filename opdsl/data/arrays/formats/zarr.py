"""zarr stores of the versions 2 and 3: folders, and `.zip` files of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opdsl.data.arrays.containers.admission import admit, damage, selected
from opdsl.data.arrays.containers.packing import decode
from opdsl.data.arrays.containers.zarr_metadata import ZarrArray, ZarrTree, read_tree
from opdsl.data.arrays.formats import ArrayFormat
from opdsl.data.arrays.listing import ArrayFile, ArrayInfo
from opdsl.data.io.data_file import DataFile
from opdsl.data.io.foreign.process import Limits, ask_arrays, outside
from opdsl.data.io.key_store import OutsideError, open_store
from opdsl.data.io.memory_budget import data_budget, too_large_for_memory
from opdsl.diagnostics import fault

WORKER = "opdsl.data.io.foreign.zarr_reader"
ROOT = "data"  # name of an array that is the store itself
METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
MOST_CHUNKS = 100_000  # in one read; each is a file
SECONDS = 1.0  # of the processor, for any read
SECONDS_PER_CHUNK = 2e-3
SECONDS_PER_BYTE = 5e-8
MEMORY = 512 << 20  # bytes, for any read
AT_ONCE = 16  # chunks that zarr decodes side by side, each copied a few times
COPIES = 4


@dataclass(slots=True)
class _ZarrArrays:
    """The `ArrayFile` of a store."""

    source: str
    path: Path
    stored: Mapping[str, ZarrArray]
    attributes: Mapping[str, Any]
    groups: Mapping[str, Mapping[str, Any]]
    format: str
    arrays: Mapping[str, ArrayInfo] = field(init=False)

    def __post_init__(self) -> None:
        self.arrays = {k: x.info for k, x in self.stored.items()}

    def read(self, name: str, index: Sequence[slice] = ()) -> NDArray[Any]:
        """Read an array, or the part that `index` selects; see `ArrayFile.read`."""
        array, info = self.stored[name], self.arrays[name]
        ranges = selected(info.shape, index)
        admit(name, info, ranges, self.source)
        limits = self._limits(name, array, ranges)
        if not prod(map(len, ranges)):
            return np.empty(tuple(map(len, ranges)), info.dtype)
        if find_spec("zarr") is None:
            helps = ("install it: pip install 'opdsl[zarr]'",)
            raise fault("OP0610", "reading zarr needs zarr", helps=helps, file=self.source)
        request = {
            "name": array.path,
            "version": array.version,
            "index": [[r.start, r.stop, r.step] for r in ranges],
        }
        _, values = ask_arrays(self.path, WORKER, request, limits, self.source)
        packed = values["values"]
        if packed.shape != tuple(map(len, ranges)) or packed.dtype != array.stored.newbyteorder(
            "<"
        ):
            message = f"`{name}` is not what its metadata say"
            raise fault("OP0610", message, file=self.source)
        return decode(packed, array.packing, self.source)

    def _limits(self, name: str, array: ZarrArray, ranges: Sequence[range]) -> Limits:
        """Refuse codecs that are not read and chunks that do not fit; limit what a read costs."""
        if unknown := array.unknown_codecs:
            raise fault(
                "OP0610",
                f"`{name}` is encoded by `{unknown[0]}`, which is not read",
                notes=("codecs of other packages and of Python objects may run code",),
                helps=("write the array again with a compressor of zarr: zstd, blosc or gzip",),
                file=self.source,
            )
        chunk = prod(array.chunks) * array.stored.itemsize
        if chunk > (cap := data_budget()):
            raise too_large_for_memory(f"one chunk of `{name}`", chunk, cap, self.source)
        pairs = [(r, n) for r, n in zip(ranges, array.chunks, strict=True) if r]
        count = prod(r[-1] // n - r[0] // n + 1 for r, n in pairs)
        if count > MOST_CHUNKS:
            message = f"`{name}` would be read from {count:,} chunks, at most {MOST_CHUNKS:,}"
            helps = ("read fewer samples at a time, or write the array with larger chunks",)
            raise fault("OP0610", message, helps=helps, file=self.source)
        result = prod(map(len, ranges)) * array.stored.itemsize
        seconds = SECONDS + SECONDS_PER_CHUNK * count + SECONDS_PER_BYTE * chunk * count
        return Limits(seconds, MEMORY + COPIES * (result + chunk * min(count, AT_ONCE)))


@contextmanager
def _open(file: DataFile) -> Iterator[ArrayFile]:
    with damage(file.source, "the reader"):
        tree = _tree(file)
    stored = {k or ROOT: x for k, x in tree.arrays.items()}
    attributes = dict(tree.groups.get("", {}))
    if tree.skipped:
        attributes["skipped"] = [f"{k or ROOT} ({x})" for k, x in tree.skipped.items()]
    groups = {k: x for k, x in tree.groups.items() if k}
    version = next((x.version for x in stored.values()), 3)
    form = f"zarr v{version}"
    yield _ZarrArrays(file.source, file.path, stored, attributes, groups, form)


def _tree(file: DataFile) -> ZarrTree:
    try:
        return read_tree(open_store(file.path), file.source)
    except OutsideError as error:
        raise outside(str(error), file.source) from error


def _matches(file: DataFile) -> bool:
    if file.container == "zip":
        return any(x in METADATA for x in file.members())
    return file.path.is_dir() and any((file.path / x).is_file() for x in METADATA)


FORMAT = ArrayFormat("zarr v2 and v3 (a folder, or .zip)", _matches, _open)
