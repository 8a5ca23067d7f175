"""Write a data set of any format in The Well's layout, or in ours for functions on points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from opdsl.data.bind.coordinates import EndKind
from opdsl.data.bind.samples import Fields, Role
from opdsl.data.derive.coarsen import layout_of, layout_on, sampling_of, size_text
from opdsl.data.io.dataset import stream_dataset
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.float_range import too_large
from opdsl.data.io.formats import points
from opdsl.data.io.well_writing import WellBoundary, WellEnds, WellLayout, write_well
from opdsl.data.progress import ProgressCallback
from opdsl.diagnostics import OpError, did_you_mean, fault
from opdsl.nn.points.batch import all_values
from opdsl.sampling import GridSampling, positions

DomainBox = Sequence[tuple[float, float]]  # the ends of each axis

PIECE = 16  # samples that are in memory at once
BOUNDARIES: Mapping[EndKind | None, WellBoundary] = {
    "periodic": "PERIODIC",
    "wall": "WALL",
    "open": "OPEN",
}
SPHERES = [(x, y) for x in ("lat", "latitude") for y in ("lon", "longitude")]


def is_sphere(axes: Sequence[str]) -> bool:
    """Whether these are the names of latitudes and longitudes, in this order."""
    return tuple(axes) in SPHERES


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """What a file does not state, or states otherwise.

    Attributes:
        name: of the data set; as in the file if None.
        inputs: fields that models take; as in the file if there are none.
        outputs: fields that models return; as in the file if there are none.
        vectors: fields whose components are those of a vector in space.
        times: number of times that the channels of fields are, the times before the components.
        box: the ends of each axis of the grid.
        sampling: where on each axis the points are.
    """

    name: str | None = None
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    vectors: Sequence[str] = ()
    times: int | None = None
    box: DomainBox | None = None
    sampling: GridSampling | None = None


@dataclass(frozen=True, slots=True)
class DatasetConversion:
    """A data set that was written in another layout.

    Attributes:
        path: the new file.
        samples: how many.
        axes: axis of the grid -> its first and last coordinate; none where all is on points.
        grid: points on each axis.
        fields: field as it is written -> its shape in one sample in words.
        times: number of times; 1 where the fields are steady.
        assumed: axes whose coordinates the file does not state.
    """

    path: Path
    samples: int
    axes: dict[str, tuple[float, float]]
    grid: tuple[int, ...]
    fields: dict[str, str]
    times: int
    assumed: tuple[str, ...]


def convert_dataset(
    source: str,
    out: Path,
    options: ConvertOptions,
    *,
    split: str | None = None,
    progress: ProgressCallback | None = None,
) -> DatasetConversion:
    """Write the samples of a data set piece by piece; the file is written whole or not at all.

    Args:
        source: a file or a folder that `open_dataset` reads.
        out: the `.h5` file to make.
        options: what the file does not state.
        split: the part of a folder.
        progress: is called with the samples done and all samples.

    Raises:
        OpError: OP0610 to OP0615, the data cannot be read or do not fit the options; OP0619, a
            value is too large for float32; OP0625, the file cannot be written.
    """
    data = stream_dataset(source, split=split, size=PIECE)
    first = _described(next(data.pieces), options)
    if first.places:
        return _write_points(out, first, options)
    return _write_grid(out, first, chain((first,), data.pieces), data.count, options, progress)


def _described(fields: Fields, options: ConvertOptions) -> Fields:
    """Return the fields with the roles, the name and the times of the options."""
    _refuse_unknown(fields, (*options.inputs, *options.outputs, *options.vectors))
    if both := set(options.inputs) & set(options.outputs):
        message = f"`{min(both)}` cannot be an input and an output"
        raise fault("OP0611", message, file=fields.source)
    times = dict(fields.times)
    if options.times is not None:
        times |= _split_times(fields, options.times)
    return replace(
        fields, name=options.name or fields.name, roles=_roles(fields, options), times=times
    )


def _refuse_unknown(fields: Fields, names: Iterable[str]) -> None:
    for name in names:
        if name not in fields.values:
            available = ", ".join(f"`{k}`" for k in fields.values) or "none"
            helps = did_you_mean(name, fields.values)
            message = f"no field `{name}`; the data have {available}"
            raise fault("OP0611", message, helps=helps, file=fields.source)


def _roles(fields: Fields, options: ConvertOptions) -> dict[str, Role]:
    """Return the role of each field; a list of inputs replaces the inputs of the file."""
    roles = dict(fields.roles)
    chosen: tuple[tuple[Role, Sequence[str]], ...] = (
        ("input", options.inputs),
        ("output", options.outputs),
    )
    for role, names in chosen:
        if names:
            roles = {k: "unknown" if x == role else x for k, x in roles.items()}
    return roles | {k: role for role, names in chosen for k in names}


def _split_times(fields: Fields, count: int) -> dict[str, NDArray[np.float64]]:
    """Return the fields whose channels are so many times, with 0, 1, ... as their times."""
    channels = {k: all_values(x).shape[1] for k, x in fields.values.items()}
    matches = [k for k, n in channels.items() if n % count == 0]
    if not matches or count < 2:
        listing = ", ".join(f"`{k}` {n}" for k, n in channels.items())
        message = f"the channels of no field are {count} times: {listing}"
        helps = ("the channels are the times, two or more, each with all components",)
        raise fault("OP0613", message, helps=helps, file=fields.source)
    return dict.fromkeys([k for k in matches if k not in fields.times], np.arange(float(count)))


def _write_points(out: Path, fields: Fields, options: ConvertOptions) -> DatasetConversion:
    if options.box or options.sampling or options.vectors:
        message = "the fields are on points: they have no box, no sampling and no tensors"
        raise fault("OP0613", message, file=fields.source)
    raw = FileFields(
        name=fields.name,
        values=fields.values,
        roles=fields.roles,
        axes=fields.axes,
        layout=fields.layout,
        places=fields.places,
        homes=fields.homes,
        times=fields.times,
    )
    points.write(out, raw)
    shapes = {k: f"{all_values(x).shape[1]} channels" for k, x in fields.values.items()}
    on_grid = {k: x for k, x in fields.values.items() if k not in fields.homes}
    grid = tuple(all_values(next(iter(on_grid.values()))).shape[2:]) if on_grid else ()
    steps = max((len(x) for x in fields.times.values()), default=1)
    return DatasetConversion(out, len(raw), {}, grid, shapes, steps, ())


@dataclass(frozen=True, slots=True)
class _Target:
    """How a field is written: as one array with its components last, or as one for each component.

    Attributes:
        names: names of the arrays.
        times: their number; None for a field that does not change.
        order: of the tensor that one array holds.
    """

    names: tuple[str, ...]
    times: int | None
    order: int

    def arrays(self, sample: Tensor) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield the arrays (times, *grid, *tensor) of one sample (times * components, *grid)."""
        grid = sample.shape[1:]
        steps = sample.float().reshape(self.times or 1, -1, *grid)
        if len(self.names) == 1:
            tensor = (len(grid),) * self.order
            yield self.names[0], steps.movedim(1, -1).reshape(-1, *grid, *tensor).numpy()
            return
        for i, name in enumerate(self.names):
            yield name, steps[:, i].numpy()


def _write_grid(
    out: Path,
    first: Fields,
    pieces: Iterator[Fields],
    count: int,
    options: ConvertOptions,
    progress: ProgressCallback | None,
) -> DatasetConversion:
    _refuse_several_grids(first)
    targets = {k: _target(first, k, options.vectors) for k in first.values}
    times = _common_times(first)
    axes = _axes(first, options)
    layout = first.layout
    if options.sampling:
        layout = layout_of(options.sampling, periodic=layout == "periodic")
    plan = WellLayout(
        name=first.name,
        axes=axes,
        roles={y: first.roles[k] for k, x in targets.items() for y in x.names},
        count=count,
        boundary=_boundaries(first, axes),
        layout=layout,
        times=times.tolist(),
        static=frozenset(
            y for x in targets.values() for y in x.names if len(times) > 1 and x.times is None
        ),
        orders={x.names[0]: x.order for x in targets.values() if x.order},
        spherical=is_sphere(first.axes),
    )
    names = [y for x in targets.values() for y in x.names]
    if double := next((x for x in names if names.count(x) > 1), None):
        message = f"two arrays would have the name `{double}`"
        raise fault("OP0611", message, helps=("rename a field of the file",), file=first.source)
    done = 0
    with write_well(out, plan) as put:
        for fields in pieces:
            _refuse_values(fields)
            for i in range(len(next(iter(fields.values.values())))):
                values = (
                    y for k, x in targets.items() for y in x.arrays(all_values(fields.values[k])[i])
                )
                put(done, dict(values))
                done += 1
                if progress:
                    progress(done, count)
    return DatasetConversion(
        path=out,
        samples=count,
        axes={k: (float(x[0]), float(x[-1])) for k, x in axes.items()},
        grid=plan.grid,
        fields={k: size_text(plan.shape(k)[len(times) == 1 :]) for k in plan.roles},
        times=len(times),
        assumed=tuple(x for x in axes if x not in first.coordinates and not options.box),
    )


def _refuse_several_grids(fields: Fields) -> None:
    grids = {k: all_values(x).shape[2:] for k, x in fields.values.items()}
    if len(set(grids.values())) > 1:
        listing = ", ".join(f"`{k}` {size_text(x)}" for k, x in grids.items())
        message = f"the fields have different grids, and a file of The Well has one: {listing}"
        raise fault("OP0613", message, file=fields.source)


def _target(fields: Fields, name: str, vectors: Sequence[str]) -> _Target:
    """Decide how a field is written.

    Raises:
        OpError: OP0613, a vector has another number of components than the grid has axes, or the
            values are complex.
    """
    values = all_values(fields.values[name])
    if values.is_complex():
        message = f"`{name}` is complex, and files of The Well hold real numbers"
        helps = ("save real and imaginary parts as two fields",)
        raise fault("OP0613", message, helps=helps, file=fields.source)
    times = len(fields.times[name]) if name in fields.times else None
    components, axes = values.shape[1] // (times or 1), values.ndim - 2
    order = 1 if name in vectors else fields.orders.get(name, 0)
    if order and components != axes**order:
        message = f"`{name}` has {components} components, a vector on {axes} axes has {axes}"
        helps = ("`--times` says how many times the channels are",)
        raise fault("OP0613", message, helps=helps, file=fields.source)
    name = name.replace("/", "_")  # in HDF5 it would be a group
    if order or components == 1:
        return _Target((name,), times, order)
    return _Target(tuple(f"{name}_{i}" for i in range(components)), times, 0)


def _common_times(fields: Fields) -> NDArray[np.float64]:
    """Return the times of all fields; 0 if all are steady.

    Raises:
        OpError: OP0613, they differ.
    """
    each = list(fields.times.values()) or [np.zeros(1)]
    if any(not np.array_equal(x, each[0]) for x in each):
        listing = ", ".join(f"`{k}` {len(x)}" for k, x in fields.times.items())
        message = f"the fields have different times, and a file of The Well has one set: {listing}"
        raise fault("OP0613", message, file=fields.source)
    return each[0]


def _axes(fields: Fields, options: ConvertOptions) -> dict[str, NDArray[np.float64]]:
    """Return the coordinates: of the box, else of the file, else of 0..1.

    Raises:
        OpError: OP0613, the box has another number of axes.
    """
    box = options.box or ((0.0, 1.0),) * len(fields.axes)
    if len(box) != len(fields.axes):
        message = f"a box of {len(box)} axes for data on {len(fields.axes)}"
        raise fault("OP0613", message, file=fields.source)
    lines = {}
    for i, (axis, n, (lo, hi)) in enumerate(zip(fields.axes, fields.resolution, box, strict=True)):
        sampling = options.sampling or sampling_of(layout_on(fields.layout, i))
        known = fields.coordinates.get(axis)
        if known is not None and not options.box:
            lines[axis] = known.values
        else:
            lines[axis] = lo + (hi - lo) * np.array(positions(sampling, n))
    return lines


def _boundaries(fields: Fields, axes: Iterable[str]) -> dict[str, WellEnds]:
    known = {k: x.boundary for k, x in fields.coordinates.items()}
    ends = {k: known.get(k, (None, None)) for k in axes}
    return {k: (BOUNDARIES.get(x), BOUNDARIES.get(y)) for k, (x, y) in ends.items()}


def _refuse_values(fields: Fields) -> None:
    """Refuse values that become infinite in float32, in which The Well stores fields."""
    faults = [x for k in fields.values if (x := too_large(fields, k))]
    if faults:
        raise OpError(*faults)
