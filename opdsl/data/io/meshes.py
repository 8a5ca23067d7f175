"""Read mesh files (vtu, vtp, vtk, stl, obj, ply, msh) as points, simplices and fields on points.

A file keeps its units. Cells of the highest dimension become segments, triangles or tetrahedra;
points that no cell uses are left out (files of solvers keep such points, and they have no area).
Fields on cells are moved to the points: the mean over the cells around a point, weighted by their
size. Integer fields on cells are labels, which have no mean, and are left out. Files are
untrusted: the readers run no code and open no other file.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opdsl.data.derive.simplices import KINDS, POINTS, sizes, split
from opdsl.data.io.foreign.process import MeshFile, parse_mesh
from opdsl.data.io.foreign.vtk_files import GRIDS, VTK, legacy_kind, require_vtk
from opdsl.data.io.memory_budget import data_budget, too_large_for_memory
from opdsl.data.io.unknown_layout import unknown_layout
from opdsl.diagnostics import did_you_mean, fault
from opdsl.files import open_regular

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MESH_READERS = {
    ".vtu": "vtu",
    ".vtp": VTK,
    ".vtk": "vtk",
    ".stl": "stl",
    ".obj": "obj",
    ".ply": "ply",
    ".msh": "gmsh",
}
INTERNAL = ("gmsh:", "medit:", "obj:", "vtk:")  # prefixes of fields that readers add
HEADER = 1 << 20  # bytes in which the header of a file ends
STL_HEAD = 84  # bytes before the triangles of a binary .stl: a text, and their number
WORKSPACE = 8  # bytes in memory for each byte of a file: text becomes float64, and is copied


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """The mesh of one sample and its fields.

    Attributes:
        points: (n, d) float64; d = 2 where all z are 0.
        cells: (m, k) int64, k corners of each simplex; None for a cloud of points.
        fields: name -> (n, channels) float64.
        averaged: names of the fields that were on cells.
        left_out: how many points no cell uses.
        labels: names of fields on cells that are whole numbers, and were left out.
        source: the path as the user wrote it.
    """

    points: Floats
    cells: Ints | None
    fields: dict[str, Floats]
    averaged: tuple[str, ...] = ()
    left_out: int = 0
    labels: tuple[str, ...] = ()
    source: str = ""


def read_meshes(
    paths: Iterable[str | Path], progress: Callable[[int, int], None] | None = None
) -> list[Mesh]:
    """Read one mesh from each file; all have one dimension, kind of cells and set of fields.

    Args:
        paths: files, folders (the mesh files in them, in the order of their names) or patterns
            (`runs/*.vtu`).
        progress: is called with the files done and all files.

    Raises:
        OpError: OP0610 a file is absent, damaged, of another kind than the first or too large.
    """
    files = mesh_files(paths)
    meshes: list[Mesh] = []
    for path in files:
        meshes.append(read_mesh(path))
        _alike(meshes[0], meshes[-1])
        if progress:
            progress(len(meshes), len(files))
    return meshes


def mesh_files(paths: Iterable[str | Path]) -> tuple[Path, ...]:
    """List the files that paths, folders and patterns name; 2.vtu is before 10.vtu.

    Raises:
        OpError: OP0610, there is no such file.
    """
    files = tuple(x for path in paths for x in _named(Path(path)))
    if not files:
        raise fault("OP0610", "no mesh file is named", helps=("name files, or a folder of them",))
    return files


def read_mesh(path: Path) -> Mesh:
    """Read the mesh of one file.

    Raises:
        OpError: OP0610 the file is damaged, too large or of an unknown kind; OP0612 a value is not
            finite.
    """
    source = str(path)
    contents = mesh_contents(path, source)
    points = _points(contents, source)
    blocks = [(x.type, _corners(x, len(points), source)) for x in contents.cells]
    cells, origins = _simplices(blocks)
    fields = _on_points(contents, len(points), source)
    labels: tuple[str, ...] = ()
    averaged: dict[str, Floats] = {}
    if cells is not None:
        averaged, labels = _from_cells(contents, origins, points, cells)
    fresh = {k: x for k, x in averaged.items() if k not in fields}
    mesh = Mesh(points, cells, fields | fresh, tuple(fresh), 0, labels, source)
    return mesh if cells is None else _used(mesh, cells)


def mesh_contents(path: Path, source: str) -> MeshFile:
    """Parse a mesh file.

    Raises:
        OpError: OP0610, the file is damaged, too large, of an unknown kind or a grid, or needs VTK,
            which is not installed.
    """
    form = _format(path, source)
    if (size := WORKSPACE * path.stat().st_size) > (cap := data_budget()):
        raise too_large_for_memory("the mesh", size, cap, source)
    try:
        return _parsed(path, form, source)
    except OSError as error:
        raise fault("OP0610", str(error.strerror or error).lower(), file=source) from error


# --- files --------------------------------------------------------------------------------------


def _named(path: Path) -> tuple[Path, ...]:
    try:
        if path.is_dir():
            return _in_folder(path)
        if path.is_file():
            return (path,)
    except OSError as error:
        raise fault("OP0610", str(error.strerror).lower(), file=str(path)) from error
    matches = tuple(Path(x) for x in glob.glob(str(path)))  # noqa: PTH207  the pattern may be absolute
    if matches:
        return tuple(sorted((x for x in matches if x.is_file()), key=natural))
    near = [x.name for x in path.parent.iterdir()] if path.parent.is_dir() else []
    helps = did_you_mean(path.name, near)
    raise fault("OP0610", "there is no such file or folder", helps=helps, file=str(path))


def _in_folder(folder: Path) -> tuple[Path, ...]:
    files = [x for x in folder.iterdir() if x.suffix.lower() in MESH_READERS and x.is_file()]
    if not files:
        endings = ", ".join(MESH_READERS)
        raise fault("OP0610", f"no mesh file ({endings}) in this folder", file=str(folder))
    return tuple(sorted(files, key=natural))


def natural(path: Path) -> tuple[object, ...]:
    """Sort key of file names by which the numbers in them are compared as numbers."""
    parts = re.split(r"(\d+)", path.name)
    return tuple((int(x), "") if x.isdigit() else (-1, x) for x in parts)


def _format(path: Path, source: str) -> str:
    form = MESH_READERS.get(path.suffix.lower())
    if form is None:
        endings = ", ".join(MESH_READERS)
        message = f"`{path.suffix}` is not the ending of a mesh file that is read"
        raise fault("OP0610", message, helps=(f"these are: {endings}",), file=source)
    kind = legacy_kind(path) if form == "vtk" else ""
    if kind in GRIDS:
        message = f"the file holds a grid ({kind}), not a mesh"
        help_text = 'name its arrays in the program: `data { fields { u = "point_data/..." } }`'
        raise unknown_layout(message, source, help_text)
    if kind == "POLYDATA" or form == VTK:
        require_vtk(source)
        return VTK
    return form


def _parsed(path: Path, form: str, source: str) -> MeshFile:
    """Parse a file with meshio, and refuse fewer points or cells than it declares."""
    declared = _declared(path, form, source)
    mesh = parse_mesh(path, form, source)
    counts = {"vertex": len(mesh.points), "face": sum(len(x.data) for x in mesh.cells)}
    for name, count in declared.items():
        if counts[name] != count:
            message = (
                f"the file is incomplete: it declares {count} of `{name}` and has {counts[name]}"
            )
            raise fault("OP0610", message, helps=("copy or make it again",), file=source)
    return mesh


def _declared(path: Path, form: str, source: str) -> dict[str, int]:
    """Read the counts in the header of formats where meshio accepts an incomplete file."""
    with os.fdopen(open_regular(path), "rb") as file:
        head = file.read(HEADER if form in {"ply", "stl"} else 0)
    if form == "ply":
        end = re.search(rb"\nend_header\s*\n", head)
        if not end:  # meshio would look for it for ever
            raise fault(
                "OP0610",
                "the file is damaged, or no .ply file",
                notes=("the header has no end",),
                file=source,
            )
        counts = re.findall(rb"element\s+(vertex|face)\s+(\d{1,18})\s", head[: end.start() + 1])
        return {name.decode(): int(count) for name, count in counts}
    if form == "stl" and len(head) >= STL_HEAD and not head.startswith(b"solid"):
        return {"face": int.from_bytes(head[80:STL_HEAD], "little")}
    return {}


def _alike(first: Mesh, other: Mesh) -> None:
    """Refuse a mesh that differs from the first in dimension, kind of cells or fields.

    Raises:
        OpError: OP0610.
    """
    for what, a, b in (
        ("dimension of space", first.points.shape[1], other.points.shape[1]),
        ("kind of cells", cell_kind(first), cell_kind(other)),
        ("fields", _channels(first), _channels(other)),
    ):
        if a != b:
            raise fault(
                "OP0610",
                f"the {what} of this file differs from that of the first file",
                notes=(f"here {_told(b)}, in {first.source} {_told(a)}",),
                helps=("convert files of different kinds on their own",),
                file=other.source,
            )


def cell_kind(mesh: Mesh) -> str:
    """Name of the kind of cells: segments, triangles, tetrahedra, or points if there are none."""
    return "points" if mesh.cells is None else KINDS[mesh.cells.shape[1]]


def _channels(mesh: Mesh) -> dict[str, int]:
    return {k: x.shape[1] for k, x in sorted(mesh.fields.items())}


def _told(x: object) -> str:
    if isinstance(x, dict):
        return ", ".join(f"`{k}` ({n})" for k, n in x.items()) or "none"
    return str(x)


# --- contents -----------------------------------------------------------------------------------


def _points(held: Any, source: str) -> Floats:
    """Coordinates (n, d) of the points; d = 2 if all z are 0."""
    points = np.asarray(held.points)
    if points.ndim != 2 or not len(points) or points.shape[1] not in (2, 3):
        message = f"the file has points of the shape {points.shape}"
        raise fault("OP0610", message, helps=("expected (n, 2) or (n, 3), n > 0",), file=source)
    points = points.astype(np.float64)
    _finite("the points", points, source)
    flat = points.shape[1] == 3 and not points[:, 2].any()
    return points[:, :2].copy() if flat else points


def _finite(what: str, x: Floats, source: str) -> None:
    bad = ~np.isfinite(x).all(1)
    if bad.any():
        raise fault(
            "OP0612",
            f"{what} hold NaN or infinite values, first at point {int(np.argmax(bad))}",
            file=source,
        )


def _corners(block: Any, count: int, source: str) -> Ints:
    """Check the corners (cells, k) of a block of cells and convert them to int64."""
    name = block.type
    if name not in POINTS and not name.startswith("polygon"):
        kinds = ", ".join(x for x in POINTS if x != "vertex")
        message = f"the file has cells of the kind `{name}`, which are not read"
        raise fault("OP0610", message, helps=(f"cells may be: {kinds}, polygon",), file=source)
    corners = np.asarray(block.data)
    if corners.ndim != 2 or corners.dtype.kind not in "iu":
        raise fault("OP0610", f"the cells of the kind `{name}` are no table", file=source)
    expected = POINTS.get(name, max(corners.shape[1], 3))
    if corners.shape[1] != expected:
        message = f"a cell of the kind `{name}` has {corners.shape[1]} corners, expected {expected}"
        raise fault("OP0610", message, file=source)
    if corners.size and not 0 <= corners.min() <= corners.max() < count:
        message = f"a cell has the corner {_beyond(corners)}, there are {count} points"
        raise fault("OP0610", message, file=source)
    return corners.astype(np.int64)


def _beyond(corners: Ints) -> int:
    return int(corners.min() if corners.min() < 0 else corners.max())


def _simplices(
    blocks: Sequence[tuple[str, Ints]],
) -> tuple[Ints | None, list[Ints | None]]:
    """Return the simplices of the highest dimension, and for each block their cells of origin."""
    nothing = np.zeros((0, 1), np.int64), np.zeros(0, np.int64)
    parts = [split(name, corners) if len(corners) else nothing for name, corners in blocks]
    widest = max((x.shape[1] for x, _ in parts if len(x)), default=1)
    if widest == 1:
        return None, [None] * len(blocks)
    widest_parts = [(x, rows) if x.shape[1] == widest else None for x, rows in parts]
    cells = np.concatenate([x[0] for x in widest_parts if x is not None])
    return cells, [None if x is None else x[1] for x in widest_parts]


def _on_points(held: Any, count: int, source: str) -> dict[str, Floats]:
    fields = {}
    for name, values in held.point_data.items():
        if name.startswith(INTERNAL):
            continue
        x = np.asarray(values)
        if x.dtype.kind not in "biuf" or len(x) != count:
            message = f"the field `{name}` has the shape {x.shape}, there are {count} points"
            raise fault("OP0610", message, file=source)
        fields[name] = x.reshape(count, -1).astype(np.float64)
    return fields


def _from_cells(
    held: Any, kept: Sequence[Ints | None], points: Floats, cells: Ints
) -> tuple[dict[str, Floats], tuple[str, ...]]:
    """Average fields on cells to points; return them and the names of labels (integer fields)."""
    fields, labels = {}, []
    for name, blocks in held.cell_data.items():
        if name.startswith(INTERNAL):
            continue
        parts = [
            np.asarray(x)[rows] for x, rows in zip(blocks, kept, strict=True) if rows is not None
        ]
        values = np.concatenate(parts)
        if values.dtype.kind != "f":
            labels.append(name)
            continue
        fields[name] = around(points, cells, values.reshape(len(values), -1).astype(np.float64))
    return fields, tuple(labels)


def around(points: Floats, cells: Ints, values: Floats) -> Floats:
    """Average a function on cells over the cells around each point, weighted by their size.

    Args:
        points: (n, d) coordinates.
        cells: (m, k) corners of simplices.
        values: (m, channels) values on the cells.

    Returns:
        (n, channels) values at the points; 0 at a point without cells.
    """
    weight = sizes(points, cells)
    sums, total = np.zeros((len(points), values.shape[1])), np.zeros(len(points))
    for corner in cells.T:
        np.add.at(sums, corner, values * weight[:, None])
        np.add.at(total, corner, weight)
    return np.asarray(sums / np.where(total > 0, total, 1)[:, None])


def _used(mesh: Mesh, cells: Ints) -> Mesh:
    """Remove the points that no cell uses."""
    indices = np.unique(cells)
    number = np.full(len(mesh.points), -1, np.int64)
    number[indices] = np.arange(len(indices))
    return Mesh(
        mesh.points[indices],
        number[cells],
        {k: x[indices] for k, x in mesh.fields.items()},
        mesh.averaged,
        len(mesh.points) - len(indices),
        mesh.labels,
        mesh.source,
    )
