"""Darcy flow: -div(a grad u) = 1 on the unit interval, square or cube, u = 0 at its boundary.

Fields `coefficient` (input, a random) and `pressure` (output). The grid is one of nodes, both ends
included; published sets of this problem (Li et al.) are on cell centres moved to nodes by splines,
with u not quite 0 at the edge.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate import GeneratedFile
from opdsl.data.generate.problems.grid_pairs import FileOptions
from opdsl.data.generate.problems.parallel import in_parallel
from opdsl.data.generate.sampling.random_field import GridValues, coefficients, field, series
from opdsl.data.generate.sampling.smooth_field import smooth_field
from opdsl.data.generate.solvers.diffusion import solve
from opdsl.data.generate.solvers.diffusion_cube import solve_cube
from opdsl.data.generate.solvers.diffusion_line import (
    layered_solution,
    smooth_solution,
    solve_line,
)
from opdsl.data.interrupt import deferred_signals
from opdsl.data.io.memory_budget import data_budget
from opdsl.data.io.well_writing import WellLayout, write_well
from opdsl.data.progress import ProgressCallback
from opdsl.diagnostics import OpError, fault

Coefficient = Literal["piecewise", "lognormal"]

AXES = ("x", "y", "z")
HIGH, LOW = 12.0, 3.0  # the two values of a piecewise coefficient, as in Li et al.
FINE = {1: 8193, 2: 129, 3: 65}  # least points of the solver on each axis: they carry all modes
COPIES = 40  # of a field in float64 that a solution takes
SCALES = (0.05, 0.25)  # shorter ones would need a finer grid
RESIDUAL = {1: 1e-8, 2: 1e-10, 3: 1e-10}  # relative; rounding leaves 1e-9, 1e-12 and 1e-12
REFINED = (17, 33, 65, 129, 257)  # grids of the check of convergence
CUBE_REFINED = (9, 17, 33, 65)
LEAST_ORDER: dict[Coefficient, float] = {"piecewise": 0.5, "lognormal": 1.5}
# in theory 1 where a jumps and 2 where it is smooth; single samples scatter by a quarter
CLOSE: dict[Coefficient, float] = {"piecewise": 5e-3, "lognormal": 1e-6}
# of exact integrals and differences on the interval, relative; 1e-3 and 1e-8 are observed


@dataclass(frozen=True, slots=True)
class Medium:
    """The law of the coefficient.

    Attributes:
        kind: 12 where psi >= 0 and 3 elsewhere, or exp(psi).
        dims: the number of axes.
        seed: of the random field psi.
        scale: l, if psi has the covariance exp(-|x - y|^2 / l^2) instead of that of Li et al.
    """

    kind: Coefficient
    dims: int
    seed: int
    scale: float | None = None

    def psi(self, index: int, nodes: int) -> GridValues:
        """Evaluate psi of a sample; (nodes,) * dims."""
        if self.scale is None:
            return field(coefficients(self.seed, index, self.dims), nodes)
        return smooth_field(self.seed, index, self.scale, nodes)

    def coefficient(self, psi: GridValues) -> GridValues:
        """Return the coefficient where psi has these values."""
        return np.exp(psi) if self.kind == "lognormal" else np.where(psi >= 0, HIGH, LOW)


def generate(
    *,
    fine: int | None = None,
    kind: Coefficient = "piecewise",
    scale: float | None = None,
    dims: int = 2,
    progress: ProgressCallback | None = None,
    **options: Unpack[FileOptions],
) -> GeneratedFile:
    """Generate a file of Darcy flows and check it.

    With psi the random field of (seed, index), the coefficient is 12 where psi >= 0 and 3
    elsewhere (`piecewise`), or exp(psi) (`lognormal`). The equation is solved on the fine grid, and
    the file holds every k-th point of it: files of one seed and one fine grid agree bit for bit
    wherever their points coincide, whatever the number of samples and workers.

    Args:
        fine: points on which to solve, k (resolution - 1) + 1; the least of at least FINE if None.
        kind: the law of the coefficient.
        scale: l, if psi has the covariance exp(-|x - y|^2 / l^2) instead of that of Li et al.; on
            the square alone.
        dims: 1, 2 or 3 axes.
        progress: is called with the samples done and all samples.
        options: resolution, samples, seed, file and workers, 2 if not specified.

    Raises:
        OpError: OP0604 a setting does not fit; OP0617 the check failed; OP0625 the file cannot be
            written. No file is left then, nor after an interruption.

    Source: Li et al. 2021, arXiv:2010.08895, app. A.3.2; with a scale of 0.1 and, out of
        distribution, 0.05: Raonic et al. 2023, arXiv:2302.01178.
    """
    started = time.monotonic()
    resolution, samples, seed = options["resolution"], options["samples"], options["seed"]
    out, workers = options["out"], options.get("workers", 2)
    fine = _fine(resolution, dims) if fine is None else fine
    medium = Medium(kind, dims, seed, scale)
    _settings(resolution, samples, fine, medium, workers)
    order = None if dims == 1 else _order(medium, out)
    worst, gap = 0.0, 0.0
    with (
        deferred_signals() as interrupted,
        write_well(out, _plan(resolution, samples, fine, medium)) as put,
        in_parallel(partial(_flow, resolution, medium, fine), range(samples), workers) as flows,
    ):
        for index, flow in enumerate(flows):
            worst, gap = max(worst, flow.residual), max(gap, flow.gap)
            _sound(flow, index, medium, out)
            put(index, {"coefficient": flow.coefficient, "pressure": flow.pressure})
            if progress:
                progress(index + 1, samples)
            interrupted()
    if order is None:
        checks, words = {"gap": gap}, f"differences deviate from exact integrals by {gap:.1e}"
    else:
        checks, words = {"order": round(order, 3)}, f"order of convergence {order:.2f}"
    return GeneratedFile(
        out,
        samples,
        size={"resolution": resolution, "fine": fine},
        seconds=time.monotonic() - started,
        checks={"residual": worst, **checks},
        extent=f"at {_size(resolution, dims)}, solved at {_size(fine, dims)}",
        checked=(f"residual {worst:.1e}", words),
    )


@dataclass(frozen=True, slots=True)
class _Flow:
    """One sample on the grid of the file, and its checks.

    Attributes:
        coefficient, pressure: (resolution,) * dims.
        residual: of the discrete equations on the fine grid, relative.
        least: the least pressure on the fine grid.
        gap: between exact integrals and differences, relative; 0 but on the interval.
    """

    coefficient: NDArray[np.float32]
    pressure: NDArray[np.float32]
    residual: float
    least: float
    gap: float = 0.0


def _size(points: int, dims: int) -> str:
    return "x".join([str(points)] * dims)


def _fine(resolution: int, dims: int = 2) -> int:
    """Return the smallest k (resolution - 1) + 1 that is at least FINE."""
    gaps = max(resolution - 1, 1)
    return -(-(FINE.get(dims, FINE[2]) - 1) // gaps) * gaps + 1


def _settings(resolution: int, samples: int, fine: int, medium: Medium, workers: int) -> None:
    least, most = SCALES
    seed, kind, dims, scale = medium.seed, medium.kind, medium.dims, medium.scale
    wrong = [
        (f"{dims} axes; 1, 2 or 3 are possible", dims not in FINE),
        (f"a resolution of {resolution} points; at least 3 are needed", resolution < 3),
        (f"{samples} samples; at least one is needed", samples < 1),
        (f"the seed {seed}; it is one of 0 to 2^64 - 1", not 0 <= seed < 1 << 64),
        (f"the kind `{kind}`; it is one of {', '.join(LEAST_ORDER)}", kind not in LEAST_ORDER),
        (f"{workers} workers; at least one is needed", workers < 1),
        (
            f"the scale {scale:g}; it is {least:g} to {most:g}" if scale is not None else "",
            scale is not None and not least <= scale <= most,
        ),
        (f"a scale on {dims} axes; it needs 2", scale is not None and dims != 2),
        (
            f"a fine grid of {fine} points; {resolution} of them cannot be kept at equal steps",
            resolution >= 3 and (fine < resolution or (fine - 1) % (resolution - 1) != 0),
        ),
        (
            f"a fine grid of {_size(fine, dims)} points; the free memory is too small",
            COPIES * 8 * workers * fine ** min(dims, 3) > data_budget(),
        ),
    ]
    for message, is_wrong in wrong:
        if is_wrong:
            raise fault("OP0604", f"cannot make Darcy data with {message}")


def _solve(a: GridValues) -> tuple[GridValues, float]:
    """Solve the equation on the grid of `a`; return u and the relative residual."""
    if a.ndim == 1:
        return solve_line(a)
    return solve(a) if a.ndim == 2 else solve_cube(a)


def _order(medium: Medium, out: Path) -> float:
    """Order of convergence of the first sample: slope of log2 ||u_h - u_2h|| over refined grids.

    Raises:
        OpError: OP0617, the order is below LEAST_ORDER.
    """
    grids = CUBE_REFINED if medium.dims == 3 else REFINED
    coarse = [_solved(medium.coefficient(medium.psi(0, n)), grids[0]) for n in grids]
    gaps = [np.linalg.norm(b - a) for a, b in pairwise(coarse)]
    order = -float(np.polyfit(np.arange(len(gaps)), np.log2(gaps), 1)[0])
    if not order >= LEAST_ORDER[medium.kind]:
        raise _unsound(
            f"the solution converges with order {order:.2f}, "
            f"at least {LEAST_ORDER[medium.kind]} is expected",
            out,
        )
    return order


def _solved(a: GridValues, nodes: int) -> GridValues:
    """Solve on the grid of `a` and return u at every k-th node; (nodes,) * dims."""
    k = (len(a) - 1) // (nodes - 1)
    return _solve(a)[0][(slice(None, None, k),) * a.ndim]


def line_solution(medium: Medium, index: int, nodes: int) -> GridValues:
    """Return u of a sample on the line at the nodes by exact integrals; (nodes,)."""
    if medium.kind == "lognormal":
        return smooth_solution(medium.coefficient(medium.psi(index, 2 * nodes - 1)))
    from scipy.optimize import brentq

    x = np.linspace(0.0, 1.0, nodes)
    c = coefficients(medium.seed, index, 1)
    psi = series(c, x)
    changes = np.flatnonzero((psi[:-1] >= 0) != (psi[1:] >= 0))
    roots = [brentq(lambda z: series(c, np.array([z]))[0], x[i], x[i + 1]) for i in changes]
    edges = np.array([0.0, *roots, 1.0])
    middle = (edges[:-1] + edges[1:]) / 2
    return layered_solution(edges, medium.coefficient(series(c, middle)), x)


def _plan(resolution: int, samples: int, fine: int, medium: Medium) -> WellLayout:
    points = np.linspace(0.0, 1.0, resolution)
    parameters: dict[str, str | int | float] = {
        "kind": medium.kind,
        "seed": str(medium.seed),
        "fine": fine,
        "forcing": 1.0,
    }
    if medium.scale is not None:
        parameters["scale"] = medium.scale
    return WellLayout(
        name="darcy",
        axes=dict.fromkeys(AXES[: medium.dims], points),
        roles={"coefficient": "input", "pressure": "output"},
        count=samples,
        boundary="WALL",
        layout="node",
        parameters=parameters,
    )


def _flow(resolution: int, medium: Medium, fine: int, index: int) -> _Flow:
    a = medium.coefficient(medium.psi(index, fine))
    u, residual = _solve(a)
    gap = 0.0
    if medium.dims == 1:
        differences, u = u, line_solution(medium, index, fine)
        gap = float(np.abs(differences - u).max() / np.abs(u).max())
    keep = (slice(None, None, (fine - 1) // (resolution - 1)),) * a.ndim
    coefficient, pressure = (x[keep].astype(np.float32) for x in (a, u))
    return _Flow(coefficient, pressure, residual, float(u.min()), gap)


def _sound(flow: _Flow, index: int, medium: Medium, out: Path) -> None:
    """Check the residual, the maximum principle (u >= 0 since f > 0) and exact integrals.

    Raises:
        OpError: OP0617, a check failed.
    """
    # so written that NaN fails
    if not flow.residual <= RESIDUAL[medium.dims]:
        raise _unsound(f"sample {index} has the residual {flow.residual:.1e}", out)
    if not flow.least >= 0:
        raise _unsound(f"sample {index} has the pressure {flow.least:.1e}, below zero", out)
    if not flow.gap <= CLOSE[medium.kind]:
        raise _unsound(f"sample {index} differs from exact integrals by {flow.gap:.1e}", out)


def _unsound(message: str, out: Path) -> OpError:
    return fault(
        "OP0617",
        message,
        notes=("no file was written",),
        helps=("this is a fault of the generator or of the libraries below it: report it",),
        file=str(out),
    )
