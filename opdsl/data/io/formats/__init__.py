"""Formats of data files: one module for each, which defines `FORMAT`.

A file is read by the first format that matches its content. Other packages add formats through the
entry-point group `opdsl.formats`, name to `Format`; they are tried if none of ours matches.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from inspect import cleandoc
from typing import Protocol

from opdsl.data.derive.coarsen import Layout, Resolution
from opdsl.data.io.data_file import DataFile
from opdsl.data.io.file_fields import FileFields
from opdsl.registry import Registry

Pieces = tuple[int, Iterator[FileFields]]  # the number of samples; the pieces


class RowReader(Protocol):
    """The samples of an open file, which are read in any order."""

    def __len__(self) -> int: ...
    def read(self, rows: Sequence[int], names: Collection[str] | None = None) -> FileFields:
        """Read samples; of all fields, or of those with these names.

        Raises:
            OpError: OP0610, the values are damaged or too many for the memory.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Which part of a file to read.

    Attributes:
        resolution: keep every k-th point only; one integer stands for all axes.
        samples: keep the first ones only.
        input_axes: number of grid axes of inputs, for a file that may lack outputs: nothing else
            distinguishes channels from axes in plain arrays.
        layout: where the points are, if the file does not state it; None: unknown.
    """

    resolution: Resolution | None = None
    samples: int | None = None
    input_axes: int | None = None
    layout: Layout | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """A layout of data files.

    Attributes:
        summary: what can be read, as a sentence for messages.
        description: the layout, for the reference.
        matches: tests whether a file has this layout, by its first bytes or its contents.
        read: reads the fields of a file. Raises OpError: OP0610 the file is damaged, OP0614 no
            such resolution, and others by the format.
        stream: called with (file, samples at a time, input axes), reads the samples piece by piece,
            or returns None if the file must be read whole. None: the format has no such reader.
        rows: called with (file, options, stack that closes what is opened), returns a reader of
            single samples, or None if the file must be read whole. None: the format has none.
    """

    summary: str
    description: str
    matches: Callable[[DataFile], bool]
    read: Callable[[DataFile, ReadOptions], FileFields]
    stream: Callable[[DataFile, int, int | None], Pieces | None] | None = None
    rows: Callable[[DataFile, ReadOptions, ExitStack], RowReader | None] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "description", cleandoc(self.description))


FORMATS: Registry[Format] = Registry(__name__, "FORMAT", "opdsl.formats")
