"""div((1 + u^2 / 10) grad u) = f in a shape, u = g on its boundary: finite elements and Newton.

A second solution checks the first. By Kirchhoff's transform w = u + u^3 / 30 solves the linear
problem Laplace w = f, w = g + g^3 / 30. Both discretisations have order two, and so has their
difference. The transform also bounds u: with F the largest f and -F' the least, w + F (1 - |x|^2) /
4 takes its minimum on the boundary of a shape in the unit circle, and w - F' (1 - |x|^2) / 4 its
maximum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate.sampling.star import Triangles

Floats = NDArray[np.float64]

SLOPE = 0.1  # of the conductivity in u^2
STEPS, HALVES = 30, 12  # of Newton's method, and of one step, at most
ENOUGH = 1e-12  # of the residual, relative; one more step would reach rounding
DEGREE = 4  # of polynomials that are integrated exactly: u^2 |grad u|^2 has 2


def solve(mesh: Triangles, f: Floats, g: Floats) -> tuple[Floats, float]:
    """Solve for u (n,) at the points; return it and the relative residual.

    Args:
        f: (n,), the source at the points.
        g: (n,), the boundary values; those at inner points are the start of Newton's method.
    """
    from scipy.sparse.linalg import spsolve

    basis, inner = _basis(mesh), np.arange(mesh.edge, len(mesh.points))
    load = _load(basis, f)
    scale = np.linalg.norm(load[inner]) + np.linalg.norm(_tangent(basis, g)[1][inner])
    u = g.copy()
    for _ in range(STEPS):
        matrix, flux = _tangent(basis, u)
        residual = (flux + load)[inner]
        if np.linalg.norm(residual) <= ENOUGH * scale:
            break
        move = np.zeros_like(u)
        move[inner] = -spsolve(matrix[inner][:, inner].tocsc(), residual)
        u = _step(basis, u, move, load, inner)
    residual = (_tangent(basis, u)[1] + load)[inner]
    return u, float(np.linalg.norm(residual) / (scale or 1))


def kirchhoff(mesh: Triangles, f: Floats, g: Floats) -> tuple[Floats, Floats]:
    """Solve by Kirchhoff's transform; return (w, u) at the points, (n,) each."""
    w = _poisson(mesh, f, g + SLOPE / 3 * g**3)
    return w, back(w)


def back(w: Floats) -> Floats:
    """Invert Kirchhoff's transform: the only real root u of u + u^3 / 30 = w."""
    root = np.sqrt(SLOPE)
    return np.asarray(2 / root * np.sinh(np.arcsinh(1.5 * root * w) / 3))


def bounds(f: Floats, g: Floats, edge: int) -> tuple[float, float]:
    """Bounds of u in a shape within the unit circle, by the maximum principle."""
    w = (g + SLOPE / 3 * g**3)[:edge]
    low, high = w.min() - max(f.max(), 0) / 4, w.max() + max(-f.min(), 0) / 4
    return tuple(back(np.array([low, high])).tolist())


def extend(mesh: Triangles, g: Floats) -> Floats:
    """Extend boundary values (edge,) to a harmonic function at all points (n,)."""
    whole = np.zeros(len(mesh.points))
    whole[: mesh.edge] = g
    return _poisson(mesh, np.zeros(len(mesh.points)), whole)


def manufactured(x: Floats) -> tuple[Floats, Floats]:
    """Known solution u = 4 sin(2 x + 1/3) cos(3/2 y) at points (n, 2), and its source f."""
    p, q = 2 * x[:, 0] + 1 / 3, 1.5 * x[:, 1]
    u = 4 * np.sin(p) * np.cos(q)
    slopes = (8 * np.cos(p) * np.cos(q)) ** 2 + (6 * np.sin(p) * np.sin(q)) ** 2
    return u, -(1 + SLOPE * u**2) * 6.25 * u + 2 * SLOPE * u * slopes


def _poisson(mesh: Triangles, f: Floats, g: Floats) -> Floats:
    """Solve Laplace w = f with w = g on the boundary; (n,)."""
    from scipy.sparse.linalg import spsolve

    basis, inner = _basis(mesh), np.arange(mesh.edge, len(mesh.points))
    matrix, _ = _tangent(basis, np.zeros(len(f)))
    w = g.copy()
    w[mesh.edge :] = 0
    residual = (matrix @ w + _load(basis, f))[inner]
    w[inner] = -spsolve(matrix[inner][:, inner].tocsc(), residual)
    return w


def _basis(mesh: Triangles) -> Any:
    from skfem import Basis, ElementTriP1, MeshTri

    lines = (np.ascontiguousarray(x.T) for x in (mesh.points, mesh.cells))
    return Basis(MeshTri(*lines), ElementTriP1(), intorder=DEGREE)


def _load(basis: Any, f: Floats) -> Floats:
    """Integrate f v for each test function v; (n,)."""
    from skfem import LinearForm

    form = LinearForm(lambda v, w: w["f"] * v)
    return np.asarray(form.assemble(basis, f=basis.interpolate(f)))


def _tangent(basis: Any, u: Floats) -> tuple[Any, Floats]:
    """Derivative in u (n, n) of the integrals of (1 + u^2 / 10) grad u grad v, and these (n,)."""
    from skfem import BilinearForm, LinearForm
    from skfem.helpers import dot, grad

    matrix = BilinearForm(
        lambda du, v, w: dot(
            (1 + SLOPE * w["u"] ** 2) * grad(du) + 2 * SLOPE * w["u"] * du * grad(w["u"]), grad(v)
        )
    )
    flux = LinearForm(lambda v, w: (1 + SLOPE * w["u"] ** 2) * dot(grad(w["u"]), grad(v)))
    state = basis.interpolate(u)
    return matrix.assemble(basis, u=state).tocsr(), np.asarray(flux.assemble(basis, u=state))


def _step(basis: Any, u: Floats, move: Floats, load: Floats, inner: NDArray[np.int64]) -> Floats:
    """Take the longest of the steps 1, 1/2, 1/4 ... that lowers the residual; else the full one."""
    before = np.linalg.norm((_tangent(basis, u)[1] + load)[inner])
    for half in range(HALVES):
        candidate = u + 0.5**half * move
        if np.linalg.norm((_tangent(basis, candidate)[1] + load)[inner]) < before:
            return np.asarray(candidate)
    return np.asarray(u + move)
