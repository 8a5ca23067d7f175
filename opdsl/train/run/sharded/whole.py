"""Whole tensors from a sharded checkpoint, in one process: for `predict` and other worlds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from opdsl.files import read_regular
from opdsl.memory import free_memory
from opdsl.train.run.sharded.files import part_of
from opdsl.train.run.sharded.layout import LayoutError, Shard, StatePath, StoredTensor, text_of

TENSORS = "tensors"  # of the manifest
READ_ERRORS = (OSError, ValueError, LookupError, TypeError, SafetensorError)


def tensors_of(manifest: Mapping[str, Any]) -> list[StoredTensor]:
    """Return the table of the tensors of a checkpoint; empty where it has no shards.

    Raises:
        LookupError, TypeError, ValueError: it cannot be read, or contradicts itself.
    """
    tensors = [StoredTensor.of_json(x) for x in manifest.get(TENSORS, [])]
    if len({x.path for x in tensors}) < len(tensors):
        raise LayoutError("a tensor is listed twice")
    files = {shard.file for x in tensors for shard in x.shards}
    if strangers := files - manifest["files"].keys():
        raise LayoutError(f"`{min(strangers)}` is not among the files")
    return tensors


def read_whole(folder: Path, manifest: Mapping[str, Any]) -> dict[StatePath, Tensor]:
    """Read all tensors of a checkpoint, after comparing the hash of each file.

    Args:
        folder: the checkpoint.
        manifest: its table of files and tensors.

    Raises:
        LookupError, TypeError, ValueError, OSError, SafetensorError: anything is missing, differs,
            or is too large.
    """
    tensors = tensors_of(manifest)
    sizes = sum(int(x["bytes"]) for x in manifest["files"].values())
    total = sum(x.bytes for x in tensors)
    if total > min(sizes, free_memory() // 2):
        raise LayoutError(f"its tensors have {total:,} bytes, more than there is room for")
    whole = {x.path: torch.empty(x.shape, dtype=x.dtype) for x in tensors}
    places = sorted(_places(tensors), key=lambda x: x[1].file)
    for file, some in groupby(places, key=lambda x: x[1].file):
        data = read_verified(folder / file, manifest["files"][file])
        parts = load(data)
        for path, shard in some:
            target = whole[path]
            part = part_of(parts, shard.name, shard.shape, target.dtype)
            region(target, shard.offset, shard.shape).copy_(part)
    return whole


def read_verified(path: Path, entry: Mapping[str, Any]) -> bytes:
    """Read a file whole and compare its hash.

    Args:
        path: the file.
        entry: of the manifest.

    Raises:
        OSError: it cannot be read, or is too large.
        LayoutError: its content is not what was written.
    """
    data = read_regular(path, free_memory() // 2, os.O_RDONLY | os.O_NOFOLLOW)
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise LayoutError("its content is not what was written")
    return data


def region(x: Tensor, offset: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Return a view of a part of a tensor."""
    for axis, (start, length) in enumerate(zip(offset, shape, strict=True)):
        x = x.narrow(axis, start, length)
    return x


def insert(state: dict[str, Any], tensors: Mapping[StatePath, Any]) -> None:
    """Put tensors into the places of a state that were left empty for them.

    Raises:
        LayoutError: a place is not there, or not empty.
    """
    for path, x in tensors.items():
        home: Any = state
        try:
            for key in path[:-1]:
                home = home[key]
            occupied = home[path[-1]] is not None
        except (LookupError, TypeError) as error:
            raise LayoutError(f"the state has no place for `{text_of(path)}`") from error
        if occupied or not isinstance(home, dict | list):
            raise LayoutError(f"the state has another value at `{text_of(path)}`")
        home[path[-1]] = x  # type: ignore[index]  # a key, or an index of a list


def _places(tensors: Iterable[StoredTensor]) -> Iterator[tuple[StatePath, Shard]]:
    for x in tensors:
        for shard in x.shards:
            yield x.path, shard
