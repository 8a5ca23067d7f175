"""Write The Well's layout of HDF5: fields on a grid, at one time or at several.

Two attributes are ours and mean nothing to others: `opdsl_layout` of the root (such as `node` or
`periodic`) and `opdsl_role` of a field (`input` or `output`).

Source: Ohana et al. 2024, arXiv:2412.00568; `docs/data_format.md` of PolymathicAI/the_well and its
`scripts/check_thewell_formatting.py`, which ask for every attribute below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from opdsl.data.derive.coarsen import Layout, layout_text
from opdsl.data.io.hdf5.hdf5_writing import new_hdf5, write_errors

if TYPE_CHECKING:
    from opdsl.data.bind.samples import Role

LAYOUT = "opdsl_layout"
ROLE = "opdsl_role"
ORDERS = {"t0_fields": 0, "t1_fields": 1, "t2_fields": 2}  # group -> order of its tensors
CHUNK = 1 << 20  # bytes of the times of a sample that are stored, and read, together

WellBoundary = Literal["WALL", "OPEN", "PERIODIC"]
WellEnds = tuple[WellBoundary | None, WellBoundary | None]  # of an axis; None: not known


@dataclass(frozen=True, slots=True)
class WellLayout:
    """The contents of a file, except for the values.

    Attributes:
        name: the data set's name.
        axes: name -> coordinates of the points.
        roles: field -> its role.
        count: number of samples.
        boundary: kind of every boundary, or axis -> that of the first and of the last point.
        layout: which points a coarser grid may keep.
        parameters: parameters of all samples; each becomes an attribute of the root, and each
            number also a scalar.
        walls: indices of the points of an axis that lie on the boundary.
        times: when the fields have their values, in the unit of time of the data. A steady field
            has one time: without an axis of times The Well's reader takes it for a constant.
        static: fields that do not change with time, which have no axis of times.
        orders: field -> order of its tensor, 1 for a vector; scalars need no entry.
        spherical: whether the axes are those of a sphere.
    """

    name: str
    axes: Mapping[str, NDArray[np.float64]]
    roles: Mapping[str, Role]
    count: int
    boundary: WellBoundary | Mapping[str, WellEnds]
    layout: Layout
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)
    walls: tuple[int, ...] = (0, -1)
    times: Sequence[float] = (0.0,)
    static: frozenset[str] = frozenset()
    orders: Mapping[str, int] = field(default_factory=dict)
    spherical: bool = False

    @property
    def grid(self) -> tuple[int, ...]:
        """Points on each axis."""
        return tuple(len(x) for x in self.axes.values())

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a field in one sample: ([times,] *grid, *tensor)."""
        times = () if name in self.static else (len(self.times),)
        return (*times, *self.grid, *((len(self.axes),) * self.orders.get(name, 0)))


Put = Callable[[int, Mapping[str, NDArray[Any]]], None]


@contextmanager
def write_well(path: Path, plan: WellLayout) -> Iterator[Put]:
    """Open a new file for the block and yield `put(index, {field: values})`, which writes a sample.

    Values are (times, *grid, *tensor); the axis of a single time may be left out. The file is
    written whole or not at all (see `new_hdf5`).

    Raises:
        OpError: OP0625, the file cannot be written.
    """
    with new_hdf5(path) as file:
        with write_errors(path):
            places = _lay_out(file, plan)
        yield lambda i, values: _put(path, places, i, values)


def _lay_out(file: Any, plan: WellLayout) -> dict[str, Any]:
    """Write everything except the values; return the empty arrays by name."""
    numbers = {k: x for k, x in plan.parameters.items() if not isinstance(x, str)}
    file.attrs["dataset_name"] = plan.name
    file.attrs["grid_type"] = "spherical" if plan.spherical else "cartesian"
    file.attrs["n_spatial_dims"] = len(plan.axes)
    file.attrs["n_trajectories"] = plan.count
    # The Well wants each of these as a scalar, which has to be a number
    file.attrs["simulation_parameters"] = list(numbers)
    for name, value in plan.parameters.items():
        file.attrs[name] = value
    file.attrs[LAYOUT] = layout_text(plan.layout)
    _dimensions(file.create_group("dimensions"), plan)
    _boundaries(file.create_group("boundary_conditions"), plan)
    _scalars(file.create_group("scalars"), numbers)
    arrays: dict[str, Any] = {}
    for group, order in ORDERS.items():
        names = [k for k in plan.roles if plan.orders.get(k, 0) == order]
        arrays |= _fields(file.create_group(group), plan, names, order)
    return {k: arrays[k] for k in plan.roles}


def _dimensions(group: Any, plan: WellLayout) -> None:
    group.attrs["spatial_dims"] = list(plan.axes)
    for name, points in {"time": np.asarray(plan.times), **plan.axes}.items():
        group[name] = np.asarray(points, np.float32)
        group[name].attrs.update(sample_varying=False, time_varying=name == "time")


def _boundaries(group: Any, plan: WellLayout) -> None:
    """Write one boundary condition for both ends of each axis, or two where the ends differ."""
    boundary = plan.boundary
    for axis, points in plan.axes.items():
        first, last = (boundary,) * 2 if isinstance(boundary, str) else boundary[axis]
        walls = [range(len(points))[i] for i in plan.walls]
        by_end = [(last if i == len(points) - 1 else first, i) for i in walls]
        for kind in [x for x in dict.fromkeys((first, last)) if x is not None]:
            mask = np.zeros(len(points), np.bool_)
            mask[[i for x, i in by_end if x == kind]] = True
            one = group.create_group(f"{axis}_{kind.lower()}")
            one.attrs["associated_dims"] = [axis]
            one.attrs["associated_fields"] = []
            one.attrs["bc_type"] = kind
            one.attrs.update(sample_varying=False, time_varying=False)
            one["mask"] = mask


def _scalars(group: Any, numbers: Mapping[str, int | float]) -> None:
    group.attrs["field_names"] = list(numbers)
    for name, value in numbers.items():
        group[name] = np.float32(value)
        group[name].attrs.update(sample_varying=False, time_varying=False)


def _fields(group: Any, plan: WellLayout, names: Sequence[str], order: int) -> dict[str, Any]:
    group.attrs["field_names"] = list(names)
    arrays = {}
    for name in names:
        shape = plan.shape(name)
        stored = group.create_dataset(
            name, (plan.count, *shape), np.float32, chunks=(1, *_chunk(plan, name))
        )
        stored.attrs.update(sample_varying=True, time_varying=name not in plan.static)
        stored.attrs["dim_varying"] = [True] * len(plan.axes)
        if order == 2:
            stored.attrs.update(symmetric=False, antisymmetric=False)
        if plan.roles[name] != "unknown":
            stored.attrs[ROLE] = plan.roles[name]
        arrays[name] = stored
    return arrays


def _chunk(plan: WellLayout, name: str) -> tuple[int, ...]:
    """Return how much of one sample is stored together: training reads whole samples or windows."""
    shape = plan.shape(name)
    if name in plan.static:
        return shape
    frame = 4 * prod(shape[1:])
    return (max(1, min(shape[0], CHUNK // frame)), *shape[1:])


def _put(
    path: Path, places: Mapping[str, Any], index: int, values: Mapping[str, NDArray[Any]]
) -> None:
    with write_errors(path):
        for name, place in places.items():
            place[index] = np.reshape(values[name], place.shape[1:])
