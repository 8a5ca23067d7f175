"""The table of the tensors of a sharded checkpoint: which part of each is in which file.

It stands in the manifest as `tensors`. A part is a range of rows along one axis, as `fully_shard`
divides parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

# as safetensors names them; complex numbers are stored as pairs of real ones
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
REAL = {torch.complex128: torch.float64, torch.complex64: torch.float32}
_BY_NAME = {str(x).removeprefix("torch."): x for x in (*DTYPES, *REAL)}
LARGEST_RANK = 64  # axes of a tensor

StatePath = tuple[str | int, ...]


class LayoutError(ValueError):
    """The table of a checkpoint contradicts itself; the text says how."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a tensor in a file.

    Attributes:
        file: of the checkpoint.
        name: of the part in the file.
        offset: of its first element, one index for each axis.
        shape: of the part.
    """

    file: str
    name: str
    offset: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of a state, in parts.

    Attributes:
        path: keys and indices that lead to it in the state.
        dtype: of the tensor.
        shape: of the whole tensor.
        shards: its parts, which cover it without overlap; none where it has no elements.
    """

    path: StatePath
    dtype: torch.dtype
    shape: tuple[int, ...]
    shards: tuple[Shard, ...]

    def __post_init__(self) -> None:
        """Refuse parts that leave gaps or overlap.

        Raises:
            LayoutError: they do.
        """
        if not covers(self.shape, [(x.offset, x.shape) for x in self.shards]):
            raise LayoutError(f"the parts of `{text_of(self.path)}` do not cover it")

    @property
    def bytes(self) -> int:
        """The size of the whole tensor."""
        return prod(self.shape) * self.dtype.itemsize

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the manifest."""
        return {
            "path": list(self.path),
            "dtype": str(self.dtype).removeprefix("torch."),
            "shape": list(self.shape),
            "shards": [[x.file, x.name, list(x.offset), list(x.shape)] for x in self.shards],
        }

    @classmethod
    def of_json(cls, entry: Mapping[str, Any]) -> StoredTensor:
        """Read an entry of the manifest, which may come from a stranger.

        Raises:
            LayoutError: it contradicts itself.
            LookupError, TypeError, ValueError: a field is missing or of another type.
        """
        path = tuple(entry["path"])
        if not path or not all(isinstance(x, str | int) for x in path):
            raise LayoutError("a path is no list of texts and numbers")
        shards = tuple(
            Shard(str(file), str(name), _sizes(offset), _sizes(shape))
            for file, name, offset, shape in entry["shards"]
        )
        return cls(path, _BY_NAME[entry["dtype"]], _sizes(entry["shape"]), shards)


def covers(shape: Sequence[int], parts: Iterable[tuple[Sequence[int], Sequence[int]]]) -> bool:
    """Return whether parts follow one another along one axis and fill the shape.

    Args:
        shape: of the tensor.
        parts: offset and shape of each part.
    """
    known = sorted((tuple(offset), tuple(part)) for offset, part in parts)
    if not prod(shape):
        return not known
    if not known or any(len(x) != len(shape) or len(y) != len(shape) for x, y in known):
        return False
    divided = [i for i in range(len(shape)) if known[0][1][i] != shape[i]]
    if not divided:
        return len(known) == 1 and not any(known[0][0])
    axis, end = divided[0], 0
    for offset, part in known:
        others = all(offset[i] == 0 and part[i] == n for i, n in enumerate(shape) if i != axis)
        if not others or offset[axis] != end or part[axis] < 1:
            return False
        end += part[axis]
    return end == shape[axis]


def text_of(path: StatePath) -> str:
    """Return a path of a state as a text."""
    return "/".join(map(str, path))


def _sizes(values: Any) -> tuple[int, ...]:
    """Return sizes or offsets.

    Raises:
        LayoutError: they are no whole numbers from 0 upwards.
    """
    sizes = tuple(values)
    if len(sizes) > LARGEST_RANK or not all(type(x) is int and 0 <= x < 2**62 for x in sizes):
        raise LayoutError("sizes are no list of whole numbers")
    return sizes
