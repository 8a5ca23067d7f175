"""Darcy flow: -div(a grad u) = 1 on the unit square, u = 0 on its boundary, a random.

Fields `coefficient` (input) and `pressure` (output). The grid is one of nodes, both ends included;
published sets of this problem (Li et al.) are on cell centres moved to nodes by splines, with u not
quite 0 at the edge.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate import GeneratedFile
from opdsl.data.generate.parallel import in_parallel
from opdsl.data.generate.problems.grid_pairs import FileOptions
from opdsl.data.generate.sampling.random_field import GridValues, coefficients, field
from opdsl.data.generate.sampling.smooth_field import smooth_field
from opdsl.data.generate.solvers.diffusion import solve
from opdsl.data.interrupt import deferred_signals
from opdsl.data.io.well_writing import WellLayout, write_well
from opdsl.data.progress import ProgressCallback
from opdsl.diagnostics import OpError, fault

Coefficient = Literal["piecewise", "lognormal"]
PsiValues = Callable[[int, int], GridValues]
"""The values (nodes, nodes) of psi, by the index of the sample and the nodes on each axis."""

HIGH, LOW = 12.0, 3.0  # the two values of a piecewise coefficient, as in Li et al.
FINE = 129  # points on which the equation is solved, at least: it carries all modes of a
SCALES = (0.05, 0.25)  # shorter ones would need a finer grid
RESIDUAL = 1e-10  # of the discrete equations, relative; rounding leaves about 1e-12
REFINED = (17, 33, 65, 129, 257)  # grids of the check of convergence
LEAST_ORDER: dict[Coefficient, float] = {"piecewise": 0.5, "lognormal": 1.5}
# in theory 1 where a jumps and 2 where it is smooth; single samples scatter by a quarter


def generate(
    *,
    fine: int | None = None,
    kind: Coefficient = "piecewise",
    scale: float | None = None,
    progress: ProgressCallback | None = None,
    **options: Unpack[FileOptions],
) -> GeneratedFile:
    """Generate a file of Darcy flows and check it.

    With psi the random field of (seed, index), the coefficient is 12 where psi >= 0 and 3
    elsewhere (`piecewise`), or exp(psi) (`lognormal`). The equation is solved on the fine grid, and
    the file holds every k-th point of it: files of one seed and one fine grid agree bit for bit
    wherever their points coincide, whatever the number of samples and workers.

    Args:
        fine: points on which to solve, k (resolution - 1) + 1; the least of at least 129 if None.
        kind: the law of the coefficient.
        scale: l, if psi has the covariance exp(-|x - y|^2 / l^2) instead of that of Li et al.
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
    fine = _fine(resolution) if fine is None else fine
    _settings(resolution, samples, seed, fine, kind, workers, scale)
    psi = _psi(seed, scale)
    order = _order(psi, kind, out)
    worst = 0.0
    with (
        deferred_signals() as interrupted,
        write_well(out, _plan(resolution, samples, seed, fine, kind, scale)) as put,
        in_parallel(partial(_flow, resolution, psi, fine, kind), range(samples), workers) as flows,
    ):
        for index, flow in enumerate(flows):
            worst = max(worst, flow.residual)
            _sound(flow, index, out)
            put(index, {"coefficient": flow.coefficient, "pressure": flow.pressure})
            if progress:
                progress(index + 1, samples)
            interrupted()
    return GeneratedFile(
        out,
        samples,
        size={"resolution": resolution, "fine": fine},
        seconds=time.monotonic() - started,
        checks={"residual": worst, "order": round(order, 3)},
        extent=f"at {resolution}x{resolution}, solved at {fine}x{fine}",
        checked=(f"residual {worst:.1e}", f"order of convergence {order:.2f}"),
    )


@dataclass(frozen=True, slots=True)
class _Flow:
    """One sample on the grid of the file; residual and least pressure of the fine solution."""

    coefficient: NDArray[np.float32]
    pressure: NDArray[np.float32]
    residual: float
    least: float


def _fine(resolution: int) -> int:
    """Return the smallest k (resolution - 1) + 1 that is at least FINE."""
    gaps = max(resolution - 1, 1)
    return -(-(FINE - 1) // gaps) * gaps + 1


def _settings(
    resolution: int,
    samples: int,
    seed: int,
    fine: int,
    kind: Coefficient,
    workers: int,
    scale: float | None,
) -> None:
    least, most = SCALES
    wrong = [
        (f"a resolution of {resolution} points; at least 3 are needed", resolution < 3),
        (f"{samples} samples; at least one is needed", samples < 1),
        (f"the seed {seed}; it is one of 0 to 2^64 - 1", not 0 <= seed < 1 << 64),
        (f"the kind `{kind}`; it is one of {', '.join(LEAST_ORDER)}", kind not in LEAST_ORDER),
        (f"{workers} workers; at least one is needed", workers < 1),
        (
            f"the scale {scale:g}; it is {least:g} to {most:g}" if scale is not None else "",
            scale is not None and not least <= scale <= most,
        ),
        (
            f"a fine grid of {fine} points; {resolution} of them cannot be kept at equal steps",
            resolution >= 3 and (fine < resolution or (fine - 1) % (resolution - 1) != 0),
        ),
    ]
    for message, is_wrong in wrong:
        if is_wrong:
            raise fault("OP0604", f"cannot make Darcy data with {message}")


def _coefficient(kind: Coefficient, psi: GridValues) -> GridValues:
    return np.exp(psi) if kind == "lognormal" else np.where(psi >= 0, HIGH, LOW)


def _psi(seed: int, scale: float | None) -> PsiValues:
    """Return the random field of a seed, on any grid of nodes."""
    if scale is None:
        return lambda index, nodes: field(coefficients(seed, index), nodes)
    return lambda index, nodes: smooth_field(seed, index, scale, nodes)


def _order(psi: PsiValues, kind: Coefficient, out: Path) -> float:
    """Order of convergence of the first sample: slope of log2 ||u_h - u_2h|| over REFINED.

    Raises:
        OpError: OP0617, the order is below LEAST_ORDER.
    """
    coarse = [_solved(_coefficient(kind, psi(0, n)), REFINED[0]) for n in REFINED]
    gaps = [np.linalg.norm(b - a) for a, b in pairwise(coarse)]
    order = -float(np.polyfit(np.arange(len(gaps)), np.log2(gaps), 1)[0])
    if not order >= LEAST_ORDER[kind]:
        raise _unsound(
            f"the solution converges with order {order:.2f}, "
            f"at least {LEAST_ORDER[kind]} is expected",
            out,
        )
    return order


def _solved(a: GridValues, nodes: int) -> GridValues:
    """Solve on the grid of `a` and return u at every k-th node; (nodes, nodes)."""
    k = (len(a) - 1) // (nodes - 1)
    return solve(a)[0][::k, ::k]


def _plan(
    resolution: int, samples: int, seed: int, fine: int, kind: Coefficient, scale: float | None
) -> WellLayout:
    points = np.linspace(0.0, 1.0, resolution)
    parameters: dict[str, str | int | float] = {
        "kind": kind,
        "seed": str(seed),
        "fine": fine,
        "forcing": 1.0,
    }
    if scale is not None:
        parameters["scale"] = scale
    return WellLayout(
        name="darcy",
        axes={"x": points, "y": points},
        roles={"coefficient": "input", "pressure": "output"},
        count=samples,
        boundary="WALL",
        layout="node",
        parameters=parameters,
    )


def _flow(resolution: int, psi: PsiValues, fine: int, kind: Coefficient, index: int) -> _Flow:
    a = _coefficient(kind, psi(index, fine))
    u, residual = solve(a)
    keep = slice(None, None, (fine - 1) // (resolution - 1))
    return _Flow(
        a[keep, keep].astype(np.float32),
        u[keep, keep].astype(np.float32),
        residual,
        float(u.min()),
    )


def _sound(flow: _Flow, index: int, out: Path) -> None:
    """Check the residual and the maximum principle, u >= 0 since f > 0.

    Raises:
        OpError: OP0617, a check failed.
    """
    # so written that NaN fails
    if not flow.residual <= RESIDUAL:
        raise _unsound(f"sample {index} has the residual {flow.residual:.1e}", out)
    if not flow.least >= 0:
        raise _unsound(f"sample {index} has the pressure {flow.least:.1e}, below zero", out)


def _unsound(message: str, out: Path) -> OpError:
    return fault(
        "OP0617",
        message,
        notes=("no file was written",),
        helps=("this is a fault of the generator or of the libraries below it: report it",),
        file=str(out),
    )
