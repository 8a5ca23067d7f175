"""Formats of files with arrays: one module for each, which defines `FORMAT`.

Other packages add formats through the entry-point group `opdsl.array_formats`, name to
`ArrayFormat`; they are tried if none of ours matches.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from opdsl.data.arrays.listing import ArrayFile
from opdsl.data.io.data_file import DataFile
from opdsl.registry import Registry


@dataclass(frozen=True, slots=True)
class ArrayFormat:
    """A container of arrays.

    Attributes:
        summary: what can be read, as a phrase for messages: `HDF5 (.h5, .hdf5, .mat v7.3)`.
        matches: tests a file by its first bytes, its contents or, where neither can tell, its name.
        open: opens a file for the duration of a block. Raises OpError: OP0610 the file is damaged
            or too large, OP0615 it points outside itself; where a library is missing OP0610 with
            the extra to install.
    """

    summary: str
    matches: Callable[[DataFile], bool]
    open: Callable[[DataFile], AbstractContextManager[ArrayFile]]


FORMATS: Registry[ArrayFormat] = Registry(__name__, "FORMAT", "opdsl.array_formats")
