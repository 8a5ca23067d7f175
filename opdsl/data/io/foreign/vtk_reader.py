"""Read VTK files with VTK, in the process that `foreign` limits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkOutputWindow
from vtkmodules.vtkCommonDataModel import vtkPolyData, vtkUnstructuredGrid
from vtkmodules.vtkIOLegacy import vtkDataSetReader
from vtkmodules.vtkIOXML import (
    vtkXMLImageDataReader,
    vtkXMLPolyDataReader,
    vtkXMLRectilinearGridReader,
    vtkXMLStructuredGridReader,
    vtkXMLUnstructuredGridReader,
)

from opdsl.data.io.foreign.worker import packed

LIBRARY = "VTK"
READERS = {
    "vtk": vtkDataSetReader,
    "vtp": vtkXMLPolyDataReader,
    "vtu": vtkXMLUnstructuredGridReader,
    "vti": vtkXMLImageDataReader,
    "vtr": vtkXMLRectilinearGridReader,
    "vts": vtkXMLStructuredGridReader,
}
POLYGONS = {3: "triangle", 4: "quad"}
PIECES = {"vertex": ("vertex", 1), "line": ("line", 2), "strip": ("triangle", 3)}
STRAIGHT = {1: "vertex", 3: "line", 5: "triangle", 6: "strip", 7: "polygon", 9: "quad"}
SOLID = {10: "tetra", 12: "hexahedron", 13: "wedge", 14: "pyramid"}
CELLS = STRAIGHT | SOLID | {2: "vertex", 4: "line", 21: "line3", 22: "triangle6", 24: "tetra10"}
NUMBERS = "biuf"
ERROR, WARNING = "ErrorEvent", "WarningEvent"

VtkArrays = list[np.ndarray[Any, Any]]
to_numpy: Callable[[Any], np.ndarray[Any, Any]] = vtk_to_numpy
VtkInts = np.ndarray[Any, np.dtype[np.int64]]
NamedVtk = dict[str, np.ndarray[Any, Any]]


def answer(request: dict[str, Any]) -> tuple[dict[str, Any], VtkArrays]:
    """Read a file.

    Args:
        request: `path`, and `kind`, the ending of the name without its dot.

    Returns:
        For points and cells the header of a mesh, as `worker.packed` returns it. For a
        grid the points on each axis (`dims`), where they are, and arrays by name, the first axis
        running fastest.
    """
    data = _read(request["kind"], request["path"])
    if isinstance(data, vtkPolyData | vtkUnstructuredGrid):
        return packed(_mesh(data))
    return _grid(data)


def _read(kind: str, path: str) -> Any:
    """Read a data set; errors that VTK prints are raised.

    Raises:
        ValueError: the file is damaged.
    """
    errors: list[str] = []

    def note(_window: Any, event: str, text: str) -> None:
        # that binary values end too early is a warning
        if event == ERROR or "error reading" in text.lower():
            errors.append(" ".join(text.split()))

    note.CallDataType = "string0"  # type: ignore[attr-defined]  # VTK asks for it
    window: Any = vtkOutputWindow.GetInstance()
    observers = [window.AddObserver(x, note) for x in (ERROR, WARNING)]
    try:
        reader: Any = READERS[kind]()
        if kind == "vtk":
            for name in ("Scalars", "Vectors", "Normals", "Tensors", "Fields", "TCoords"):
                getattr(reader, f"ReadAll{name}On")()
        reader.SetFileName(path)
        reader.Update()
        data = reader.GetOutput()
        if errors or reader.GetErrorCode() or data is None:
            raise ValueError(_message(errors))
        return data
    finally:
        for x in observers:
            window.RemoveObserver(x)


def _message(errors: list[str]) -> str:
    """Shorten what VTK prints: a place in its source, an address, and the message."""
    return re.split(r"\): |, line \d+ ", errors[0])[-1] if errors else "it cannot be read"


def _fields(attributes: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    for i in range(attributes.GetNumberOfArrays()):
        array = attributes.GetArray(i)
        if array is not None:  # texts are no arrays of numbers
            yield array.GetName() or f"array{i}", to_numpy(array)


# --- meshes -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Block:
    """Cells of one kind and number of corners: (cells, corners), and the number of each cell."""

    kind: str
    corners: VtkInts
    numbers: VtkInts


def _mesh(data: Any) -> SimpleNamespace:
    """Describe points and cells as meshio does: cells in blocks of one kind, with their values."""
    points = to_numpy(data.GetPoints().GetData()) if data.GetPoints() else np.zeros((0, 3))
    blocks = [_simple(x) for x in _blocks(data)]
    return SimpleNamespace(
        points=points,
        cells=[SimpleNamespace(type=x.kind, data=x.corners) for x in blocks],
        point_data=dict(_fields(data.GetPointData())),
        cell_data={
            name: [values[x.numbers] for x in blocks]
            for name, values in _fields(data.GetCellData())
            if len(values) == data.GetNumberOfCells()
        },
    )


def _blocks(data: Any) -> Iterator[_Block]:
    """Yield the cells of a data set by kind and number of corners."""
    if isinstance(data, vtkUnstructuredGrid):
        if data.GetNumberOfCells():
            types = to_numpy(data.GetCellTypes())
            for kind in np.unique(types):
                name = CELLS.get(int(kind), f"VTK {kind}")
                yield from _of_one_kind(data.GetCells(), name, 0, types == kind)
        return
    first = 0  # values on cells are in this order
    parts = (data.GetVerts(), "vertex"), (data.GetLines(), "line"), (data.GetPolys(), "polygon")
    for cells, name in (*parts, (data.GetStrips(), "strip")):
        yield from _of_one_kind(cells, name, first, np.True_)
        first += cells.GetNumberOfCells()


def _of_one_kind(cells: Any, kind: str, first: int, chosen: Any) -> Iterator[_Block]:
    offsets = to_numpy(cells.GetOffsetsArray()).astype(np.int64)
    corners = to_numpy(cells.GetConnectivityArray()).astype(np.int64)
    counts = np.diff(offsets)
    for count in np.unique(counts[chosen & (counts > 0)]):
        rows = np.flatnonzero(chosen & (counts == count))
        yield _Block(kind, corners[offsets[rows][:, None] + np.arange(count)], first + rows)


def _simple(block: _Block) -> _Block:
    """Cut cells with any number of corners into those with a fixed one; name polygons."""
    count = block.corners.shape[1]
    if block.kind == "polygon":
        return _Block(POLYGONS.get(count, f"polygon{count}"), block.corners, block.numbers)
    if block.kind not in PIECES:
        return block
    name, size = PIECES[block.kind]
    places = np.arange(max(count - size + 1, 0))[:, None] + np.arange(size)
    if block.kind == "strip":  # every other triangle is turned round
        places[1::2, :2] = places[1::2, 1::-1]
    corners = block.corners[:, places].reshape(-1, size)
    return _Block(name, corners, np.repeat(block.numbers, len(places)))


# --- grids --------------------------------------------------------------------------------------


def _grid(data: Any) -> tuple[dict[str, Any], VtkArrays]:
    """Describe a grid; of points in a plane or on a line some `dims` are 1."""
    extent = data.GetExtent()
    dims = [last - first + 1 for first, last in zip(extent[::2], extent[1::2], strict=True)]
    named: NamedVtk = {f"point_data/{k}": x for k, x in _fields(data.GetPointData())}
    named |= {f"cell_data/{k}": x for k, x in _fields(data.GetCellData())}
    header: dict[str, Any] = {"dims": dims}
    if hasattr(data, "GetSpacing"):
        rows = zip(data.GetOrigin(), data.GetSpacing(), extent[::2], strict=True)
        # the origin is that of the index 0, where the extent need not begin
        header["lines"] = [[o + h * first, h] for o, h, first in rows]
        matrix = data.GetDirectionMatrix()
        turned = [[matrix.GetElement(i, j) for j in range(3)] for i in range(3)]
        header["turned"] = turned != np.eye(3).tolist()
    elif hasattr(data, "GetXCoordinates"):
        get = (data.GetXCoordinates, data.GetYCoordinates, data.GetZCoordinates)
        named |= {f"axis{i}": to_numpy(x()) for i, x in enumerate(get)}
    else:
        named["points"] = to_numpy(data.GetPoints().GetData())
    numbers = {
        k: np.ascontiguousarray(x, x.dtype.newbyteorder("<"))
        for k, x in named.items()
        if x.dtype.kind in NUMBERS
    }
    header["arrays"] = [[k, x.dtype.str, list(x.shape)] for k, x in numbers.items()]
    return header, list(numbers.values())
