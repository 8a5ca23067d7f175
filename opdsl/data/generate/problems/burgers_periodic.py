"""The viscous Burgers equation, u_t + u u_x = nu u_xx on a circle of length 1.

Fields `initial` (input, u at time 0) and `final` (output, u at time t). The initial condition is a
sample of N(0, 625 (-Laplace + 25)^-2) without its constant mode, as in the GRF1.m of Li et al.
"""

from __future__ import annotations

import math
import time as clock
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate import GeneratedFile
from opdsl.data.generate.problems.grid_pairs import PAIR, GridOptions, GridSettings, write_pairs
from opdsl.data.generate.problems.parallel import in_parallel
from opdsl.data.generate.sampling.fourier import (
    Coefficients,
    fourier_values,
    frequencies,
    gaussian_series,
    truncated,
)
from opdsl.data.generate.solvers.periodic_burgers import hopf, spectral
from opdsl.data.progress import ProgressCallback

Floats = NDArray[np.float64]

MODES = 1024  # frequencies of the initial condition; the last one has 1e-6 of its deviation
SIGMA, TAU = 25.0, 5.0
VISCOSITIES, TIMES = (0.002, 1.0), (0.01, 2.0)
LEAST_MODES = 128  # frequencies of the solver, besides 1 / nu: shocks are about 4 nu wide
STEP, LEAST_STEPS = 1 / 400, 50  # the error of a solution is about 1e-8
BLOCK = 8  # samples that are solved together, always all of them: equal bits for any number
PLACES = np.arange(64) / 64  # of the check
CLOSE = 1e-6  # of the two solutions, relative; 1e-7 to 1e-9 is observed


@dataclass(frozen=True, slots=True)
class BurgersFlow:
    """The viscosity and the time of the output."""

    viscosity: float
    time: float

    @property
    def modes(self) -> int:
        """The frequencies that the solver carries."""
        return min(MODES, max(LEAST_MODES, math.ceil(1 / self.viscosity)))

    @property
    def steps(self) -> int:
        """The steps of the solver."""
        return max(LEAST_STEPS, math.ceil(self.time / STEP))


def generate(
    *,
    viscosity: float = 0.1,
    time: float = 1.0,
    progress: ProgressCallback | None = None,
    **grid: Unpack[GridOptions],
) -> GeneratedFile:
    """Generate a file of flows on a circle and check it.

    The series is evaluated at the points of the file, so that files of one seed hold the same
    functions at every resolution and sampling, whatever the number of samples and workers. The
    solution of the first sample is compared with the formula of Hopf.

    Args:
        viscosity: nu.
        time: t, of the output.
        progress: is called with the samples done and all samples.
        grid: resolution, samples, seed, file, sampling and workers.

    Raises:
        OpError: OP0604 a setting does not fit; OP0617 the check failed; OP0625 the file cannot be
            written. No file is left then, nor after an interruption.

    Source: Li et al. 2021, arXiv:2010.08895, app. A.3.1.
    """
    started = clock.monotonic()
    grid.setdefault("sampling", "lower")
    settings = GridSettings("Burgers", ("x",), **grid, periodic=True)
    settings.refuse_bad(
        settings.outside("viscosity", viscosity, VISCOSITIES),
        settings.outside("time", time, TIMES),
    )
    flow = BurgersFlow(viscosity, time)
    gap = _gap(settings, flow)

    parameters: dict[str, str | int | float] = {
        "viscosity": viscosity,
        "end_time": time,
        "boundary": "periodic",
        "modes": flow.modes,
    }
    block, firsts = partial(_block, settings, flow), range(0, settings.samples, BLOCK)
    with in_parallel(block, firsts, settings.workers) as blocks:
        pairs = _first(settings.samples, blocks)
        write_pairs(settings, "burgers_periodic", PAIR, pairs, parameters, progress)
    return GeneratedFile(
        settings.out,
        settings.samples,
        size={"resolution": settings.resolution, "modes": flow.modes},
        seconds=clock.monotonic() - started,
        checks={"gap": gap},
        extent=f"{settings.extent}, solved with {flow.modes} frequencies",
        checked=(f"the formula of Hopf differs by {gap:.1e}",),
    )


def initial(seed: int, index: int) -> Coefficients:
    """Draw the coefficients (MODES + 1,) of the initial condition of a sample."""
    (k,) = frequencies(MODES, 1)
    return gaussian_series(seed, index, SIGMA / ((2 * np.pi * k) ** 2 + TAU**2))


def final(start: Coefficients, flow: BurgersFlow) -> Coefficients:
    """Return the coefficients (..., flow.modes + 1) at time t."""
    return spectral(truncated(start, flow.modes, 1), flow.viscosity, flow.time, flow.steps)


def _block(settings: GridSettings, flow: BurgersFlow, first: int) -> list[dict[str, Floats]]:
    """Return the samples of the indices from `first` on."""
    before = [initial(settings.seed, first + i) for i in range(BLOCK)]
    after = final(np.stack(before), flow)
    return [
        {
            "initial": fourier_values(a, settings.sampling, settings.resolution, 1),
            "final": fourier_values(b, settings.sampling, settings.resolution, 1),
        }
        for a, b in zip(before, after, strict=True)
    ]


def _first(count: int, blocks: Iterable[list[dict[str, Floats]]]) -> Iterator[dict[str, Floats]]:
    samples = (x for block in blocks for x in block)
    return (x for _, x in zip(range(count), samples, strict=False))


def _gap(settings: GridSettings, flow: BurgersFlow) -> float:
    """Difference of the first sample from the formula of Hopf, relative.

    Raises:
        OpError: OP0617, the difference is above CLOSE.
    """
    start = initial(settings.seed, 0)
    u = fourier_values(final(start, flow), "lower", len(PLACES), 1)
    exact = hopf(start, flow.viscosity, flow.time, PLACES)
    gap = float(np.abs(u - exact).max() / np.abs(exact).max())
    if not gap <= CLOSE:  # so written that NaN fails
        raise settings.unsound(f"the formula of Hopf differs by {gap:.1e}")
    return gap
