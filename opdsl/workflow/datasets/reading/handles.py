"""Handles on data sets whose samples can be read in any order, without reading all of them."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Protocol

from opdsl.data.arrays.mapping import Opened
from opdsl.data.bind.samples import Fields
from opdsl.data.derive.coarsen import Resolution
from opdsl.data.io.rows.row_files import RowFiles
from opdsl.workflow.datasets.reading.coarser import coarser
from opdsl.workflow.datasets.reading.mapped import DataMap, MappedSource


class Handle(Protocol):
    """A data set, of which samples are read when they are asked for.

    Attributes:
        source: the path as the user wrote it.
    """

    @property
    def source(self) -> str: ...  # noqa: D102  the class says it
    def __len__(self) -> int: ...
    def read(self, rows: Sequence[int]) -> Fields:
        """Read samples, at the resolution of the handle, without fingerprint and suspects.

        Raises:
            OpError: OP0610, the values cannot be read.
        """
        ...

    def stored(self, rows: Sequence[int], names: Collection[str] | None = None) -> Fields:
        """Read fields of samples as they count for the fingerprint of the data set."""
        ...


class FileHandle:
    """A data set of files whose layout states which fields they have."""

    def __init__(self, files: RowFiles) -> None:
        self._files = files
        self.source = files.source

    def __len__(self) -> int:
        return len(self._files)

    def read(self, rows: Sequence[int]) -> Fields:
        """Read samples; see `Handle.read`."""
        return self._files.read(rows)

    def stored(self, rows: Sequence[int], names: Collection[str] | None = None) -> Fields:
        """Read fields; see `Handle.stored`."""
        return self._files.read(rows, names)


class MappedHandle:
    """A data set whose arrays a program names; the files stay open."""

    def __init__(
        self, data_map: DataMap, mapped: MappedSource, resolution: Resolution | None
    ) -> None:
        self._map, self._mapped, self._resolution = data_map, mapped, resolution
        self.source = mapped.data.source
        self._files = Opened(mapped.data.paths, self.source)
        self._process = os.getpid()

    def __len__(self) -> int:
        return len(self._mapped)

    def read(self, rows: Sequence[int]) -> Fields:
        """Read samples; see `Handle.read`."""
        fields = self.stored(rows)
        return fields if self._resolution is None else coarser(fields, self._resolution)

    def stored(self, rows: Sequence[int], names: Collection[str] | None = None) -> Fields:
        """Read fields; see `Handle.stored`."""
        if self._process != os.getpid():
            self._files.forked()
            self._process = os.getpid()
        return self._map.read(self._mapped, rows, names, self._files, judged=False)
