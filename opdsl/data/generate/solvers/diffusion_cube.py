"""-div(a grad u) = f on the unit cube, u = 0 on its boundary, by a seven-point stencil."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import dia_array

NodalValues = NDArray[np.float64]

TOLERANCE = 1e-12  # of the residual, relative, at which the iteration stops
MOST_STEPS = 2000


def solve_cube(a: NodalValues, f: NodalValues | float = 1.0) -> tuple[NodalValues, float]:
    """Solve for u (n, n, n); return it and the relative residual ||f - A u|| / ||f||.

    The coefficient of a face is the arithmetic mean of its two nodes, as in two dimensions. The
    method is conjugate gradients, preconditioned by the solution for a = 1 in sines: the number of
    steps depends on the ratio of the largest to the smallest coefficient, not on n.

    Args:
        a: (n, n, n) values at the nodes, boundary included; positive.
        f: (n, n, n) or a constant.

    Source: Concus and Golub 1973, doi:10.1137/0710092, the fast Poisson solver as preconditioner.
    """
    from scipy.sparse.linalg import LinearOperator, cg

    n = len(a)
    matrix = seven_points(a)
    inside = (slice(1, -1),) * 3
    right = np.broadcast_to(np.asarray(f, np.float64), a.shape)[inside].ravel()
    fast: Any = LinearOperator(matrix.shape, matvec=_Poisson(n - 2), dtype=np.float64)
    inner, _ = cg(matrix, right, rtol=TOLERANCE, atol=0.0, maxiter=MOST_STEPS, M=fast)
    u = np.zeros_like(a)
    u[inside] = inner.reshape((n - 2,) * 3)
    residual = float(np.linalg.norm(right - matrix @ inner))
    return u, residual / float(np.linalg.norm(right))


def seven_points(a: NodalValues) -> dia_array[Any]:
    """Assemble the matrix of the inner nodes, rows in the order of the grid; 1 / length^2."""
    from scipy.sparse import dia_array

    n = len(a)
    m = n - 2
    scale = float((n - 1) ** 2)
    diagonal = np.zeros((m, m, m))
    rows, offsets = [], []
    for axis in range(3):
        inside = [slice(1, -1)] * 3
        inside[axis] = slice(None)
        x = np.moveaxis(a[tuple(inside)], axis, 0)
        faces = (x[:-1] + x[1:]) / 2 * scale  # (m + 1, m, m)
        diagonal += np.moveaxis(faces[:-1] + faces[1:], 0, axis)
        # nodes of the first layer have no neighbour below, those of the last one none above
        below, above = faces[:-1].copy(), faces[1:].copy()
        below[0], above[-1] = 0.0, 0.0
        step = m ** (2 - axis)
        for neighbour, offset in ((below, -step), (above, step)):
            values = -np.moveaxis(neighbour, 0, axis).ravel()
            # in this format an entry is stored by its column
            rows.append(np.roll(values, offset))
            offsets.append(offset)
    entries = np.stack([diagonal.ravel(), *rows])
    return dia_array((entries, [0, *offsets]), shape=(m**3, m**3))


class _Poisson:
    """Solve the seven-point equations for a = 1 by sine transforms."""

    def __init__(self, m: int) -> None:
        k = np.arange(1, m + 1)
        waves = (2 * (m + 1) * np.sin(np.pi * k / (2 * (m + 1)))) ** 2
        self._eigenvalues = waves[:, None, None] + waves[:, None] + waves

    def __call__(self, right: NodalValues) -> NodalValues:
        from scipy.fft import dstn, idstn

        c = dstn(right.reshape(self._eigenvalues.shape), type=1) / self._eigenvalues
        return np.asarray(idstn(c, type=1, overwrite_x=True), np.float64).ravel()
