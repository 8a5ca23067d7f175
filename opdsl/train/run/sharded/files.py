"""Files of safetensors that are written as a stream, with their hash, and read whole.

`safetensors.torch.save` would hold a second copy of the tensors in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from opdsl.files import NEW, naming, open_regular, write_all
from opdsl.train.run.sharded.layout import DTYPES, REAL

CHUNK = 16 << 20  # bytes that are written or hashed at once


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that is on the disk.

    Attributes:
        name: in its folder.
        bytes: its size.
        sha256: of its content as it was in memory.
    """

    name: str
    bytes: int
    sha256: str

    def to_json(self) -> dict[str, object]:
        """Return the entry of the manifest."""
        return {"bytes": self.bytes, "sha256": self.sha256}


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> WrittenFile:
    """Write a new file of safetensors and bring it to the disk.

    Args:
        path: where no file is.
        tensors: on the CPU, by name.

    Raises:
        OSError: it could not be written.
    """
    header, end = {}, 0
    for name, x in tensors.items():
        pairs = (2,) if x.is_complex() else ()
        start, end = end, end + x.numel() * x.element_size()
        dtype = DTYPES[REAL.get(x.dtype, x.dtype)]
        entry = {"dtype": dtype, "shape": [*x.shape, *pairs], "data_offsets": [start, end]}
        header[name] = entry
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with naming(path):
        handle = os.open(path, NEW | os.O_NOFOLLOW, 0o644)
        try:
            content = _HashedFile(handle)
            content.write(len(text).to_bytes(8, "little"))
            content.write(text)
            for x in tensors.values():
                content.write(_bytes_of(x))
            os.fsync(handle)
        finally:
            os.close(handle)
    return WrittenFile(path.name, content.bytes, content.hash.hexdigest())


class _HashedFile:
    """An open file whose content is hashed from memory, so that a bad write is noticed."""

    def __init__(self, handle: int) -> None:
        self.handle, self.bytes, self.hash = handle, 0, hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        for start in range(0, len(data), CHUNK):
            part = data[start : start + CHUNK]
            self.hash.update(part)
            write_all(self.handle, part)
        self.bytes += len(data)


def _bytes_of(x: Tensor) -> memoryview:
    """Return the memory of a tensor without a copy, if it is contiguous."""
    flat = x.detach().contiguous().flatten()
    if not flat.numel():
        return memoryview(b"")
    real = torch.view_as_real(flat).flatten() if flat.is_complex() else flat
    return real.view(torch.uint8).numpy().data


def sha256_of(path: Path) -> str:
    """Return the hash of a regular file, of which little is in memory at once.

    Raises:
        OSError: it cannot be read.
    """
    with os.fdopen(open_regular(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file, naming(path):
        return hashlib.file_digest(file, "sha256").hexdigest()


def part_of(
    data: Mapping[str, Tensor], name: str, shape: tuple[int, ...], dtype: torch.dtype
) -> Tensor:
    """Return a part from the tensors of a file.

    Args:
        data: tensors by name, as safetensors returns them.
        name: of the part.
        shape: that it is to have.
        dtype: of the tensor that it is a part of.

    Raises:
        LookupError: there is none.
        ValueError: it has another shape or type.
    """
    x = data[name]
    real = REAL.get(dtype, dtype)
    wanted = (*shape, 2) if dtype in REAL else shape
    if x.dtype != real or tuple(x.shape) != wanted:
        raise ValueError(f"`{name}` has another shape or type than the manifest says")
    return torch.view_as_complex(x) if dtype in REAL else x
