"""Read The Well's layout of HDF5, which `opdsl.data.io.well_writing` writes.

Source: Ohana et al. 2024, arXiv:2412.00568; the layout is described in the documentation of
PolymathicAI/the_well. Fields that vary in time are read with their times as channels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from opdsl.data.bind.coordinates import thin_coordinates
from opdsl.data.bind.samples import Role
from opdsl.data.derive.coarsen import Layout, every_kth, read_layout
from opdsl.data.io.data_file import DataFile
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import Format, Pieces, ReadOptions, RowReader
from opdsl.data.io.formats._well_coordinates import coordinates_of
from opdsl.data.io.hdf5.hdf5_survey import Hdf5Array
from opdsl.data.io.hdf5.safe_h5 import Hdf5File, open_hdf5
from opdsl.data.io.unknown_layout import unknown_layout
from opdsl.data.io.well_writing import LAYOUT, ORDERS, ROLE
from opdsl.diagnostics import OpError, fault


def read(file: DataFile, options: ReadOptions) -> FileFields:
    """Read the fields of a file; the file name names a data set without a name.

    Raises:
        OpError: OP0610 the file is damaged; OP0614 no such resolution; OP0615 it points outside.
    """
    reader = _Reader(file.hdf5, file.path.stem, options)
    count = len(reader) if options.samples is None else min(len(reader), options.samples)
    return reader.read(range(count))


def stream(file: DataFile, size: int, _: int | None) -> Pieces:
    """Stream the fields of a file, `size` samples at a time.

    Raises:
        OpError: OP0610 the file is damaged; OP0615 it points outside itself.
    """
    path, source, total = file.path, file.source, count(file.hdf5)

    def pieces() -> Iterator[FileFields]:
        with open_hdf5(path, source=source) as inside:
            reader = _Reader(inside, path.stem, ReadOptions())
            for first in range(0, total, size):
                yield reader.read(range(first, min(first + size, total)))

    return total, pieces()


class _Reader:
    """The samples of an open file; what they share is read once."""

    def __init__(self, inside: Hdf5File, stem: str, options: ReadOptions) -> None:
        self._inside = inside
        axes = _axes(inside)
        have = tuple(_length(inside, a) for a in axes)
        layout = _layout(inside, axes) or options.layout or "periodic"
        want = have if options.resolution is None else options.resolution
        self._thin = every_kth(have, want, layout, source=inside.source)
        self._entries = _found(inside, have)
        self._count = _trajectories(inside, self._entries.values())
        self._about = FileFields(
            name=str(inside.groups[""].get("dataset_name") or stem),
            values={},
            roles={},
            axes=axes,
            layout=layout,
            coordinates=thin_coordinates(coordinates_of(inside, axes), axes, self._thin),
            times=_times(inside, self._entries.values()),
        )

    def __len__(self) -> int:
        return self._count

    def read(self, rows: Sequence[int], names: Collection[str] | None = None) -> FileFields:
        """Read samples; see `opdsl.data.io.formats.RowReader`."""
        entries = {k: x for k, x in self._entries.items() if names is None or k in names}
        return replace(
            self._about,
            values={k: _values(self._inside, x, rows, self._thin) for k, x in entries.items()},
            roles={k: _role(x.stored) for k, x in entries.items()},
            times={k: x for k, x in self._about.times.items() if k in entries},
            orders={k: x.order for k, x in entries.items() if x.order},
        )


def _rows(file: DataFile, options: ReadOptions, _: ExitStack) -> RowReader:
    return _Reader(file.hdf5, file.path.stem, options)


def count(inside: Hdf5File) -> int:
    """Count the samples of an open file.

    Raises:
        OpError: OP0610, it is not laid out as The Well's files.
    """
    grid = tuple(_length(inside, a) for a in _axes(inside))
    return _trajectories(inside, _found(inside, grid).values())


@dataclass(frozen=True, slots=True)
class _Entry:
    """A field in the file, and which of the axes (samples, times, *grid, *tensor) it has."""

    name: str
    path: str
    stored: Hdf5Array
    order: int
    sampled: bool
    timed: bool
    varying: tuple[bool, ...]


def _axes(inside: Hdf5File) -> tuple[str, ...]:
    names = inside.groups.get("dimensions", {}).get("spatial_dims")
    if not isinstance(names, list) or not names:
        raise _foreign(inside.source, "no group `dimensions` with the attribute `spatial_dims`")
    return tuple(str(a) for a in names)


def _length(inside: Hdf5File, axis: str) -> int:
    stored = inside.arrays.get(f"dimensions/{axis}")
    if stored is None or not stored.shape:
        raise _foreign(inside.source, f"no coordinates `dimensions/{axis}`")
    return stored.shape[-1]


def _layout(inside: Hdf5File, axes: Sequence[str]) -> Layout | None:
    """Return the layout that the file states; None for `periodic`, which may mean unknown."""
    layout = read_layout(inside.groups[""].get(LAYOUT))
    if layout == "periodic" or (isinstance(layout, tuple) and len(layout) != len(axes)):
        return None
    return layout


def _found(inside: Hdf5File, grid: tuple[int, ...]) -> dict[str, _Entry]:
    """Collect the fields by name; refuse a file with no fields or with two of one name."""
    entries: dict[str, _Entry] = {}
    for x in _entries(inside, grid):
        if x.name in entries:
            raise _foreign(inside.source, f"`{x.path}` and `{entries[x.name].path}` have one name")
        entries[x.name] = x
    if not entries:
        raise _foreign(inside.source, f"no field in {', '.join(f'`{g}`' for g in ORDERS)}")
    return entries


def _entries(inside: Hdf5File, grid: tuple[int, ...]) -> Iterator[_Entry]:
    for group, order in ORDERS.items():
        for name, stored in inside.below(group).items():
            flags = stored.attrs.get("dim_varying", [True] * len(grid))
            varying = tuple(bool(v) for v in flags) if isinstance(flags, list) else ()
            entry = _Entry(
                name,
                f"{group}/{name}",
                stored,
                order,
                bool(stored.attrs.get("sample_varying", True)),
                bool(stored.attrs.get("time_varying", True)),
                varying,
            )
            _agree(inside, entry, grid)
            yield entry


def _agree(inside: Hdf5File, x: _Entry, grid: tuple[int, ...]) -> None:
    """Refuse a shape that does not agree with the attributes and the coordinates.

    Raises:
        OpError: OP0610.
    """
    lead = x.sampled + x.timed
    size = tuple(n for n, v in zip(grid, x.varying, strict=False) if v)
    middle = x.stored.shape[lead : lead + len(size)]
    ndim = lead + len(size) + x.order
    if len(x.varying) != len(grid) or middle != size or len(x.stored.shape) != ndim:
        raise fault(
            "OP0610",
            f"the shape {x.stored.shape} of `{x.path}` does not fit its attributes "
            f"and the grid {grid}",
            file=inside.source,
        )


def _trajectories(inside: Hdf5File, entries: Iterable[_Entry]) -> int:
    counts = {x.path: x.stored.shape[0] for x in entries if x.sampled}
    if len(set(counts.values())) > 1:
        listing = ", ".join(f"`{p}` {n}" for p, n in counts.items())
        raise fault("OP0610", f"the fields differ in their samples: {listing}", file=inside.source)
    return next(iter(counts.values()), 1)


def _values(inside: Hdf5File, x: _Entry, rows: Sequence[int], thin: tuple[slice, ...]) -> Tensor:
    """Read values as (samples, channels, *grid), channels = times * components."""
    slices = tuple(s for s, v in zip(thin, x.varying, strict=True) if v)
    before = (slice(None),) * x.timed
    if x.sampled:
        array = inside.read(x.path, rows, (*before, *slices))
    else:
        array = inside.read(x.path)[(*before, *slices)][None]
    if not x.timed:
        array = array[:, None]
    array = _spread(inside, array, x, thin)
    axes = len(thin)
    # (samples, times, *grid, *tensor) -> (samples, times, *tensor, *grid)
    array = np.moveaxis(array, range(2, 2 + axes), range(-axes, 0))
    grid = array.shape[-axes:]
    merged = np.ascontiguousarray(array).reshape(len(array), -1, *grid)
    return torch.from_numpy(merged).expand(len(rows), *merged.shape[1:])


def _spread(
    inside: Hdf5File, got: NDArray[Any], x: _Entry, thin: tuple[slice, ...]
) -> NDArray[Any]:
    """Repeat a field along the axes of the grid on which it does not vary."""
    axes = _axes(inside)
    for i, (axis, varies) in enumerate(zip(axes, x.varying, strict=True)):
        if not varies:
            n = len(range(_length(inside, axis))[thin[i]])
            got = np.repeat(np.expand_dims(got, 2 + i), n, axis=2 + i)
    return got


def _times(inside: Hdf5File, entries: Iterable[_Entry]) -> dict[str, NDArray[np.float64]]:
    """Return the times of the fields that have several, or their indices where none are stated."""
    steps = {x.name: x.stored.shape[x.sampled] for x in entries if x.timed}
    stored = inside.arrays.get("dimensions/time")
    known = stored is not None and stored.dtype.kind in "iuf" and len(stored.shape) == 1
    times = inside.span("dimensions/time").astype(np.float64) if known else np.zeros(0)
    indices = {n: np.arange(float(n)) for n in steps.values()}
    return {k: times if len(times) == n else indices[n] for k, n in steps.items() if n > 1}


def _role(stored: Hdf5Array) -> Role:
    role = stored.attrs.get(ROLE)
    return cast("Role", role) if role in ("input", "output") else "unknown"


def _foreign(source: str, why: str) -> OpError:
    return unknown_layout(f"the HDF5 file is not laid out as those of The Well: {why}", source)


def _matches(file: DataFile) -> bool:
    return file.container == "hdf5" and "spatial_dims" in file.hdf5.groups.get("dimensions", {})


FORMAT = Format(
    "HDF5 as The Well lays it out (.hdf5, .h5, or a folder of them) can be read",
    """HDF5 as PolymathicAI/the_well publishes it, fields on a grid:

    /                            dataset_name, n_trajectories, grid_type; the parameters of the
                                 samples; ours: opdsl_layout =
                                 "node" (both ends are points), "periodic",
                                 "lower", "upper", "interior" or "centres" (see `sampling` of
                                 domains); with commas one for each axis
    /dimensions                  spatial_dims = ["x", "y"]; the coordinates x, y and time
    /t0_fields/f                 scalars, (samples, times, *grid)
    /t1_fields/f, /t2_fields/f   vectors and tensors, their components last
                                 on each: sample_varying, time_varying, dim_varying; ours:
                                 opdsl_role = "input" or "output"
    /scalars                     the parameters that are numbers
    /boundary_conditions         as The Well describes them: bc_type WALL, OPEN or PERIODIC of the
                                 ends of the axes; with the coordinates they are compared with
                                 the domain of the program (OP0657, OP0658)

    Times and components become channels, times first. A folder NAME/data/{train,valid,test} of such
    files is one data set.

    Source: Ohana et al. 2024, arXiv:2412.00568.
    """,
    _matches,
    read,
    stream,
    _rows,
)
