"""div((1 + u^2 / 10) grad u) = f in random shapes, u = g on their boundary.

Each sample has a shape within the unit circle and triangles of its own, as the domain `P`, and on
its points

    forcing     input   f, a random wave
    boundary    input   g at the boundary, continued harmonically inside
    solution    output  u

The functions and the shape of a sample depend on the seed and its index alone: files of one seed
hold the same problems at every resolution, whatever their number.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from opdsl.data.bind.samples import Role
from opdsl.data.generate import GeneratedFile
from opdsl.data.generate.sampling.draws import normals
from opdsl.data.generate.sampling.star import (
    NUMBERS,
    Star,
    Triangles,
    fills,
    smallest_angle,
    triangulate,
)
from opdsl.data.generate.sampling.wave import count, wave
from opdsl.data.generate.solvers.nonlinear_poisson import (
    bounds,
    extend,
    kirchhoff,
    manufactured,
    solve,
)
from opdsl.data.interrupt import deferred_signals
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import points
from opdsl.data.progress import ProgressCallback
from opdsl.diagnostics import OpError, fault
from opdsl.nn.points.geometry import Geometry
from opdsl.nn.points.packed import Packed

Floats = NDArray[np.float64]

WAVES, STRETCH = 3, 1.5  # of the source, on each axis of a square of side 2 pi / STRETCH
SOURCE = 12.0  # deviation of the source, at which the conductivity varies by half
TURNS = 4  # waves of the boundary values
NAMES: dict[str, Role] = {"forcing": "input", "boundary": "input", "solution": "output"}

RESIDUAL = 1e-10  # of the discrete equations, relative; rounding leaves about 1e-14
GAP = 0.05  # between the two solutions, relative; 0.002 is observed at 6 edges along a unit
SLACK = 1e-2  # of the bounds, by which u may leave them: linear elements keep them nearly
ANGLE = 15.0  # degrees, of all triangles; about 25 is observed
REFINED = (6, 12, 24)  # edges along a unit, in the check of convergence
LEAST_ORDER = 1.7  # two in theory


@dataclass(frozen=True, slots=True, eq=False)
class ShapeSample:
    """One problem and its solution; functions (n,) at the points of the mesh."""

    mesh: Triangles
    forcing: Floats
    boundary: Floats
    solution: Floats
    residual: float
    gap: float


def generate(
    *, resolution: int, samples: int, seed: int, out: Path, progress: ProgressCallback | None = None
) -> GeneratedFile:
    """Generate a file of nonlinear Poisson problems and check it.

    Args:
        resolution: edges along a unit of length; a sample has about 3 resolution^2 points.
        samples: the number of samples.
        seed: 0 to 2^64 - 1.
        out: the file to write or to replace.
        progress: is called with the samples done and all samples.

    Raises:
        OpError: OP0604 a setting does not fit; OP0617 the check failed; OP0625 the file cannot be
            written. No file is left then, nor after an interruption.
    """
    started = time.monotonic()
    _settings(resolution, samples, seed)
    order = _order(seed, out)
    shapes = []
    with deferred_signals() as interrupted:
        for index in range(samples):
            shapes.append(sample(seed, index, resolution))
            _sound(shapes[-1], index, out)
            if progress:
                progress(index + 1, samples)
            interrupted()
        points.write(out, _raw(shapes), parameters={"seed": str(seed), "resolution": resolution})
        interrupted()
    sizes = [len(x.mesh.points) for x in shapes]
    worst, gap = max(x.residual for x in shapes), max(x.gap for x in shapes)
    seconds = time.monotonic() - started
    return GeneratedFile(
        out,
        samples,
        size={"points": [min(sizes), max(sizes)]},
        seconds=seconds,
        checks={"residual": worst, "order": round(order, 3), "gap": gap},
        extent=f"of {min(sizes)} to {max(sizes)} points",
        checked=(
            f"residual {worst:.1e}",
            f"order of convergence {order:.2f}",
            f"two ways to the solution differ by {gap:.1e}",
        ),
    )


def sample(seed: int, index: int, resolution: int) -> ShapeSample:
    """Solve the problem of (seed, index) on triangles with sides of about 1 / resolution."""
    waves = count(WAVES, 2)
    numbers = normals(seed, index, NUMBERS + waves + 2 * TURNS + 1)
    _, source, turn = np.split(numbers, [NUMBERS, NUMBERS + waves])
    mesh = triangulate(_shape(seed, index), 1 / resolution)
    f = SOURCE * wave(source, STRETCH * mesh.points, WAVES)
    g = extend(mesh, _values(turn, mesh.points[: mesh.edge]))
    u, residual = solve(mesh, f, g)
    _, other = kirchhoff(mesh, f, g)
    gap = float(np.linalg.norm(u - other) / np.linalg.norm(u))
    return ShapeSample(mesh, f, g, u, residual, gap)


def _shape(seed: int, index: int) -> Star:
    return Star.of(normals(seed, index, NUMBERS))


# --- functions ----------------------------------------------------------------------------------


def _values(numbers: Floats, x: Floats) -> Floats:
    """Boundary values at points x (n, 2): a random Fourier series of the angle; (n,).

    The sum of (a_k cos k angle + b_k sin k angle) / (1 + k), k <= TURNS.
    """
    k = np.arange(1, TURNS + 1)
    turn = k * np.arctan2(x[:, 1], x[:, 0])[:, None]
    a, b = numbers[1:].reshape(2, -1) / (1 + k)
    return np.asarray(numbers[0] + np.cos(turn) @ a + np.sin(turn) @ b)


# --- the file -----------------------------------------------------------------------------------


def _raw(made: list[ShapeSample]) -> FileFields:
    fields = {k: Packed.of(_row(getattr(x, k)) for x in made) for k in NAMES}
    place = tuple(
        Geometry(torch.from_numpy(x.mesh.points).float(), cells=torch.from_numpy(x.mesh.cells))
        for x in made
    )
    homes = dict.fromkeys(NAMES, "P")
    return FileFields("nonlinear_poisson", fields, NAMES, (), "periodic", {"P": place}, homes)


def _row(x: Floats) -> torch.Tensor:
    return torch.from_numpy(x).float()[None]


# --- checks -------------------------------------------------------------------------------------


def _settings(resolution: int, samples: int, seed: int) -> None:
    wrong = [
        (
            f"a resolution of {resolution} edges along a unit; 3 to 500 do",
            not 3 <= resolution <= 500,
        ),
        (f"{samples} samples; at least one is needed", samples < 1),
        (f"the seed {seed}; it is one of 0 to 2^64 - 1", not 0 <= seed < 1 << 64),
    ]
    for message, is_wrong in wrong:
        if is_wrong:
            raise fault("OP0604", f"cannot make Poisson data with {message}")


def _order(seed: int, out: Path) -> float:
    """Order of convergence to a known solution in the first shape, over the widths REFINED.

    Raises:
        OpError: OP0617, the order is below LEAST_ORDER.
    """
    errors = [_error(triangulate(_shape(seed, 0), 1 / n)) for n in REFINED]
    order = float(np.mean([np.log2(a / b) for a, b in pairwise(errors)]))
    if not order >= LEAST_ORDER:  # so written that NaN fails
        message = f"a known solution is met with order {order:.2f}"
        raise _unsound(f"{message}, at least {LEAST_ORDER} is expected", out)
    return order


def _error(mesh: Triangles) -> float:
    """Root mean square of u - u_h for a known u."""
    u, f = manufactured(mesh.points)
    solution, _ = solve(mesh, f, extend(mesh, u[: mesh.edge]))
    return float(np.sqrt(np.mean((solution - u) ** 2)))


def _sound(x: ShapeSample, index: int, out: Path) -> None:
    """Check the mesh, the residual, the second solution and the maximum principle.

    Raises:
        OpError: OP0617, a check failed.
    """
    if not fills(x.mesh) or not smallest_angle(x.mesh) >= ANGLE:
        raise _unsound(f"the mesh of sample {index} does not fill its shape well", out)
    if not x.residual <= RESIDUAL:
        raise _unsound(f"sample {index} has the residual {x.residual:.1e}", out)
    if not x.gap <= GAP:
        raise _unsound(f"two ways to the solution of sample {index} differ by {x.gap:.1e}", out)
    low, high = bounds(x.forcing, x.boundary, x.mesh.edge)
    slack = SLACK * (high - low)
    if not low - slack <= x.solution.min() <= x.solution.max() <= high + slack:
        raise _unsound(f"sample {index} leaves the bounds {low:.3g} to {high:.3g}", out)


def _unsound(message: str, out: Path) -> OpError:
    return fault(
        "OP0617",
        message,
        notes=("no file was written",),
        helps=("this is a fault of the generator or of the libraries below it: report it",),
        file=str(out),
    )
