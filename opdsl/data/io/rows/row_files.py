"""`open_rows`: a data set as a handle, whose samples are read in any order when asked for."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from itertools import accumulate
from os import PathLike
from pathlib import Path

import torch

from opdsl.data.bind.samples import Fields
from opdsl.data.derive.coarsen import Layout, Resolution
from opdsl.data.io.data_file import open_data_file
from opdsl.data.io.dataset import fields_of, format_of
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import ReadOptions, RowReader
from opdsl.data.io.joining import refuse_other_layout
from opdsl.data.io.locate import data_files, unopened
from opdsl.data.io.rows.unchanged import Unchanged
from opdsl.nn.points.batch import all_values

MOST_OPEN = 16  # files: systems allow a few hundred to a process


class RowFiles:
    """The files of a data set, opened when they are needed, in each process for itself."""

    def __init__(self, paths: Sequence[Path], source: str, options: ReadOptions) -> None:
        self.paths, self.source, self.options = tuple(paths), source, options
        self._open: dict[int, tuple[ExitStack, RowReader]] = {}
        self._process = os.getpid()
        self._ends: list[int] = []
        self._unchanged = Unchanged()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}

    def survey(self) -> bool:
        """Open every file once, and compare their layouts; False if one must be read whole.

        Raises:
            OpError: OP0610, a file is damaged, or has another layout than the first.
        """
        counts: list[int] = []
        first: FileFields | None = None
        for i in range(len(self.paths)):
            rows = self._rows(i)
            if rows is None:
                return False
            head = rows.read([0] if len(rows) else [])
            first = first or head
            refuse_other_layout(first, head, self._name(i))
            counts.append(len(rows))
        self._ends = list(accumulate(counts))
        return bool(self._ends and self._ends[-1])

    def __len__(self) -> int:
        return self._ends[-1]

    def read(self, rows: Sequence[int], names: Collection[str] | None = None) -> Fields:
        """Read samples of all files in the order of `rows`, without fingerprint and suspects.

        Args:
            rows: indices of samples.
            names: fields to read; all if None.

        Raises:
            OpError: OP0610, the values are damaged.
        """
        files = [bisect_right(self._ends, i) for i in rows]
        parts: list[FileFields] = []
        places: list[int] = []  # in `rows`, of the samples of the parts one after the other
        for k in dict.fromkeys(files):
            before = self._ends[k - 1] if k else 0
            own = [place for place, file in enumerate(files) if file == k]
            reader = self._rows(k)
            assert reader is not None
            parts.append(reader.read([rows[place] - before for place in own], names))
            places += own
        if len(parts) == 1:
            return fields_of(parts[0], self.source, min(rows, default=0))
        back = torch.argsort(torch.tensor(places))
        values = {
            k: torch.cat([all_values(x.values[k]) for x in parts])[back] for k in parts[0].values
        }
        return fields_of(parts[0], self.source, min(rows), values)

    def _name(self, i: int) -> str:
        return self.source if len(self.paths) == 1 else str(self.paths[i])

    def _rows(self, i: int) -> RowReader | None:
        """Return the open file; those of another process, from which this one was forked, stay."""
        if self._process != os.getpid():
            self._open, self._process = {}, os.getpid()
        name = self._name(i)
        self._unchanged.refuse_changed(self.paths[i], name)
        if i not in self._open:
            if len(self._open) == MOST_OPEN:
                self._open.pop(next(iter(self._open)))[0].close()
            stack = ExitStack()
            try:
                file = stack.enter_context(open_data_file(self.paths[i], name))
                form = format_of(file)
                rows = form.rows(file, self.options, stack) if form.rows else None
            except OSError as error:
                raise unopened(error, name) from error
            if rows is None:
                stack.close()
                return None
            self._open[i] = stack, rows
        return self._open[i][1]


def open_rows(
    path: str | PathLike[str],
    *,
    split: str | None = None,
    resolution: Resolution | None = None,
    layout: Layout | None = None,
) -> RowFiles | None:
    """Open a data set whose samples can be read in any order; None if it must be read whole.

    HDF5 as The Well lays it out and pairs `x` and `y` in .npz and .pt that are not compressed can.

    Args:
        path, split, resolution, layout: as for `opdsl.data.io.dataset.open_dataset`.

    Raises:
        OpError: as `open_dataset`.
    """
    source = str(path)
    files = RowFiles(
        data_files(Path(path), split, source), source, ReadOptions(resolution, None, None, layout)
    )
    return files if files.survey() else None
