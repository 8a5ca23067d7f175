"""The Well's layout of HDF5: reading it, and writing steady fields in it.

Two attributes are ours and mean nothing to others: `opdsl_layout` of the root (`node` or
`periodic`) and `opdsl_role` of a field (`input` or `output`).

Source: Ohana et al. 2024, arXiv:2412.00568; the layout is described in the documentation of
PolymathicAI/the_well. Fields that vary in time are read with their times as channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from opdsl.data.bind.samples import Role
from opdsl.data.derive.coarsen import PointLayout, Resolution, steps
from opdsl.data.io.data_file import DataFile
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import Format, Pieces, ReadOptions
from opdsl.data.io.hdf5_writing import new_hdf5, write_errors
from opdsl.data.io.safe_h5 import Hdf5Array, Hdf5File, open_hdf5
from opdsl.diagnostics import OpError, fault

LAYOUT = "opdsl_layout"
ROLE = "opdsl_role"
ORDERS = {"t0_fields": 0, "t1_fields": 1, "t2_fields": 2}  # group -> order of its tensors

WellBoundary = Literal["WALL", "OPEN", "PERIODIC"]


def read(file: DataFile, options: ReadOptions) -> FileFields:
    """The fields of a file; its name is that of the set if it tells none.

    Raises:
        OpError: OP0610, OP0614, OP0615.
    """
    return _read(file.hdf5, file.path.stem, options.resolution, options.samples)


def stream(file: DataFile, size: int, _: int | None) -> Pieces:
    """The fields of a file, `size` samples at a time.

    Raises:
        OpError: OP0610, OP0615.
    """
    path, source, total = file.path, file.source, count(file.hdf5)

    def pieces() -> Iterator[FileFields]:
        with open_hdf5(path, source=source) as inside:
            for first in range(0, total, size):
                yield _read(inside, path.stem, None, size, first)

    return total, pieces()


def _read(
    inside: Hdf5File, stem: str, resolution: Resolution | None, samples: int | None, first: int = 0
) -> FileFields:
    """So many samples after the `first` ones."""
    axes = _axes(inside)
    have = tuple(_length(inside, a) for a in axes)
    layout = _layout(inside)
    want = have if resolution is None else resolution
    thin = tuple(slice(None, None, k) for k in steps(have, want, layout, source=inside.source))
    found = _found(inside, have)
    count = _trajectories(inside, found.values()) - first
    rows = count if samples is None else min(count, samples)
    return FileFields(
        name=str(inside.groups[""].get("dataset_name") or stem),
        values={
            name: _values(inside, x, range(first, first + rows), thin) for name, x in found.items()
        },
        roles={name: _role(x.stored) for name, x in found.items()},
        axes=axes,
        layout=layout,
    )


def count(inside: Hdf5File) -> int:
    """The samples of an open file.

    Raises:
        OpError: OP0610.
    """
    grid = tuple(_length(inside, a) for a in _axes(inside))
    return _trajectories(inside, _found(inside, grid).values())


@dataclass(frozen=True, slots=True)
class WellLayout:
    """What a file of steady scalar fields will hold, but for the values.

    Attributes:
        name: the data set's name.
        axes: name -> coordinates of the points.
        roles: field -> input or output.
        count: number of samples.
        boundary: kind of every boundary.
        layout: which points a coarser grid may keep.
        parameters: what the samples were made with; one attribute of the root for each.
    """

    name: str
    axes: Mapping[str, NDArray[np.float64]]
    roles: Mapping[str, Role]
    count: int
    boundary: WellBoundary
    layout: PointLayout
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)


Put = Callable[[int, Mapping[str, NDArray[Any]]], None]


@contextmanager
def write_well(path: Path, plan: WellLayout) -> Iterator[Put]:
    """`put(index, {field: values})` while the block lasts; then the file has its name.

    It is written whole or not at all (see `whole_h5`).

    Raises:
        OpError: OP0625, the file cannot be written.
    """
    with new_hdf5(path) as file:
        with write_errors(path):
            places = _lay_out(file, plan)
        yield lambda i, values: _put(path, places, i, values)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A field in the file: where, and which of the axes (samples, times, *grid, *tensor) it has."""

    name: str
    path: str
    stored: Hdf5Array
    order: int
    sampled: bool
    timed: bool
    varying: tuple[bool, ...]


def _axes(inside: Hdf5File) -> tuple[str, ...]:
    told = inside.groups.get("dimensions", {}).get("spatial_dims")
    if not isinstance(told, list) or not told:
        raise _foreign(inside.source, "no group `dimensions` with the attribute `spatial_dims`")
    return tuple(str(a) for a in told)


def _length(inside: Hdf5File, axis: str) -> int:
    stored = inside.arrays.get(f"dimensions/{axis}")
    if stored is None or not stored.shape:
        raise _foreign(inside.source, f"no coordinates `dimensions/{axis}`")
    return stored.shape[-1]


def _layout(inside: Hdf5File) -> PointLayout:
    return "node" if inside.groups[""].get(LAYOUT) == "node" else "periodic"


def _found(inside: Hdf5File, grid: tuple[int, ...]) -> dict[str, _Entry]:
    """The fields by name; a file without any, or with two of one name, is refused."""
    found: dict[str, _Entry] = {}
    for x in _entries(inside, grid):
        if x.name in found:
            raise _foreign(inside.source, f"`{x.path}` and `{found[x.name].path}` have one name")
        found[x.name] = x
    if not found:
        raise _foreign(inside.source, f"no field in {', '.join(f'`{g}`' for g in ORDERS)}")
    return found


def _entries(inside: Hdf5File, grid: tuple[int, ...]) -> Iterator[_Entry]:
    for group, order in ORDERS.items():
        for name, stored in inside.below(group).items():
            told = stored.attrs.get("dim_varying", [True] * len(grid))
            varying = tuple(bool(v) for v in told) if isinstance(told, list) else ()
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
    """The shape is what the attributes and the coordinates promise."""
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
        told = ", ".join(f"`{p}` {n}" for p, n in counts.items())
        raise fault("OP0610", f"the fields differ in their samples: {told}", file=inside.source)
    return next(iter(counts.values()), 1)


def _values(inside: Hdf5File, x: _Entry, rows: range, thin: tuple[slice, ...]) -> Tensor:
    """(samples, channels, *grid), channels = times * components."""
    kept = tuple(s for s, v in zip(thin, x.varying, strict=True) if v)
    before = (slice(None),) * x.timed
    if x.sampled:
        got = inside.read(x.path, len(rows), (*before, *kept), rows.start)
    else:
        got = inside.read(x.path)[(*before, *kept)][None]
    if not x.timed:
        got = got[:, None]
    got = _spread(inside, got, x, thin)
    axes = len(thin)
    # (samples, times, *grid, *tensor) -> (samples, times, *tensor, *grid)
    got = np.moveaxis(got, range(2, 2 + axes), range(-axes, 0))
    grid = got.shape[-axes:]
    made = np.ascontiguousarray(got).reshape(len(got), -1, *grid)
    return torch.from_numpy(made).expand(len(rows), *made.shape[1:])


def _spread(
    inside: Hdf5File, got: NDArray[Any], x: _Entry, thin: tuple[slice, ...]
) -> NDArray[Any]:
    """The field repeated along the axes of the grid on which it does not vary."""
    axes = _axes(inside)
    for i, (axis, varies) in enumerate(zip(axes, x.varying, strict=True)):
        if not varies:
            n = len(range(_length(inside, axis))[thin[i]])
            got = np.repeat(np.expand_dims(got, 2 + i), n, axis=2 + i)
    return got


def _role(stored: Hdf5Array) -> Role:
    told = stored.attrs.get(ROLE)
    return cast("Role", told) if told in ("input", "output") else "unknown"


def _foreign(source: str, why: str) -> OpError:
    return fault(
        "OP0610",
        f"the HDF5 file is not laid out as those of The Well: {why}",
        helps=("`opdsl.data.io.formats.well` describes the layout and writes it",),
        file=source,
    )


def _lay_out(file: Any, plan: WellLayout) -> dict[str, Any]:
    """Everything but the values; returns the empty arrays."""
    file.attrs["dataset_name"] = plan.name
    file.attrs["grid_type"] = "cartesian"
    file.attrs["n_spatial_dims"] = len(plan.axes)
    file.attrs["n_trajectories"] = plan.count
    file.attrs["simulation_parameters"] = list(plan.parameters)
    for name, value in plan.parameters.items():
        file.attrs[name] = value
    file.attrs[LAYOUT] = plan.layout
    _dimensions(file.create_group("dimensions"), plan)
    _boundaries(file.create_group("boundary_conditions"), plan)
    for empty in ("scalars", "t1_fields", "t2_fields"):
        file.create_group(empty).attrs["field_names"] = []
    return _fields(file.create_group("t0_fields"), plan)


def _dimensions(group: Any, plan: WellLayout) -> None:
    group.attrs["spatial_dims"] = list(plan.axes)
    for name, points in {"time": np.zeros(1), **plan.axes}.items():
        group[name] = np.asarray(points, np.float32)
        group[name].attrs.update(sample_varying=False)
        if name != "time":
            group[name].attrs.update(time_varying=False)


def _boundaries(group: Any, plan: WellLayout) -> None:
    """Both ends of every axis carry the same condition."""
    for axis, points in plan.axes.items():
        mask = np.zeros(len(points), np.bool_)
        mask[[0, -1]] = True
        one = group.create_group(f"{axis}_{plan.boundary.lower()}")
        one.attrs["associated_dims"] = [axis]
        one.attrs["associated_fields"] = []
        one.attrs["bc_type"] = plan.boundary
        one.attrs.update(sample_varying=False, time_varying=False)
        one["mask"] = mask


def _fields(group: Any, plan: WellLayout) -> dict[str, Any]:
    group.attrs["field_names"] = list(plan.roles)
    grid = tuple(len(x) for x in plan.axes.values())
    made = {}
    for name, role in plan.roles.items():
        # a chunk is what one sample takes: training reads whole samples
        made[name] = group.create_dataset(name, (plan.count, *grid), np.float32, chunks=(1, *grid))
        made[name].attrs.update(sample_varying=True, time_varying=False)
        made[name].attrs["dim_varying"] = [True] * len(grid)
        made[name].attrs[ROLE] = role
    return made


def _put(
    path: Path, places: Mapping[str, Any], index: int, values: Mapping[str, NDArray[Any]]
) -> None:
    with write_errors(path):
        for name, place in places.items():
            place[index] = values[name]


def _matches(file: DataFile) -> bool:
    return file.container == "hdf5" and "spatial_dims" in file.hdf5.groups.get("dimensions", {})


FORMAT = Format(
    "HDF5 as The Well lays it out (.hdf5, .h5, or a folder of them) can be read",
    """HDF5 as PolymathicAI/the_well publishes it, fields on a grid:

    /                            dataset_name, n_trajectories, grid_type; ours: opdsl_layout =
                                 "node" (both ends are points) or "periodic"
    /dimensions                  spatial_dims = ["x", "y"]; the coordinates x, y and time
    /t0_fields/f                 scalars, (samples, times, *grid)
    /t1_fields/f, /t2_fields/f   vectors and tensors, their components last
                                 on each: sample_varying, time_varying, dim_varying; ours:
                                 opdsl_role = "input" or "output"
    /boundary_conditions         as The Well describes them; not read

    Times and components become channels, times first. A folder NAME/data/{train,valid,test} of such
    files is one data set.

    Source: Ohana et al. 2024, arXiv:2412.00568.
    """,
    _matches,
    read,
    stream,
)
