"""VTK files: what a file holds by its beginning, and the library that reads it."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from opdsl.diagnostics import fault

VTK = "opdsl.data.io.foreign.vtk_reader"
GRIDS = {"STRUCTURED_POINTS", "STRUCTURED_GRID", "RECTILINEAR_GRID"}
GRID_ENDINGS = (".vti", ".vtr", ".vts")
LEGACY = re.compile(  # a version, a title, the encoding, and the kind
    rb"# vtk DataFile[^\n]*\n[^\n]*\n\s*(?:ASCII|BINARY)\s+DATASET\s+(\w+)", re.IGNORECASE
)
HEAD = 2048  # bytes in which the kind of a legacy file is stated: a title of one line precedes it


def legacy_kind(path: Path) -> str:
    """Return the kind of data set in a legacy `.vtk` file, in capitals; empty if there is none.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        match = LEGACY.match(file.read(HEAD))
    return match[1].decode().upper() if match else ""


def holds_grid(path: Path) -> bool:
    """Whether a file holds a structured grid.

    Raises:
        OSError: the file cannot be read.
    """
    ending = path.suffix.lower()
    return ending in GRID_ENDINGS or (ending == ".vtk" and legacy_kind(path) in GRIDS)


def require_vtk(source: str) -> None:
    """Refuse to go on without VTK.

    Raises:
        OpError: OP0610, VTK is not installed.
    """
    if find_spec("vtkmodules") is None:
        helps = ("install it: pip install 'opdsl[vtk]'",)
        raise fault("OP0610", "reading this kind of file needs VTK", helps=helps, file=source)
