"""Fisher's equation, u_t = nu u_xx + rho u (1 - u) on a circle of length 1.

Fields `initial` (input, u at time 0) and `final` (output, u at time t), or `u` at several times.
"""

from __future__ import annotations

import math
import time as clock
from functools import partial
from typing import TYPE_CHECKING, Unpack

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate import GeneratedFile
from opdsl.data.generate.problems.grid_pairs import PAIR, GridOptions, GridSettings, write_pairs
from opdsl.data.generate.problems.parallel import in_parallel
from opdsl.data.generate.sampling.fourier import Coefficients, coefficients_of, fourier_values
from opdsl.data.generate.sampling.sine_waves import SineWaves
from opdsl.data.generate.solvers.fisher import FisherEquation
from opdsl.data.progress import ProgressCallback
from opdsl.sampling import positions

if TYPE_CHECKING:
    from opdsl.data.bind.samples import Role

Floats = NDArray[np.float64]

TRAJECTORY: dict[str, Role] = {"u": "unknown"}
WAVES = 4  # frequencies of the initial condition, of which two are chosen
MODES = 384  # frequencies of the solver: edges of windows are 1/100 wide
FINE = 1 << 14  # points on which extrema and coefficients of the initial condition are computed
DIFFUSIVITIES, RATES, TIMES, FRAMES = (1e-3, 100.0), (1e-3, 100.0), (1e-3, 100.0), (0, 1000)
STEP, LEAST_STEPS = 0.1, 400  # in units of reaction, and of all time: the error is below 1e-6
SLACK = 1e-4  # by which a solution may leave 0 and 1
CLOSE = 1e-5  # of the two solutions, relative; 1e-6 to 1e-13 is observed


def generate(
    *,
    diffusivity: float = 0.5,
    rate: float = 1.0,
    time: float = 1.0,
    frames: int = 100,
    progress: ProgressCallback | None = None,
    **grid: Unpack[GridOptions],
) -> GeneratedFile:
    """Generate a file of growing populations and check it.

    The series is evaluated at the points of the file, so that files of one seed hold the same
    functions at every resolution and sampling, whatever the number of samples and workers. The
    last state of the first sample is compared with a solution by operator splitting, and all
    samples obey the maximum principle.

    Args:
        diffusivity: nu.
        rate: rho.
        time: t, of the last state.
        frames: intervals of time to record; 0 for the first and the last state as two fields.
        progress: is called with the samples done and all samples.
        grid: resolution, samples, seed, file, sampling and workers.

    Raises:
        OpError: OP0604 a setting does not fit; OP0617 a check failed; OP0625 the file cannot be
            written. No file is left then, nor after an interruption.

    Source: Takamoto et al. 2022, arXiv:2210.07182.
    """
    started = clock.monotonic()
    grid.setdefault("sampling", "centres")
    settings = GridSettings("Fisher", ("x",), **grid, periodic=True, frames=frames)
    settings.refuse_bad(
        settings.outside("diffusivity", diffusivity, DIFFUSIVITIES),
        settings.outside("rate", rate, RATES),
        settings.outside("time", time, TIMES),
        settings.outside("number of frames", frames, FRAMES),
    )
    equation = FisherEquation(diffusivity, rate)
    gap = _gap(settings, equation, time)
    parameters: dict[str, str | int | float] = {
        "diffusivity": diffusivity,
        "rate": rate,
        "end_time": time,
        "boundary": "periodic",
        "modes": MODES,
    }
    times = np.linspace(0.0, time, frames + 1) if frames else (0.0,)
    sample = partial(_sample, settings, equation, time)
    with in_parallel(sample, range(settings.samples), settings.workers) as samples:
        roles = TRAJECTORY if frames else PAIR
        write_pairs(settings, "fisher", roles, samples, parameters, progress, tuple(times))
    return GeneratedFile(
        settings.out,
        settings.samples,
        size={"resolution": settings.resolution, "frames": frames, "modes": MODES},
        seconds=clock.monotonic() - started,
        checks={"gap": gap},
        extent=f"{settings.extent}, solved with {MODES} frequencies",
        checked=("the maximum principle", f"a solution by splitting differs by {gap:.1e}"),
    )


def initial(seed: int, index: int, x: Floats) -> tuple[Coefficients, Floats]:
    """Return the coefficients (MODES + 1,) and the values (n,) at x of u at time 0 of a sample.

    It is scaled so that its least value is 0 and its largest one is 1.
    """
    waves = SineWaves.draw(seed, index, WAVES)
    fine = waves(np.arange(FINE) / FINE)
    low, height = float(fine.min()), float(np.ptp(fine))
    c = coefficients_of((fine - low) / height, MODES, 1)
    return c, np.clip((waves(x) - low) / height, 0.0, 1.0)


def _sample(
    settings: GridSettings, equation: FisherEquation, time: float, index: int
) -> dict[str, Floats]:
    count = max(settings.frames, 1)
    x = np.array(positions(settings.sampling, settings.resolution))
    start, first = initial(settings.seed, index, x)
    states = equation.spectral(start, time / count, count, _steps(equation.rate, time, count))
    later = fourier_values(np.stack(list(states)), settings.sampling, settings.resolution, 1)
    u = np.concatenate([first[None], later])
    if not -SLACK <= u.min() <= u.max() <= 1 + SLACK:  # so written that NaN fails
        raise settings.unsound(f"sample {index} leaves 0 to 1: {u.min():g} to {u.max():g}")
    return {"u": u} if settings.frames else {"initial": u[0], "final": u[-1]}


def _steps(rate: float, time: float, count: int) -> int:
    """Return the steps of each of `count` intervals."""
    return math.ceil(max(rate * time / STEP, LEAST_STEPS) / count)


def _gap(settings: GridSettings, equation: FisherEquation, time: float) -> float:
    """Difference of the first sample from a solution by operator splitting, relative.

    Splitting is extrapolated from two steps: its error is of second order.

    Raises:
        OpError: OP0617, the difference is above CLOSE.
    """
    start, _ = initial(settings.seed, 0, np.zeros(0))
    steps = _steps(equation.rate, time, 1)
    (end,) = equation.spectral(start, time, 1, steps)
    coarse, fine = (equation.split(start, time, k * steps) for k in (2, 4))
    other = fine + (fine - coarse) / 3
    gap = float(np.linalg.norm(end - other) / np.linalg.norm(other))
    if not gap <= CLOSE:  # so written that NaN fails
        raise settings.unsound(f"a solution by operator splitting differs by {gap:.1e}")
    return gap
