"""u - Laplace u / 10 = f on a closed surface, by linear finite elements on its triangles.

u minimises the integral of (|grad u|^2 / 10 + u^2) / 2 - f u over functions linear on triangles.

Source: Dziuk 1988, "Finite elements for the Beltrami operator on arbitrary surfaces".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from opdsl.data.derive.simplices import sizes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LENGTH = 0.1  # the square of the distance over which u levels f out


def solve(points: Floats, cells: Ints, f: Floats) -> tuple[Floats, float]:
    """Solve for u (n,) at the points; return it and the relative residual.

    Args:
        points: (n, 3) coordinates.
        cells: (m, 3) corners of the triangles.
        f: (n,), the source at the points.
    """
    from scipy.sparse.linalg import spsolve

    stiff, mass = matrices(points, cells)
    matrix, load = (LENGTH * stiff + mass).tocsc(), mass @ f
    u = np.asarray(spsolve(matrix, load), np.float64)
    residual = np.linalg.norm(matrix @ u - load)
    return u, float(residual / (np.linalg.norm(load) or 1))


def matrices(points: Floats, cells: Ints) -> tuple[Any, Any]:
    """Assemble stiffness and mass matrix: integrals of grad v grad w and of v w; sparse (n, n).

    v and w are the hat functions of two points. On a triangle of area A the first integral is
    e_v e_w / 4 A, with the sides opposite the corners, and the second (1 + [v = w]) A / 12.
    """
    from scipy.sparse import coo_array

    corners = points[cells]
    across = np.roll(corners, -2, 1) - np.roll(corners, -1, 1)
    area = sizes(points, cells)[:, None, None]
    stiff = across @ across.transpose(0, 2, 1) / (4 * area)
    mass = area * (1 + np.eye(3)) / 12
    rows, columns = np.repeat(cells, 3, 1).reshape(-1), np.tile(cells, (1, 3)).reshape(-1)
    size = (len(points),) * 2
    sparse = (coo_array((x.reshape(-1), (rows, columns)), shape=size) for x in (stiff, mass))
    first, second = (x.tocsr() for x in sparse)
    return first, second


def integral(points: Floats, cells: Ints, f: Floats) -> float:
    """Integrate a function (n,) that is linear on each triangle."""
    return float((sizes(points, cells) * f[cells].mean(1)).sum())
