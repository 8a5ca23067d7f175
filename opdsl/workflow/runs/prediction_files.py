"""Predictions as a file: The Well's HDF5, ours for points, or .npz; whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from opdsl.data.bind.samples import Samples
from opdsl.data.derive.coarsen import Layout, layout_of, layout_on, sampling_of, simplest
from opdsl.data.io import npz_writing
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import points
from opdsl.data.io.well_writing import WellBoundary, WellEnds, WellLayout, write_well
from opdsl.diagnostics import fault
from opdsl.ir.axes import Axis
from opdsl.ir.graph import Graph, Port
from opdsl.ir.spaces import Domain
from opdsl.nn.points.batch import Values, all_values
from opdsl.nn.points.packed import Packed
from opdsl.nn.sphere.sampling import latitudes
from opdsl.sampling import positions
from opdsl.workflow.datasets.point_layouts import declared_layout

T = TypeVar("T")

WALLS: dict[str, WellBoundary] = {"dirichlet": "WALL", "neumann": "WALL"}


def write_npz(path: Path, pieces: Iterable[Mapping[str, Values]], count: int) -> None:
    """Write one array for each output; of a packed one (1, channels, total), and `NAME_sizes`.

    Args:
        path: what to write.
        pieces: outputs of some samples at a time; packed ones are one piece.
        count: all samples.

    Raises:
        OpError: OP0625, the file cannot be written.
    """
    first, pieces = peek(pieces)
    any_packed = any(isinstance(x, Packed) for x in first.values())
    with npz_writing.new_npz(path, None if any_packed else count) as append:
        for outputs in pieces:
            for name, x in outputs.items():
                append(name, all_values(x).float().numpy())
                if isinstance(x, Packed):
                    append(f"{name}_sizes", np.array(x.sizes))


def write_points(
    path: Path,
    graph: Graph,
    outputs: Mapping[str, Values],
    samples: Samples,
    *,
    times: NDArray[np.float64] | None = None,
) -> None:
    """Write one field for each output, with its points; steps in time become channels.

    Args:
        path: what to write.
        graph: the model.
        outputs: as for `write_h5`, or packed.
        samples: the inputs that they are of, which say where the points are.
        times: those of the steps in time; None if there is one step.

    Raises:
        OpError: OP0625, the file cannot be written.
    """
    ports = {x.name: x for x in graph.outputs}
    domains = {k: _port_of(k, ports).space.domain for k in outputs}
    homes = {k: x.name for k, x in domains.items() if x.name in samples.places}
    grids = (x for k, x in domains.items() if k not in homes)
    raw = FileFields(
        name=graph.name,
        values={k: x if times is None else all_values(x).flatten(1, 2) for k, x in outputs.items()},
        roles=dict.fromkeys(outputs, "output"),
        axes=next((tuple(a.name for a in x.axes) for x in grids), ()),
        layout=samples.layout,
        places={x: samples.places[x] for x in dict.fromkeys(homes.values())},
        homes=homes,
        times={} if times is None else dict.fromkeys(outputs, times),
    )
    points.write(path, raw)


def write_h5(
    path: Path,
    graph: Graph,
    pieces: Iterable[Mapping[str, Tensor]],
    count: int,
    layout: Layout,
    *,
    times: NDArray[np.float64] | None = None,
) -> None:
    """Write one field for each component, on the grid of the outputs, with an axis of times.

    Args:
        path: what to write.
        graph: the model.
        pieces: outputs of some samples at a time, (samples, channels, *grid), or where there are
            times (samples, times, channels, *grid); names that are no output's, as of the edges
            of a band, are `NAME_lower` and `NAME_upper`.
        count: all samples.
        layout: of the inputs, for a grid that declares no sampling.
        times: those of the steps in time; None if there is one step.

    Raises:
        OpError: OP0625; OP0613, the outputs live on different grids, which one file cannot hold.
    """
    first, pieces = peek(pieces)
    grids = {tuple(x.shape[2 if times is None else 3 :]) for x in first.values()}
    if len(grids) > 1:
        message = "the outputs live on different grids, and a file of The Well has one"
        raise fault("OP0613", message, helps=("write a `.npz` file",), file=str(path))
    domain = graph.outputs[0].space.domain
    layout = _layout(domain, layout)
    plan = WellLayout(
        name=graph.name,
        axes=_axes(domain, next(iter(grids)), layout),
        roles=dict.fromkeys(_all_fields(graph, first), "output"),
        count=count,
        boundary=_boundaries(domain),
        layout=layout,
        times=(0.0,) if times is None else times.tolist(),
        spherical=domain.kind == "sphere",
    )
    with write_well(path, plan) as write_sample:
        rows = (row for x in pieces for row in _rows(_all_fields(graph, x)))
        for i, row in enumerate(rows):
            write_sample(i, row)


def peek(pieces: Iterable[T]) -> tuple[T, Iterator[T]]:
    """Return the first piece, and an iterator over all of them."""
    iterator = iter(pieces)
    first = next(iterator)
    return first, chain((first,), iterator)


def _all_fields(graph: Graph, outputs: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    """Return the components of all outputs, (samples, [times,] *grid) each."""
    ports = {x.name: x for x in graph.outputs}
    return {k: y for name, x in outputs.items() for k, y in _fields(_port_of(name, ports), name, x)}


def _rows(fields: Mapping[str, NDArray[np.float32]]) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield one sample after the other."""
    for i in range(len(next(iter(fields.values())))):
        yield {k: x[i] for k, x in fields.items()}


def _port_of(name: str, ports: Mapping[str, Port]) -> Port:
    """Return the output of that name, or of the band of which it is an edge."""
    return ports[name] if name in ports else ports[name.rpartition("_")[0]]


def _fields(port: Port, name: str, values: Tensor) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the components by name: `pressure`, or `u`, or `u_0`, `u_1` ..."""
    axis = values.ndim - 1 - port.space.domain.dims
    count = values.shape[axis]
    names = (port.name,) if count == 1 else tuple(f"{port.name}_{i}" for i in range(count))
    edge = name.removeprefix(port.name)
    for i, component in enumerate(port.space.components or names):
        yield f"{component}{edge}", values.select(axis, i).float().numpy()


def _axes(domain: Domain, grid: tuple[int, ...], layout: Layout) -> dict[str, NDArray[np.float64]]:
    """Return the coordinates of each axis by the layout of the data; degrees on a sphere."""
    if domain.kind == "sphere":
        return _sphere_axes(domain, *grid)
    lines = {}
    for i, (axis, n) in enumerate(zip(domain.axes, grid, strict=True)):
        places = np.array(positions(sampling_of(layout_on(layout, i)), n))
        lines[axis.name] = axis.lo + (axis.hi - axis.lo) * places
    return lines


def _layout(domain: Domain, stored: Layout) -> Layout:
    """Return where the points are: as declared, else as the data state it, else the default.

    `periodic` also stands for data that state nothing.
    """
    declared = declared_layout(domain)
    if declared is not None:
        return declared
    if stored != "periodic" or not domain.regular:
        return stored
    axes = zip(domain.samplings, domain.periodic, strict=True)
    return simplest(tuple(layout_of(x, periodic=periodic) for x, periodic in axes))


def _sphere_axes(domain: Domain, rows: int, columns: int) -> dict[str, NDArray[np.float64]]:
    """Return latitudes from north to south, and longitudes from 0, in degrees."""
    assert domain.sampling is not None
    cosines, _ = latitudes(rows, domain.sampling)
    latitude, longitude = (x.name for x in domain.axes)
    east = 360.0 * np.arange(columns) / columns
    return {latitude: np.degrees(np.arcsin(cosines.numpy())), longitude: east}


def _boundaries(domain: Domain) -> dict[str, WellEnds]:
    """Return what The Well calls the condition at each end of each axis."""
    if domain.kind == "sphere":
        latitude, longitude = (x.name for x in domain.axes)
        return {latitude: ("OPEN", "OPEN"), longitude: ("PERIODIC", "PERIODIC")}
    pairs = zip(domain.axes, domain.periodic, strict=True)
    return {x.name: ("PERIODIC", "PERIODIC") if ring else _ends(x) for x, ring in pairs}


def _ends(axis: Axis) -> WellEnds:
    lower, upper = (WALLS.get(x, "OPEN") for x in axis.ends or ("none", "none"))
    return lower, upper
