"""u - Laplace u / 10 = f on random closed surfaces in space: a membrane that springs hold.

Each sample has a surface within the unit sphere and triangles of its own, as the domain `S`, and on
its points

    forcing     input   f, a random wave of space
    solution    output  u

The function and the surface of a sample depend on the seed and its index alone: files of one seed
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
from opdsl.data.generate.sampling.blob import NUMBERS, Blob
from opdsl.data.generate.sampling.draws import normals
from opdsl.data.generate.sampling.wave import count, wave
from opdsl.data.generate.solvers.surface_diffusion import LENGTH, integral, solve
from opdsl.data.interrupt import deferred_signals
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import points
from opdsl.data.progress import ProgressCallback
from opdsl.diagnostics import OpError, fault
from opdsl.nn.points.geometry import Geometry
from opdsl.nn.points.packed import Packed

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WAVES, STRETCH = 2, 2.0  # of the source, on each axis of a cube of side 2 pi / STRETCH
NAMES: dict[str, Role] = {"forcing": "input", "solution": "output"}

RESIDUAL = 1e-10  # of the discrete equations, relative; rounding leaves about 1e-15
BALANCE = 1e-10  # between the integrals of u and of f, in parts of that of |f|
SLACK = 1e-2  # of the range of f, by which u may leave it: linear elements keep it nearly
REFINED = (6, 12, 24)  # edges along a unit, in the check of convergence
LEAST_ORDER = 1.7  # two in theory


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceSample:
    """One problem and its solution on points (n, 3) and triangles (m, 3); functions (n,)."""

    points: Floats
    cells: Ints
    forcing: Floats
    solution: Floats
    residual: float


def generate(
    *, resolution: int, samples: int, seed: int, out: Path, progress: ProgressCallback | None = None
) -> GeneratedFile:
    """Generate a file of surface problems and check it.

    Args:
        resolution: edges along a unit of length; a sample has about 7 resolution^2 points.
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
    order = _order(out)
    surfaces = []
    with deferred_signals() as interrupted:
        for index in range(samples):
            surfaces.append(sample(seed, index, resolution))
            _sound(surfaces[-1], index, out)
            if progress:
                progress(index + 1, samples)
            interrupted()
        points.write(out, _raw(surfaces), parameters={"seed": str(seed), "resolution": resolution})
        interrupted()
    sizes = [len(x.points) for x in surfaces]
    worst = max(x.residual for x in surfaces)
    return GeneratedFile(
        out,
        samples,
        size={"points": [min(sizes), max(sizes)]},
        seconds=time.monotonic() - started,
        checks={"residual": worst, "order": round(order, 3)},
        extent=f"of {min(sizes)} to {max(sizes)} points",
        checked=(f"residual {worst:.1e}", f"order of convergence {order:.2f}"),
    )


def sample(seed: int, index: int, resolution: int) -> SurfaceSample:
    """Solve the problem of (seed, index) on triangles with sides of about 1 / resolution."""
    shape, source = np.split(normals(seed, index, NUMBERS + count(WAVES, 3)), [NUMBERS])
    vertices, cells = Blob.of(shape).triangulate(1 / resolution)
    f = wave(source, STRETCH * vertices, WAVES)
    return SurfaceSample(vertices, cells, f, *solve(vertices, cells, f))


# --- the file -----------------------------------------------------------------------------------


def _raw(made: list[SurfaceSample]) -> FileFields:
    fields = {k: Packed.of(_row(getattr(x, k)) for x in made) for k in NAMES}
    place = tuple(
        Geometry(torch.from_numpy(x.points).float(), cells=torch.from_numpy(x.cells)) for x in made
    )
    homes = dict.fromkeys(NAMES, "S")
    return FileFields("surface", fields, NAMES, (), "periodic", {"S": place}, homes)


def _row(x: Floats) -> torch.Tensor:
    return torch.from_numpy(x).float()[None]


# --- checks -------------------------------------------------------------------------------------


def _settings(resolution: int, samples: int, seed: int) -> None:
    wrong = [
        (
            f"a resolution of {resolution} edges along a unit; 3 to 300 do",
            not 3 <= resolution <= 300,
        ),
        (f"{samples} samples; at least one is needed", samples < 1),
        (f"the seed {seed}; it is one of 0 to 2^64 - 1", not 0 <= seed < 1 << 64),
    ]
    for message, is_wrong in wrong:
        if is_wrong:
            raise fault("OP0604", f"cannot make surface data with {message}")


def _order(out: Path) -> float:
    """Order of convergence to the closed form on the unit sphere, over the widths REFINED.

    Raises:
        OpError: OP0617, the order is below LEAST_ORDER.
    """
    errors = [_error(1 / n) for n in REFINED]
    order = float(np.mean([np.log2(a / b) for a, b in pairwise(errors)]))
    if not order >= LEAST_ORDER:  # so written that NaN fails
        message = f"the solution on a sphere is met with order {order:.2f}"
        raise _unsound(f"{message}, at least {LEAST_ORDER} is expected", out)
    return order


def _error(width: float) -> float:
    """Root mean square of u_h - u on the unit sphere for f = x y, so u = f / (1 + 2 * 3 / 10)."""
    vertices, cells = Blob(np.zeros(0)).triangulate(width)
    f = vertices[:, 0] * vertices[:, 1]
    u, _ = solve(vertices, cells, f)
    return float(np.sqrt(np.mean((u - f / (1 + 6 * LENGTH)) ** 2)))


def _sound(x: SurfaceSample, index: int, out: Path) -> None:
    """Check the residual, that the integrals of u and f agree, and that u is in the range of f.

    Raises:
        OpError: OP0617, a check failed.
    """
    if not x.residual <= RESIDUAL:
        raise _unsound(f"sample {index} has the residual {x.residual:.1e}", out)
    mesh = (x.points, x.cells)
    gap = abs(integral(*mesh, x.solution - x.forcing)) / integral(*mesh, np.abs(x.forcing))
    if not gap <= BALANCE:
        raise _unsound(f"the integrals of source and solution {index} differ by {gap:.1e}", out)
    slack = SLACK * np.ptp(x.forcing)
    low, high = x.forcing.min() - slack, x.forcing.max() + slack
    if not low <= x.solution.min() <= x.solution.max() <= high:
        raise _unsound(f"sample {index} leaves the bounds {low:.3g} to {high:.3g}", out)


def _unsound(message: str, out: Path) -> OpError:
    return fault(
        "OP0617",
        message,
        notes=("no file was written",),
        helps=("this is a fault of the generator or of the libraries below it: report it",),
        file=str(out),
    )
