"""-(a u')' = f on the unit interval, u = 0 at its ends, by differences and by exact integrals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NodalValues = NDArray[np.float64]


def solve_line(a: NodalValues, f: NodalValues | float = 1.0) -> tuple[NodalValues, float]:
    """Solve for u (n,) by three-point differences; return it and the relative residual.

    The coefficient of a face is the arithmetic mean of its two nodes, as in two and in three
    dimensions: the error is O(h^2) where a is smooth, O(h) where it jumps.

    Args:
        a: (n,) values at the nodes, boundary included; positive.
        f: (n,) or a constant.
    """
    from scipy.linalg import solveh_banded

    n = len(a)
    faces = (a[:-1] + a[1:]) / 2 * float((n - 1) ** 2)
    right = np.broadcast_to(np.asarray(f, np.float64), a.shape)[1:-1]
    bands = np.stack([faces[:-1] + faces[1:], np.append(-faces[1:-1], 0.0)])
    inner = solveh_banded(bands, right, lower=True)
    inner = inner + solveh_banded(bands, right - _product(faces, inner), lower=True)
    residual = float(np.linalg.norm(right - _product(faces, inner)))
    return np.pad(inner, 1), residual / float(np.linalg.norm(right))


def smooth_solution(a: NodalValues) -> NodalValues:
    """Return u for f = 1 and a smooth coefficient (n,), n odd, by its formula.

    The flux is -a u' = x - c, so that u(x) is the integral of (c - x) / a from 0 to x, and u(1) = 0
    gives c. The integrals follow the rule of Simpson, each panel of which has three nodes: the
    error is O(h^4).

    Returns:
        ((n + 1) / 2,) values at the nodes 0, 2, 4, ...
    """
    x = np.linspace(0.0, 1.0, len(a))
    return _from_integrals(*(_simpson(g / a) for g in (np.ones_like(x), x)))


def layered_solution(edges: NodalValues, values: NodalValues, x: NodalValues) -> NodalValues:
    """Return u (n,) at points for f = 1 and a coefficient that is constant in each layer, exactly.

    Args:
        edges: (layers + 1,), 0 to 1, ascending.
        values: (layers,) of the coefficient.
        x: (n,), ascending from 0 to 1.
    """
    cuts = np.union1d(x, edges)
    middle = (cuts[:-1] + cuts[1:]) / 2
    a = values[np.searchsorted(edges, middle) - 1]
    width = np.diff(cuts) / a
    integrals = (np.concatenate([[0.0], np.cumsum(g)]) for g in (width, width * middle))
    return _from_integrals(*integrals)[np.searchsorted(cuts, x)]


def _from_integrals(one: NodalValues, first: NodalValues) -> NodalValues:
    """Return u from the integrals of 1 / a and x / a, the last of which reach x = 1."""
    u = first[-1] / one[-1] * one - first
    u[-1] = 0.0  # without rounding
    return np.asarray(u)


def _product(faces: NodalValues, inner: NodalValues) -> NodalValues:
    """Return A u at the inner nodes."""
    return -np.diff(faces * np.diff(np.pad(inner, 1)))


def _simpson(g: NodalValues) -> NodalValues:
    """Return the integrals of g (n,) from 0 to the nodes 0, 2, 4, ... by the rule of Simpson."""
    panels = (g[:-2:2] + 4 * g[1::2] + g[2::2]) / (3 * (len(g) - 1))
    return np.concatenate([[0.0], np.cumsum(panels)])
