"""`ArrayFile`: an open file as named arrays, whose values are read only when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class ArrayInfo:
    """What a file states about one of its arrays.

    Attributes:
        shape: entries on each axis, the first axis outermost.
        dtype: the number format in which `read` returns values.
        axes: the name of each axis, where the file states it; None for an axis without a name.
        attributes: text, numbers and lists of them.
        by_rows: whether an entry of the first axis can be read without most of the others.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: tuple[str | None, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    by_rows: bool = True


class ArrayFile(Protocol):
    """An open file.

    Attributes:
        format: the format in words: `HDF5`, `MATLAB v5`, `NumPy .npz`.
        source: the path as the user wrote it.
        arrays: name -> description, in the order of the file; groups are joined by `/`.
        attributes: those of the file itself.
        groups: name of a group -> its attributes, where the format has groups.
    """

    format: str
    source: str
    arrays: Mapping[str, ArrayInfo]
    attributes: Mapping[str, Any]
    groups: Mapping[str, Mapping[str, Any]]

    def read(self, name: str, index: Sequence[slice] = ()) -> NDArray[Any]:
        """Read an array, or a part of it, in this machine's byte order.

        Args:
            name: a key of `arrays`.
            index: a slice with a positive step for each of the first axes; others are read whole.

        Raises:
            OpError: OP0610, the values are no numbers, are damaged, or do not fit into memory.
        """
        ...


def in_a_row(rows: Sequence[int]) -> Iterator[range]:
    """Group indices into ranges of consecutive ones; an empty range if there are none."""
    if not rows:
        yield range(0)
    start = 0
    for i in range(1, len(rows) + 1):
        if i == len(rows) or rows[i] != rows[i - 1] + 1:
            yield range(rows[start], rows[i - 1] + 1)
            start = i
