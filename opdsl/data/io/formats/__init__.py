"""Formats of data files: one module for each, which defines `FORMAT`.

A file is read by the first format that knows it by its content. Other packages add formats through
the entry-point group `opdsl.formats`, name to `Format`; they are asked where none of ours fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import cleandoc

from opdsl.data.derive.coarsen import Resolution
from opdsl.data.io.data_file import DataFile
from opdsl.data.io.file_fields import FileFields
from opdsl.registry import Registry

Pieces = tuple[int, Iterator[FileFields]]  # how many samples there are, then some at a time


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Which part of a file to read.

    Attributes:
        resolution: keep every k-th point only; one integer stands for all axes.
        samples: keep the first ones only.
        input_axes: axes of the grid of inputs, for a file that need not have outputs: nothing else
            tells channels from axes in plain arrays.
    """

    resolution: Resolution | None = None
    samples: int | None = None
    input_axes: int | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """A layout of data files.

    Attributes:
        summary: what can be read, as a sentence for messages.
        description: the layout, for the reference.
        matches: whether a file has this layout, by its first bytes or its contents.
        read: the fields of a file. Raises OpError: OP0610 the file is damaged, OP0614 there is no
            such resolution, and others by the format.
        stream: (file, samples at a time, input axes) to the samples piece by piece; None where the
            file cannot be read so. A format without it is read whole.
    """

    summary: str
    description: str
    matches: Callable[[DataFile], bool]
    read: Callable[[DataFile, ReadOptions], FileFields]
    stream: Callable[[DataFile, int, int | None], Pieces | None] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "description", cleandoc(self.description))


FORMATS: Registry[Format] = Registry(__name__, "FORMAT", "opdsl.formats")
