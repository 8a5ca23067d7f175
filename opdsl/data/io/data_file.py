"""A data file before its format is known: its first bytes and the contents of its container."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from opdsl.data.io.hdf5.safe_h5 import Hdf5File, open_hdf5
from opdsl.diagnostics import fault

HDF5 = b"\x89HDF\r\n\x1a\n"
HDF5_STARTS = (0, 512, 1024, 2048)  # a user block of a power of two may come first
HEAD = HDF5_STARTS[-1] + len(HDF5)
ZIP = b"PK\x03\x04"
PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")

Container = Literal["hdf5", "zip", "pickle"]


@dataclass(slots=True)
class DataFile:
    """A file whose format is being determined.

    Attributes:
        path: the file.
        source: the path as the user wrote it, for messages.
        head: its first bytes, `HEAD` at most.
        container: the general file format inside which its layout is; None if it is none of these.
    """

    path: Path
    source: str
    head: bytes
    container: Container | None
    _stack: ExitStack = field(repr=False)
    _hdf5: Hdf5File | None = field(default=None, repr=False)

    @property
    def hdf5(self) -> Hdf5File:
        """The contents of an HDF5 file, open as long as this is.

        Raises:
            OpError: OP0610 the file is damaged, OP0615 it points outside itself.
        """
        if self._hdf5 is None:
            self._hdf5 = self._stack.enter_context(open_hdf5(self.path, source=self.source))
        return self._hdf5

    def members(self) -> tuple[str, ...]:
        """List the names in a zip archive.

        Raises:
            OpError: OP0610, the archive is damaged.
        """
        try:
            with zipfile.ZipFile(self.path) as archive:
                return tuple(archive.namelist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            message = "the file is damaged or incomplete"
            helps = ("copy or make it again; a file whose writing was cut short cannot be read",)
            raise fault("OP0610", message, helps=helps, file=self.source) from error


@contextmanager
def open_data_file(path: Path, source: str) -> Iterator[DataFile]:
    """Open a file, or a folder that is one, for the duration of the block.

    Raises:
        OSError: it cannot be read.
    """
    head = b""
    if not path.is_dir():  # a zarr store is a folder
        with path.open("rb") as file:
            head = file.read(HEAD)
    with ExitStack() as stack:
        yield DataFile(path, source, head, _container(head), stack)


def _container(head: bytes) -> Container | None:
    if any(head[i : i + len(HDF5)] == HDF5 for i in HDF5_STARTS):
        return "hdf5"
    if head.startswith(ZIP):
        return "zip"
    return "pickle" if head.startswith(PICKLES) else None
