"""Split cells of any kind into simplices: segments, triangles, tetrahedra; and measure these.

Corners are point numbers in the order of VTK. A cell is cut from its corner of the lowest number to
the faces that lack it, and so is each face: then neighbours agree on the face that they share.

Source: Dompierre, Labbé, Vallet, Camarero 1999, "How to subdivide pyramids, prisms and hexahedra
into tetrahedra".
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KINDS = {2: "segments", 3: "triangles", 4: "tetrahedra"}
"""Corners of a simplex -> its name."""

POINTS = {
    "vertex": 1,
    "line": 2,
    "line3": 3,
    "triangle": 3,
    "triangle6": 6,
    "quad": 4,
    "quad9": 9,
    "tetra": 4,
    "tetra10": 10,
    "pyramid": 5,
    "wedge": 6,
    "hexahedron": 8,
}
"""Kinds of cells that are cut -> their points."""

Faces = tuple[tuple[int, ...], ...]
FACES: dict[str, Faces] = {
    "pyramid": ((0, 1, 2, 3), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)),
    "wedge": ((0, 1, 2), (3, 4, 5), (0, 1, 4, 3), (1, 2, 5, 4), (2, 0, 3, 5)),
    "hexahedron": (
        (0, 1, 2, 3),
        (4, 5, 6, 7),
        (0, 1, 5, 4),
        (1, 2, 6, 5),
        (2, 3, 7, 6),
        (3, 0, 4, 7),
    ),
}
CURVED: dict[str, tuple[str, Faces]] = {  # through their middle points, into straight ones
    "line3": ("line", ((0, 2), (2, 1))),
    "triangle6": ("triangle", ((0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5))),
    "quad9": ("quad", ((0, 4, 8, 7), (4, 1, 5, 8), (8, 5, 2, 6), (7, 8, 6, 3))),
    "tetra10": (
        "tetra",
        (
            (0, 4, 6, 7),
            (4, 1, 5, 8),
            (6, 5, 2, 9),
            (7, 8, 9, 3),
            (4, 5, 6, 8),
            (4, 6, 7, 8),
            (6, 8, 9, 5),
            (6, 7, 9, 8),
        ),
    ),
}


def split(kind: str, corners: Ints) -> tuple[Ints, Ints]:
    """Split cells of one kind into simplices.

    Args:
        kind: a key of `POINTS`, or `polygon...`, whose corners lie in order around it.
        corners: (cells, corners of each).

    Returns:
        (simplices, k) corners; (simplices,) the cell that each came from.
    """
    rows = np.arange(len(corners))
    if kind in CURVED:
        straight, parts = CURVED[kind]
        pieces, inner = split(straight, np.concatenate([corners[:, x] for x in parts]))
        return pieces, np.tile(rows, len(parts))[inner]
    if kind in FACES:
        return _cut(FACES[kind], corners)
    if kind == "quad" or kind.startswith("polygon"):
        fan = _fan(corners)
        return fan.reshape(-1, 3), np.repeat(rows, fan.shape[1])
    return corners, rows


def sizes(points: Floats, cells: Ints) -> Floats:
    """Length, area or volume of each simplex, in any space that holds it; (m,).

    sqrt(det(E E^T)) / (k - 1)!, with the edges from the first corner as rows of E.
    """
    edges = points[cells[:, 1:]] - points[cells[:, :1]]
    gram = edges @ edges.transpose(0, 2, 1)
    whole = np.sqrt(np.maximum(np.linalg.det(gram), 0))
    return np.asarray(whole / math.factorial(cells.shape[1] - 1))


def _fan(corners: Ints) -> Ints:
    """Split polygons into triangles at their lowest corner number; (cells, corners - 2, 3)."""
    count = corners.shape[1]
    turn = (corners.argmin(1)[:, None] + np.arange(count)) % count
    ring = np.take_along_axis(corners, turn, 1)
    first = np.broadcast_to(ring[:, :1], (len(ring), count - 2))
    return np.stack([first, ring[:, 1:-1], ring[:, 2:]], 2)


def _cut(faces: Faces, corners: Ints) -> tuple[Ints, Ints]:
    """Join the lowest corner of each cell with the triangles of the faces that lack it.

    Returns:
        (tetrahedra, 4) corners; (tetrahedra,) the cell of each.
    """
    lowest = corners.argmin(1)
    pieces, rows = [], []
    for face in faces:
        away = np.flatnonzero(~np.isin(lowest, face))
        fan = _fan(corners[away][:, face])
        apex = corners[away, lowest[away]]
        tops = np.broadcast_to(apex[:, None, None], (*fan.shape[:2], 1))
        pieces.append(np.concatenate([tops, fan], 2).reshape(-1, 4))
        rows.append(np.repeat(away, fan.shape[1]))
    return np.concatenate(pieces), np.concatenate(rows)
