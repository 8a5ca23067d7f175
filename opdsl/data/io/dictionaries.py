"""Lists of dictionaries of tensors, one for each sample, as in neuraloperator's car data set.

Nothing in the file says what its tensors are, so this is derived from their names and shapes:

- (n, d), d <= 3, under a name of `COORDINATES`: a set of points of that name;
- (n,), (n, c), (c, n) with as many entries as a set has points, in every sample: a function on it;
- (n,) under a name of `AREAS`: also the quadrature weights of these points;
- (m, k) integers under a name of `CELLS`, (e, 2) or (2, e) under one of `EDGES`: of the first set;
- other tensors of one shape in all samples: functions on a grid, (*grid), (*grid, c) or (c, *grid),
  where channels are fewer than half of the points on any axis; (c,) and numbers: vectors.

A set with as many points as a grid of the file is that grid, its last axis running fastest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor

from opdsl.data.derive.coarsen import Resolution, refuse_on_points
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.unknown_layout import unknown_layout
from opdsl.diagnostics import fault
from opdsl.nn.points.batch import Values
from opdsl.nn.points.geometry import Geometries, Geometry
from opdsl.nn.points.packed import Packed

COORDINATES = frozenset(
    {"vertices", "points", "nodes", "positions", "pos", "coords", "coordinates", "centroids"}
    | {"target", "source"}
)
AREAS = frozenset({"weights", "areas", "volumes", "triangle_areas", "cell_areas", "vertex_areas"})
CELLS = frozenset({"cells", "faces", "triangles", "elements"})
EDGES = frozenset({"edges", "edge_index"})
AXES = ("x", "y", "z", "t")
MOST = 3  # dimensions of a space
MATRIX = 2  # axes
ENDS = 2  # of an edge
# Umetani's cars: the pressure of 3682 points, of which 3586 are on the mesh; 16 to 111 are not
SURPLUS = {"press": (16, 112)}

TensorSample = Mapping[str, Tensor]
Table = dict[str, tuple[Tensor, ...]]  # of each name, the tensor of each sample


def read(
    held: Sequence[TensorSample],
    name: str,
    source: str,
    resolution: Resolution | None,
    samples: int | None,
) -> FileFields:
    """Read the fields of a list of dictionaries of dense tensors.

    Raises:
        OpError: OP0610 the samples differ in their tensors, or hold no function; OP0613 a sample
            has no points; OP0614 a resolution is asked for.
    """
    refuse_on_points(resolution, source)
    table = _table(held[:samples], source)
    grids = {prod(x): x for x in map(_grid, table.values()) if x}
    sets = {k: x for k, x in table.items() if _is_set(k, x, grids)}
    _refuse_empty(sets, source)
    functions = {k: x for k, x in table.items() if k not in sets and not _joins(k, x)}
    on_points = {k: y for k, x in functions.items() if (y := _on_points(k, x, sets))}
    for k, x in functions.items():
        if k not in on_points:
            _refuse_other_number(k, x, sets, source)
    others = {k: _on_grid(x, grids) for k, x in functions.items() if k not in on_points}
    on_grids = {k: x for k, x in others.items() if x is not None}
    values: dict[str, Values] = {k: Packed.of(x) for k, (_, x) in on_points.items()}
    if not on_points and not on_grids:
        raise unknown_layout("none of its tensors is a function on points or a grid", source)
    axes = max((x.ndim - 2 for x in on_grids.values()), default=0)
    return FileFields(
        name=name,
        values=values | on_grids,
        roles=dict.fromkeys((*on_points, *on_grids), "unknown"),
        axes=AXES[:axes],
        layout="periodic",
        places={k: _placed(k, sets, table) for k in sets},
        homes={k: home for k, (home, _) in on_points.items()},
    )


def _table(held: Sequence[TensorSample], source: str) -> Table:
    """Collect the tensors of all samples by name; all samples must have the same names."""
    if not held:
        raise fault("OP0610", "the list has no samples", file=source)
    names = list(held[0])
    for i, x in enumerate(held):
        if odd := set(names).symmetric_difference(x):
            differing_names = ", ".join(f"`{k}`" for k in sorted(odd))
            message = f"samples 0 and {i} differ: only one of them has {differing_names}"
            raise unknown_layout(message, source)
    return {k: tuple(x[k] for x in held) for k in names}


def _is_set(name: str, parts: Sequence[Tensor], grids: Mapping[int, object]) -> bool:
    """Whether tensors are the coordinates of a set of points that is not a grid of the file."""
    if name not in COORDINATES or any(x.ndim != MATRIX for x in parts):
        return False
    few = all(1 <= x.shape[1] <= MOST and x.is_floating_point() for x in parts)
    return few and not all(len(x) in grids for x in parts)


def _refuse_empty(sets: Table, source: str) -> None:
    for name, parts in sets.items():
        empty = next((i for i, x in enumerate(parts) if not len(x)), None)
        if empty is not None:
            helps = ("leave such samples out of the file",)
            message = f"sample {empty} has no points on `{name}`"
            raise fault("OP0613", message, helps=helps, file=source)


def _joins(name: str, parts: Sequence[Tensor]) -> bool:
    """Whether tensors are tables of point indices: cells or edges."""
    whole = not any(x.is_floating_point() for x in parts)
    return name in CELLS | EDGES and whole and all(x.ndim == MATRIX for x in parts)


# ------------------------------------------------------------------------------------- functions


def _on_points(name: str, parts: Sequence[Tensor], sets: Table) -> tuple[str, list[Tensor]] | None:
    """Return the point set of a function and its values, (channels, points) of each sample."""
    if name in SURPLUS and (less := _on_points("", _without(parts, *SURPLUS[name]), sets)):
        return less
    for home, points in sets.items():
        candidates = [_channels_first(x, len(p)) for x, p in zip(parts, points, strict=True)]
        whole = [x for x in candidates if x is not None]
        if len(whole) == len(candidates) and len({x.shape[0] for x in whole}) == 1:
            return home, whole
    return None


def _refuse_other_number(name: str, parts: Sequence[Tensor], sets: Table, source: str) -> None:
    """Refuse a function with one value for each point in some samples and not in others.

    Raises:
        OpError: OP0613.
    """
    if len({x.shape for x in parts}) == 1:
        return
    for home, points in sets.items():
        pairs = enumerate(zip(parts, points, strict=True))
        odd = [i for i, (x, p) in pairs if _channels_first(x, len(p)) is None]
        if odd and len(odd) < len(parts):
            first = odd[0]
            have, want = tuple(parts[first].shape), len(points[first])
            message = f"in sample {first}, `{name}` is {have}, and `{home}` has {want} points"
            helps = ("give one value for each point",)
            raise fault("OP0613", message, helps=helps, file=source)


def _channels_first(x: Tensor, points: int) -> Tensor | None:
    """Transpose to (channels, points); None if no axis has as many entries as there are points."""
    if x.shape == (points,):
        return x[None]
    if x.ndim != MATRIX:
        return None
    return x.T if x.shape[0] == points else x if x.shape[1] == points else None


def _without(parts: Sequence[Tensor], start: int, stop: int) -> list[Tensor]:
    """Remove the entries `start` to `stop` of the last axis of each tensor."""
    return [torch.cat((x[..., :start], x[..., stop:]), -1) for x in parts]


def _grid(parts: Sequence[Tensor]) -> tuple[int, ...]:
    """Points on each axis of a grid; () if shapes differ or there are fewer than two axes."""
    shape = parts[0].shape
    if any(x.shape != shape for x in parts) or len(shape) <= MATRIX:
        return ()
    if 2 * shape[-1] < min(shape[:-1]):
        return tuple(shape[:-1])
    return tuple(shape[1:]) if 2 * shape[0] < min(shape[1:]) else tuple(shape)


def _on_grid(parts: Sequence[Tensor], grids: Mapping[int, tuple[int, ...]]) -> Tensor | None:
    """Stack to (samples, channels, *grid), or without grid; None if the shapes differ."""
    if any(x.shape != parts[0].shape for x in parts):
        return None
    x = torch.stack(list(parts))
    if x.ndim == 1:
        return x[:, None]
    grid = _grid(parts)
    if not grid and x.shape[1] in grids:  # the points of a grid, one after the other
        grid = grids[x.shape[1]]
        x = x.reshape(len(x), *grid, -1)
    if not grid:
        return x[:, None] if x.ndim > MATRIX else x
    if x.ndim == len(grid) + 1:
        return x[:, None]
    return x.movedim(-1, 1).contiguous() if x.shape[1:-1] == grid else x


# ---------------------------------------------------------------------------------------- places


def _placed(name: str, sets: Table, table: Table) -> Geometries:
    """Make the geometries of a point set, with its weights, cells and edges if there are any."""
    optional = {"weights": _areas(sets[name], table)}
    if name == next(iter(sets)):
        optional |= {"cells": _joined(table, CELLS), "edges": _joined(table, EDGES)}
    present = {k: x for k, x in optional.items() if x is not None}
    return tuple(
        Geometry(points, **{k: x[i] for k, x in present.items()})
        for i, points in enumerate(sets[name])
    )


def _areas(points: Sequence[Tensor], table: Table) -> tuple[Tensor, ...] | None:
    candidates = (table[k] for k in table if k in AREAS)
    return next((x for x in candidates if _as_many(x, points)), None)


def _as_many(parts: Sequence[Tensor], points: Sequence[Tensor]) -> bool:
    return all(x.shape == (len(p),) for x, p in zip(parts, points, strict=True))


def _joined(table: Table, names: frozenset[str]) -> tuple[Tensor, ...] | None:
    """Point indices of cells or edges, one row for each; None if there are none."""
    tensors = next((x for k, x in table.items() if k in names and _joins(k, x)), None)
    if tensors is None:
        return None
    transposed = names is EDGES and all(x.shape[0] == ENDS != x.shape[1] for x in tensors)
    return tuple((x.T if transposed else x).long() for x in tensors)
