"""Optimal transport between points in space and a torus, so that a grid carries their functions.

A `Transport` holds, for each point of a periodic grid (theta, phi) on the torus, the point of the
surface that it is carried to, and for each point of the surface the nearest grid point. The plan
moves equal masses at the least sum of squared distances. It is exact, so it does not change if the
surface is moved or scaled; published data have a plan smoothed by an entropy, which costs more.

Source: Li et al. 2025, arXiv:2507.20065, sec. 3. The grid, the torus and the order of its points
are those of the data that neuraloperator publishes; the sign of its normals is too, inwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opdsl.data.io.memory_budget import data_budget, too_large_for_memory
from opdsl.diagnostics import OpError, fault

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LARGE, SMALL = 1.0, 0.5  # radii of the torus
EXPAND = 3.0  # points of the grid for each point of a surface
PAIR = 56  # bytes that a plan takes for each pair of points
PIVOTS = 100_000_000  # of the exact solver at most; a car takes a million
EXTRA = "pip install 'opdsl[transport]'"


@dataclass(frozen=True, slots=True, eq=False)
class Transport:
    """A grid of a torus laid upon the points of a surface, n by n upon p.

    Attributes:
        size: n.
        encode: (n * n,) for each point of the grid, phi running fastest, a point of the surface.
        decode: (p,) for each point of the surface, a point of the grid.
        cost: cost of the plan: the mean squared distance by which mass is moved.
        missed: number of points of the surface that no grid point is carried to.
    """

    size: int
    encode: Ints
    decode: Ints
    cost: float
    missed: int

    @property
    def latent(self) -> Floats:
        """Grid coordinates (theta, phi) of each point of the surface, in turns; (p, 2)."""
        return np.stack(np.divmod(self.decode, self.size), 1) / self.size


def transport(
    points: Floats,
    *,
    size: int | None = None,
    source: str = "points",
) -> Transport:
    """Compute the optimal transport between the torus and points of equal mass.

    Args:
        points: (p, 3).
        size: n; about EXPAND p points in the grid if None.
        source: the name of the points in errors.

    Raises:
        OpError: OP0610 the plan does not fit into memory; OP0617 the solver did not converge;
            OP0618 the points are not in space; OP0645 the package POT is missing.
    """
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        message = f"points of the shape {points.shape} are not carried to a torus"
        raise fault("OP0618", message, helps=("expected points in space, (n, 3)",), file=source)
    size = size or side(len(points))
    torus = torus_points(size).reshape(-1, 3)
    if (need := PAIR * len(torus) * len(points)) > (cap := data_budget()):
        raise too_large_for_memory("the plan of the transport", need, cap, source)
    targets, cost = _carried(torus, points, source)
    return _nearest(targets, points, size, cost)


def side(points: int, expand: float = EXPAND) -> int:
    """Number of points on an axis of the grid: sqrt(expand) ceil(sqrt(points)), rounded down."""
    return max(int(math.sqrt(expand) * math.ceil(math.sqrt(points))), 2)


def torus_points(size: int) -> Floats:
    """Points of the torus on the grid (theta, phi); (size, size, 3).

    ((R + r cos theta) cos phi, (R + r cos theta) sin phi, r sin theta).
    """
    theta, phi = _angles(size)
    ring = LARGE + SMALL * np.cos(theta)
    return np.stack([ring * np.cos(phi), ring * np.sin(phi), SMALL * np.sin(theta)], -1)


def torus_normals(size: int) -> Floats:
    """Unit normals of the torus, pointing inwards; (size, size, 3)."""
    theta, phi = _angles(size)
    ring = np.cos(theta)
    return -np.stack([ring * np.cos(phi), ring * np.sin(phi), np.sin(theta)], -1)


def normals_of(points: Floats, cells: Ints) -> Floats:
    """Unit normals at the points of triangles: the mean of those around, weighted by area; (p, 3).

    The normal is 0 at a point that no triangle has.
    """
    a, b, c = points[cells].transpose(1, 0, 2)
    sums = np.zeros_like(points)
    for corner in cells.T:
        np.add.at(sums, corner, np.cross(b - a, c - a))
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.where(length > 0, length, 1))


# --- plans --------------------------------------------------------------------------------------


def _angles(size: int) -> tuple[Floats, Floats]:
    turn = 2 * np.pi * np.arange(size) / size
    theta, phi = np.meshgrid(turn, turn, indexing="ij")
    return theta, phi


def _carried(torus: Floats, points: Floats, source: str) -> tuple[Floats, float]:
    """Barycentric targets (n, 3) of the torus points under the exact plan, and its cost."""
    try:
        import ot
    except ImportError as error:
        raise _missing() from error
    squares = ot.dist(torus, points)
    masses = (np.full(len(x), 1 / len(x)) for x in (torus, points))
    plan, log = ot.emd(*masses, squares, numItermax=PIVOTS, log=True)
    if log["warning"]:
        notes = (str(log["warning"]),)
        raise fault("OP0617", "the optimal transport was not found", notes=notes, file=source)
    return np.asarray(plan @ points / plan.sum(1, keepdims=True)), float(log["cost"])


def _nearest(there: Floats, points: Floats, size: int, cost: float) -> Transport:
    from scipy.spatial import cKDTree

    encode = np.asarray(cKDTree(points).query(there)[1], np.int64)
    decode = np.asarray(cKDTree(there).query(points)[1], np.int64)
    return Transport(size, encode, decode, cost, len(points) - len(np.unique(encode)))


def _missing() -> OpError:
    return fault(
        "OP0645",
        "optimal transport needs the package POT, which is not installed",
        helps=(f"install it: {EXTRA}",),
    )
