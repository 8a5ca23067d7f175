"""The Well's layout of HDF5: reading it, and writing steady fields in it.

What comes in: one file, or one folder of files that belong together. What goes out: `Raw` fields.
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
from opdsl.data.derive.coarsen import Layout, Resolution, steps
from opdsl.data.io.file_fields import Raw
from opdsl.data.io.safe_h5 import Inside, Stored
from opdsl.data.io.whole_h5 import unwritable, whole
from opdsl.diagnostics import OpError, fault

LAYOUT = "opdsl_layout"
ROLE = "opdsl_role"
ORDERS = {"t0_fields": 0, "t1_fields": 1, "t2_fields": 2}  # group -> order of its tensors

Boundary = Literal["WALL", "OPEN", "PERIODIC"]


def read(
    inside: Inside, stem: str, resolution: Resolution | None, samples: int | None, first: int = 0
) -> Raw:
    """The fields of an open file; `stem` is the name of the set if it tells none.

    Of the samples it takes so many, after the `first` ones.

    Raises:
        OpError: OP0610, OP0614, OP0615.
    """
    axes = _axes(inside)
    have = tuple(_length(inside, a) for a in axes)
    layout = _layout(inside)
    want = have if resolution is None else resolution
    thin = tuple(slice(None, None, k) for k in steps(have, want, layout, source=inside.source))
    found = _found(inside, have)
    count = _trajectories(inside, found.values()) - first
    rows = count if samples is None else min(count, samples)
    return Raw(
        name=str(inside.groups[""].get("dataset_name") or stem),
        values={
            name: _values(inside, x, range(first, first + rows), thin) for name, x in found.items()
        },
        roles={name: _role(x.stored) for name, x in found.items()},
        axes=axes,
        layout=layout,
    )


def count(inside: Inside) -> int:
    """The samples of an open file.

    Raises:
        OpError: OP0610.
    """
    grid = tuple(_length(inside, a) for a in _axes(inside))
    return _trajectories(inside, _found(inside, grid).values())


@dataclass(frozen=True, slots=True)
class Plan:
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
    boundary: Boundary
    layout: Layout
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)


Put = Callable[[int, Mapping[str, NDArray[Any]]], None]


@contextmanager
def writing(path: Path, plan: Plan) -> Iterator[Put]:
    """`put(index, {field: values})` while the block lasts; then the file has its name.

    It is written whole or not at all (see `whole_h5`).

    Raises:
        OpError: OP0625, the file cannot be written.
    """
    with whole(path) as file:
        with unwritable(path):
            places = _lay_out(file, plan)
        yield lambda i, values: _put(path, places, i, values)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A field in the file: where, and which of the axes (samples, times, *grid, *tensor) it has."""

    name: str
    path: str
    stored: Stored
    order: int
    sampled: bool
    timed: bool
    varying: tuple[bool, ...]


def _axes(inside: Inside) -> tuple[str, ...]:
    told = inside.groups.get("dimensions", {}).get("spatial_dims")
    if not isinstance(told, list) or not told:
        raise _foreign(inside.source, "no group `dimensions` with the attribute `spatial_dims`")
    return tuple(str(a) for a in told)


def _length(inside: Inside, axis: str) -> int:
    stored = inside.arrays.get(f"dimensions/{axis}")
    if stored is None or not stored.shape:
        raise _foreign(inside.source, f"no coordinates `dimensions/{axis}`")
    return stored.shape[-1]


def _layout(inside: Inside) -> Layout:
    return "node" if inside.groups[""].get(LAYOUT) == "node" else "periodic"


def _found(inside: Inside, grid: tuple[int, ...]) -> dict[str, _Entry]:
    """The fields by name; a file without any, or with two of one name, is refused."""
    found: dict[str, _Entry] = {}
    for x in _entries(inside, grid):
        if x.name in found:
            raise _foreign(inside.source, f"`{x.path}` and `{found[x.name].path}` have one name")
        found[x.name] = x
    if not found:
        raise _foreign(inside.source, f"no field in {', '.join(f'`{g}`' for g in ORDERS)}")
    return found


def _entries(inside: Inside, grid: tuple[int, ...]) -> Iterator[_Entry]:
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


def _agree(inside: Inside, x: _Entry, grid: tuple[int, ...]) -> None:
    """The shape is what the attributes and the coordinates promise."""
    lead = x.sampled + x.timed
    size = tuple(n for n, v in zip(grid, x.varying, strict=False) if v)
    middle = x.stored.shape[lead : lead + len(size)]
    whole = lead + len(size) + x.order
    if len(x.varying) != len(grid) or middle != size or len(x.stored.shape) != whole:
        raise fault(
            "OP0610",
            f"the shape {x.stored.shape} of `{x.path}` does not fit its attributes "
            f"and the grid {grid}",
            file=inside.source,
        )


def _trajectories(inside: Inside, entries: Iterable[_Entry]) -> int:
    counts = {x.path: x.stored.shape[0] for x in entries if x.sampled}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"`{p}` {n}" for p, n in counts.items())
        raise fault("OP0610", f"the fields differ in their samples: {told}", file=inside.source)
    return next(iter(counts.values()), 1)


def _values(inside: Inside, x: _Entry, rows: range, thin: tuple[slice, ...]) -> Tensor:
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


def _spread(inside: Inside, got: NDArray[Any], x: _Entry, thin: tuple[slice, ...]) -> NDArray[Any]:
    """The field repeated along the axes of the grid on which it does not vary."""
    axes = _axes(inside)
    for i, (axis, varies) in enumerate(zip(axes, x.varying, strict=True)):
        if not varies:
            n = len(range(_length(inside, axis))[thin[i]])
            got = np.repeat(np.expand_dims(got, 2 + i), n, axis=2 + i)
    return got


def _role(stored: Stored) -> Role:
    told = stored.attrs.get(ROLE)
    return cast("Role", told) if told in ("input", "output") else "unknown"


def _foreign(source: str, why: str) -> OpError:
    return fault(
        "OP0610",
        f"the HDF5 file is not laid out as those of The Well: {why}",
        helps=("`opdsl.data.io.well` describes the layout and writes it",),
        file=source,
    )


def _lay_out(file: Any, plan: Plan) -> dict[str, Any]:
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


def _dimensions(group: Any, plan: Plan) -> None:
    group.attrs["spatial_dims"] = list(plan.axes)
    for name, points in {"time": np.zeros(1), **plan.axes}.items():
        group[name] = np.asarray(points, np.float32)
        group[name].attrs.update(sample_varying=False)
        if name != "time":
            group[name].attrs.update(time_varying=False)


def _boundaries(group: Any, plan: Plan) -> None:
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


def _fields(group: Any, plan: Plan) -> dict[str, Any]:
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
    with unwritable(path):
        for name, place in places.items():
            place[index] = values[name]
