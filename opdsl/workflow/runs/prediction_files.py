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
from opdsl.data.io.formats.well import WellBoundary, WellLayout, write_well
from opdsl.diagnostics import fault
from opdsl.ir.graph import Graph, Port
from opdsl.ir.spaces import Domain
from opdsl.nn.points.batch import Values, all_values
from opdsl.nn.points.packed import Packed
from opdsl.sampling import positions
from opdsl.workflow.datasets.point_layouts import declared_layout

T = TypeVar("T")


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
    timed: bool = False,
) -> None:
    """Write one field for each output, with its points; steps in time become channels.

    Args:
        outputs: as for `write_h5`, or packed.
        samples: the inputs that they are of, which say where the points are.

    Raises:
        OpError: OP0625, the file cannot be written.
    """
    ports = {x.name: x for x in graph.outputs}
    domains = {k: _port_of(k, ports).space.domain for k in outputs}
    homes = {k: x.name for k, x in domains.items() if x.name in samples.places}
    grids = (x for k, x in domains.items() if k not in homes)
    raw = FileFields(
        name=graph.name,
        values={k: all_values(x).flatten(1, 2) if timed else x for k, x in outputs.items()},
        roles=dict.fromkeys(outputs, "output"),
        axes=next((tuple(a.name for a in x.axes) for x in grids), ()),
        layout=samples.layout,
        places={x: samples.places[x] for x in dict.fromkeys(homes.values())},
        homes=homes,
    )
    points.write(path, raw)


def write_h5(
    path: Path,
    graph: Graph,
    pieces: Iterable[Mapping[str, Tensor]],
    count: int,
    layout: Layout,
    *,
    timed: bool = False,
) -> None:
    """Write one field for each component, on the grid of the outputs.

    Args:
        path: what to write.
        graph: the model.
        pieces: outputs of some samples at a time, (samples, channels, *grid) or, if `timed`,
            (samples, steps, channels, *grid); names that are no output's, as of the edges of a
            band, are `NAME_lower` and `NAME_upper`.
        count: all samples.
        layout: of the inputs, for a grid that declares no sampling.
        timed: whether there are steps in time.

    Raises:
        OpError: OP0625; OP0613, the outputs live on different grids, which one file cannot hold.
    """
    first, pieces = peek(pieces)
    grids = {tuple(x.shape[3 if timed else 2 :]) for x in first.values()}
    if len(grids) > 1:
        message = "the outputs live on different grids, and a file of The Well has one"
        raise fault("OP0613", message, helps=("write a `.npz` file",), file=str(path))
    domain = graph.outputs[0].space.domain
    layout = _layout(domain, layout)
    plan = WellLayout(
        name=graph.name,
        axes=_axes(domain, next(iter(grids)), layout),
        roles=dict.fromkeys(_all_fields(graph, first, timed=timed), "output"),
        count=count,
        boundary=_boundary(domain),
        layout=layout,
    )
    with write_well(path, plan) as write_sample:
        rows = (row for x in pieces for row in _rows(_all_fields(graph, x, timed=timed)))
        for i, row in enumerate(rows):
            write_sample(i, row)


def peek(pieces: Iterable[T]) -> tuple[T, Iterator[T]]:
    """Return the first piece, and an iterator over all of them."""
    iterator = iter(pieces)
    first = next(iterator)
    return first, chain((first,), iterator)


def _all_fields(
    graph: Graph, outputs: Mapping[str, Tensor], *, timed: bool
) -> dict[str, NDArray[np.float32]]:
    """Return the components of all outputs and steps, (samples, *grid) each."""
    ports = {x.name: x for x in graph.outputs}
    return {
        k: y
        for name, x in outputs.items()
        for i, step in enumerate(x.unbind(1) if timed else (x,))
        for k, y in _fields(_port_of(name, ports), name, step, f"_{i + 1}" if timed else "")
    }


def _rows(fields: Mapping[str, NDArray[np.float32]]) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield one sample after the other."""
    for i in range(len(next(iter(fields.values())))):
        yield {k: x[i] for k, x in fields.items()}


def _port_of(name: str, ports: Mapping[str, Port]) -> Port:
    """Return the output of that name, or of the band of which it is an edge."""
    return ports[name] if name in ports else ports[name.rpartition("_")[0]]


def _fields(
    port: Port, name: str, values: Tensor, step: str
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the components by name: `pressure`, or `u`, or `u_0`, `u_1` ...; then the step."""
    count = values.shape[1]
    names = (port.name,) if count == 1 else tuple(f"{port.name}_{i}" for i in range(count))
    edge = name.removeprefix(port.name)
    for i, component in enumerate(port.space.components or names):
        yield f"{component}{edge}{step}", values[:, i].float().numpy()


def _axes(domain: Domain, grid: tuple[int, ...], layout: Layout) -> dict[str, NDArray[np.float64]]:
    """Return the coordinates of each axis by the layout of the data."""
    lines = {}
    for i, (axis, n) in enumerate(zip(domain.axes, grid, strict=True)):
        places = np.array(positions(sampling_of(layout_on(layout, i)), n))
        lines[axis.name] = axis.lo + (axis.hi - axis.lo) * places
    return lines


def _boundary(domain: Domain) -> WellBoundary:
    if all(domain.periodic):
        return "PERIODIC"
    return "WALL" if domain.axes[0].boundary in {"dirichlet", "neumann"} else "OPEN"


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
