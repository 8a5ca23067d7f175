"""Meshes and structured grids: VTK, STL, OBJ, PLY and Gmsh files.

Each file is read whole, in a process with limits: texts cannot be read in part, and the readers of
meshio and VTK believe what a file declares.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from opdsl.data.arrays.containers.admission import damage
from opdsl.data.arrays.containers.loaded import Loaded, LoadedArrays
from opdsl.data.arrays.containers.vtk_grids import grid_arrays
from opdsl.data.arrays.formats import ArrayFormat
from opdsl.data.arrays.listing import ArrayFile
from opdsl.data.io.data_file import DataFile
from opdsl.data.io.foreign.process import (
    SECONDS_PER_BYTE,
    CellBlock,
    MeshFile,
    ask_arrays,
    file_limits,
)
from opdsl.data.io.foreign.vtk_files import GRID_ENDINGS, VTK, holds_grid, require_vtk
from opdsl.data.io.memory_budget import data_budget, too_large_for_memory
from opdsl.data.io.meshes import MESH_READERS, mesh_contents

ENDINGS = (*MESH_READERS, *GRID_ENDINGS)
POINT, CELL, COORDINATE, NODE, CHANNEL = "point", "cell", "coordinate", "node", "channel"
AXIS_BYTES = 16  # of a point on an axis: its coordinate, and that of the cell


@contextmanager
def _open(file: DataFile) -> Iterator[ArrayFile]:
    ending = file.path.suffix.lower()
    if holds_grid(file.path):
        yield LoadedArrays(f"grid {ending}", file.source, _grid(file))
        return
    contents = mesh_contents(file.path, file.source)
    with damage(file.source, "the reader"):
        loaded = _mesh(contents)
    numbers = {k: x for k, x in loaded.items() if x.values.dtype.kind != "O"}
    skipped = [f"{k} (no numbers)" for k in loaded if k not in numbers]
    attributes = {"skipped": skipped} if skipped else {}
    yield LoadedArrays(f"mesh {ending}", file.source, numbers, attributes)


def _grid(file: DataFile) -> dict[str, Loaded]:
    require_vtk(file.source)
    request = {"kind": file.path.suffix.lower()[1:]}
    limits = file_limits(file.path, SECONDS_PER_BYTE * file.path.stat().st_size)
    header, values = ask_arrays(file.path, VTK, request, limits, file.source)
    with damage(file.source, "the reader"):
        size = AXIS_BYTES * sum(header["dims"])
    if size > (cap := data_budget()):
        raise too_large_for_memory("the coordinates", size, cap, file.source)
    with damage(file.source, "the reader"):
        return grid_arrays(header, values)


def _mesh(contents: MeshFile) -> dict[str, Loaded]:
    """Name the arrays of a mesh; cells of one kind in several blocks become one array."""
    arrays = {"points": Loaded(contents.points, (POINT, COORDINATE))}
    kinds: dict[str, list[int]] = {}
    for i, block in enumerate(contents.cells):
        kinds.setdefault(_kind(block), []).append(i)
    # with cells of several kinds, `cell` would be an axis of several lengths
    axes = {k: CELL if len(kinds) == 1 else k for k in kinds}
    for kind, blocks in kinds.items():
        corners = np.concatenate([contents.cells[i].data for i in blocks])
        arrays[f"cells/{kind}"] = Loaded(corners, (axes[kind], NODE))
    for name, values in contents.point_data.items():
        arrays[f"point_data/{name}"] = Loaded(values, _axes(POINT, values.ndim))
    for name, parts in contents.cell_data.items():
        for kind, blocks in kinds.items():
            values = np.concatenate([parts[i] for i in blocks])
            key = f"cell_data/{name}" if len(kinds) == 1 else f"cell_data/{name}/{kind}"
            arrays[key] = Loaded(values, _axes(axes[kind], values.ndim))
    return arrays


def _kind(block: CellBlock) -> str:
    """Name of the kind of cells: one for each number of corners of polygons."""
    if block.type == "polygon" and block.data.ndim > 1:
        return f"polygon{block.data.shape[1]}"
    return block.type


def _axes(first: str, rank: int) -> tuple[str | None, ...]:
    return (first, *(CHANNEL,) * (rank == 2), *(None,) * (rank - 1) * (rank > 2))


def _matches(file: DataFile) -> bool:
    # these formats have no first bytes in common
    return file.container is None and bool(file.head) and file.path.suffix.lower() in ENDINGS


FORMAT = ArrayFormat(f"a mesh or a structured grid ({', '.join(ENDINGS)})", _matches, _open)
