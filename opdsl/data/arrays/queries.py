"""Arrays whose rows are queries: rows with equal inputs become one sample with its points."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opdsl.data.arrays.axes import QUERY, Target
from opdsl.data.arrays.faults import wrong_axes
from opdsl.data.arrays.mapping import WIDEST, MappedData, Opened, read_samples
from opdsl.data.arrays.parts import ArrayPart, Files
from opdsl.data.io.memory_budget import data_budget, too_large_for_memory
from opdsl.diagnostics import fault

Array = NDArray[Any]
MOST_CACHED = 4  # data sets whose groups are remembered
CHUNK = 1 << 16  # rows that are compared at a time


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Rows with equal inputs, which are one sample.

    Attributes:
        order: the rows, those of the first sample first, (rows,).
        bounds: where the samples begin in `order`, and its length, (samples + 1,).
    """

    order: NDArray[np.int64]
    bounds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of queries of each sample."""
        return np.diff(self.bounds)

    def described(self) -> str:
        """Write how rows become samples: `900 rows are 30 samples of 30 queries`."""
        low, high = int(self.sizes.min()), int(self.sizes.max())
        some = f"{low}" if low == high else f"{low} to {high}"
        samples = "1 sample" if len(self) == 1 else f"{len(self)} samples"
        return f"{len(self.order)} rows are {samples} of {some} quer{'y' if high == 1 else 'ies'}"


@dataclass(frozen=True, slots=True, eq=False)
class QueryRows:
    """The samples of a data set some of whose rows were read.

    Attributes:
        arrays: input -> (samples, channels, *grid); output -> (queries, channels), those of the
            samples one after the other; domain of points -> (queries, coordinates).
        rows: which row of the file each query is.
        sizes: number of queries of each sample.
    """

    arrays: Mapping[str, Array]
    rows: NDArray[np.int64]
    sizes: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class QueryData:
    """A data set of queries, grouped to samples; it is read whole.

    Attributes:
        data: its rows as samples, in which an output and a point of a row are vectors.
        groups: which rows are one sample.
    """

    data: MappedData
    groups: Groups

    @property
    def targets(self) -> tuple[Target, ...]:
        """Inputs, outputs and domains of points."""
        return self.data.targets

    @property
    def source(self) -> str:
        """The path as the user wrote it."""
        return self.data.source

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""
        return self.data.paths

    @property
    def parts(self) -> Mapping[str, tuple[ArrayPart, ...]]:
        """Input, output or domain of points -> its arrays."""
        return self.data.parts

    @property
    def starts(self) -> tuple[int, ...]:
        """One window, as there is no time."""
        return (0,)

    @property
    def by_rows(self) -> bool:
        """Queries are read whole."""
        return False

    def __len__(self) -> int:
        return len(self.groups)

    def read(
        self, rows: Sequence[int], names: Collection[str] | None = None, files: Opened | None = None
    ) -> QueryRows:
        """Read samples; the arguments are those of `MappedData.read`.

        Raises:
            OpError: OP0610, the values are damaged or too many for the memory.
        """
        bounds, order = self.groups.bounds, self.groups.order
        parts = [order[bounds[i] : bounds[i + 1]] for i in rows]
        chosen = np.concatenate(parts) if parts else order[:0]
        first, last = (int(chosen.min()), int(chosen.max()) + 1) if parts else (0, 0)
        targets = [x for x in self.data.targets if names is None or x.name in names]
        refuse_large(self.data, targets, last - first)
        arrays: dict[str, Array] = {}
        for target in targets:
            whole = read_rows(self.data, target, first, last, files)
            heads = np.array([x[0] for x in parts], dtype=np.int64)
            arrays[target.name] = whole[(chosen if of_points(target) else heads) - first]
        return QueryRows(arrays, chosen, np.array([len(x) for x in parts], dtype=np.int64))


def of_points(target: Target) -> bool:
    """Whether a target has a value at each query, and not at each sample."""
    return target.kind in {"points", "coordinates"}


def has_queries(data: MappedData) -> bool:
    """Whether rows of the arrays are queries."""
    return any(x.by_query for parts in data.parts.values() for x in parts)


def grouped(files: Files, data: MappedData) -> QueryData:
    """Group the rows of a data set; the inputs are read for it.

    Raises:
        OpError: OP0661, some arrays have an axis of queries, and others do not; OP0684, there is no
            input by which rows could be grouped; OP0610, the inputs cannot be read.
    """
    for target in data.targets:
        for part in data.parts[target.name]:
            if not part.by_query:
                why = f"other arrays have an axis `{QUERY}`, so `{target.name}` should, too"
                raise wrong_axes(files, part.pieces[0].name, part.pieces[0].stored, why)
    inputs = [x for x in data.targets if not x.output and not of_points(x) and not x.mask]
    if not inputs:
        message = "rows are queries, and there is no input that says which of them are one sample"
        helps = ("give the points of each sample: (sample, point, coordinate)",)
        raise fault("OP0684", message, helps=helps, file=data.source)
    key = _key(data, inputs)
    if key not in _CACHE:
        refuse_large(data, inputs, data.samples)
        with Opened(data.paths, data.source) as opened:
            columns = [read_rows(data, x, 0, data.samples, opened) for x in inputs]
        _CACHE[key] = group_rows([x.reshape(len(x), -1) for x in columns])
        while len(_CACHE) > MOST_CACHED:
            _CACHE.popitem(last=False)
    return QueryData(data, _CACHE[key])


_CACHE: OrderedDict[Any, Groups] = OrderedDict()


def _key(data: MappedData, inputs: Sequence[Target]) -> Any:
    """Return what the groups of a data set depend on: its files, and the arrays of the inputs."""
    stats = [(str(x.resolve()), x.stat().st_mtime_ns, x.stat().st_size) for x in data.paths]
    parts = [(y.text, y.axes) for x in inputs for y in data.parts[x.name]]
    return tuple(stats), tuple(parts)


def refuse_large(data: MappedData, targets: Sequence[Target], rows: int) -> None:
    """Refuse more rows than the memory holds.

    Raises:
        OpError: OP0610.
    """
    size = rows * sum(data.numbers(x) for x in targets) * WIDEST
    if size > (cap := data_budget()):
        raise too_large_for_memory(f"{rows} rows", size, cap, data.source)


def read_rows(
    data: MappedData, target: Target, first: int, last: int, files: Opened | None
) -> Array:
    """Read rows of a target as (rows, channels, *grid)."""
    if files is None:
        with Opened(data.paths, data.source) as opened:
            return read_rows(data, target, first, last, opened)
    parts = [read_samples(x, files, first, last) for x in data.parts[target.name]]
    joined = parts[0] if len(parts) == 1 else np.concatenate(parts, 2)
    return joined.reshape(len(joined), -1, *joined.shape[3:])


def group_rows(columns: Sequence[Array]) -> Groups:
    """Group rows that are equal in all columns, in the order in which they appear first.

    Equality is that of numbers: 0.0 equals -0.0, and NaN equals nothing. Rows are compared with
    the first row that has their checksum, so that no collision makes two samples one.

    Args:
        columns: each (rows, numbers).
    """
    sums = _checksums(columns)
    _, first, label = np.unique(sums, return_index=True, return_inverse=True)
    if not _equal(columns, first[label]):  # a collision of checksums, or NaN
        label = _exact(columns)
        _, first, label = np.unique(label, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    label = rank[label.reshape(-1)]
    order = np.argsort(label, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.bincount(label, minlength=len(first)))])
    return Groups(order.astype(np.int64), bounds.astype(np.int64))


def _checksums(columns: Sequence[Array]) -> NDArray[np.uint64]:
    """Return a sum of 64 bits of each row, with odd random factors, modulo 2^64.

    Source: Dietzfelbinger et al. 1997, "A reliable randomized algorithm for the closest-pair
    problem" (multiply-shift hashing).
    """
    random = np.random.default_rng(0)
    sums = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        width = prod(column.shape[1:])
        factors = random.integers(0, 2**63, size=width, dtype=np.uint64) * np.uint64(2) + 1
        for start in range(0, len(column), CHUNK):
            rows = column[start : start + CHUNK].reshape(-1, width).astype(np.float64) + 0.0
            bits = rows.view(np.uint64)
            bits = (bits ^ (bits >> np.uint64(29))) * factors
            bits ^= bits >> np.uint64(32)
            sums[start : start + CHUNK] += bits.sum(1, dtype=np.uint64)
    return sums


def _equal(columns: Sequence[Array], like: NDArray[np.int64]) -> bool:
    """Whether each row equals the row `like` says."""
    return all(
        np.array_equal(x[start : start + CHUNK], x[like[start : start + CHUNK]])
        for x in columns
        for start in range(0, len(x), CHUNK)
    )


def _exact(columns: Sequence[Array]) -> NDArray[np.int64]:
    """Return a label of each row, by comparison of all numbers."""
    rows = np.concatenate([x.astype(np.float64) + 0.0 for x in columns], 1)
    missing = np.isnan(rows).any(1)
    _, label = np.unique(rows, axis=0, return_inverse=True)
    label = label.reshape(-1).astype(np.int64)
    label[missing] = len(rows) + np.arange(int(missing.sum()))
    return label
