"""-div(a grad u) = f on the unit square, u = 0 on its boundary, by a five-point stencil."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csc_array

NodalValues = NDArray[np.float64]


def solve(a: NodalValues, f: NodalValues | float = 1.0) -> tuple[NodalValues, float]:
    """Solve for u (n, n); return it and the relative residual ||f - A u|| / ||f||.

    The coefficient of a face is the arithmetic mean of its two nodes, as in Li's solve_gwf.m; the
    error is O(h^2) where a is smooth, O(h) where it jumps. One step of refinement removes most of
    the rounding of the factorisation.

    Args:
        a: (n, n) values at the nodes, boundary included; positive.
        f: (n, n) or a constant.

    Source: Li et al. 2021, arXiv:2010.08895, app. A.3.2. They work on cell centres and move the
        result to nodes by splines; here everything is on nodes, so u is exactly 0 on the boundary.
    """
    from scipy.sparse.linalg import splu

    n = len(a)
    matrix = five_points(a)
    right = np.broadcast_to(np.asarray(f, np.float64), a.shape)[1:-1, 1:-1].ravel()
    # the matrix is symmetric positive definite: pivots stay on the diagonal, and minimum degree
    # leaves half of the fill of the default ordering
    factors = splu(matrix, "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    inner = factors.solve(right)
    inner = inner + factors.solve(right - matrix @ inner)
    u = np.zeros((n, n))
    u[1:-1, 1:-1] = inner.reshape(n - 2, n - 2)
    residual = float(np.linalg.norm(right - matrix @ inner))
    return u, residual / float(np.linalg.norm(right))


def five_points(a: NodalValues) -> csc_array[Any]:
    """Assemble the matrix of the inner nodes, rows in the order of the grid; 1 / length^2."""
    from scipy.sparse import csc_array

    n = len(a)
    north, east = (a[:-1] + a[1:])[:, 1:-1] / 2, (a[:, :-1] + a[:, 1:])[1:-1] / 2
    weights = np.stack(
        (
            north[:-1] + north[1:] + east[:, :-1] + east[:, 1:],
            -north[:-1],
            -east[:, :-1],
            -east[:, 1:],
            -north[1:],
        )
    ) * float((n - 1) ** 2)
    order, rows, starts = _pattern(n - 2)
    return csc_array((weights.ravel()[order], rows, starts), shape=((n - 2) ** 2,) * 2)


@lru_cache(maxsize=4)
def _pattern(m: int) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Sparsity pattern of m x m inner nodes: order of the weights, rows, starts of columns."""
    here = np.arange(m * m).reshape(m, m)
    edge = np.pad(here, 1, constant_values=-1)
    rows = np.stack((here, edge[:-2, 1:-1], edge[1:-1, :-2], edge[1:-1, 2:], edge[2:, 1:-1]))
    columns = np.broadcast_to(here, rows.shape)
    inside = np.flatnonzero(rows.ravel() >= 0)
    order = inside[np.lexsort((rows.ravel()[inside], columns.ravel()[inside]))]
    counts = np.bincount(columns.ravel()[order], minlength=m * m)
    starts = np.concatenate(([0], np.cumsum(counts)))
    return order, rows.ravel()[order].astype(np.int32), starts.astype(np.int32)
