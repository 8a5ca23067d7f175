"""Allen-Cahn, u_t = Laplace u + e^2 (u - u^3) on the unit torus.

Fields `initial` (input, u at time 0) and `final` (output, u at time t). The initial condition is
that of the wave equation (`wave`), continued periodically: its slope jumps where an axis closes.
"""

from __future__ import annotations

import math
import time as clock
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
    coefficients_of,
    fourier_values,
    largest_at_end,
    on_grid,
)
from opdsl.data.generate.sampling.half_waves import sines
from opdsl.data.generate.sampling.sine_laws import Distribution, SineLaw, sine_law
from opdsl.data.generate.sampling.sine_series import amplitudes, squared_waves
from opdsl.data.generate.solvers.periodic_reaction import grid_points, spectral, split
from opdsl.data.progress import ProgressCallback

Floats = NDArray[np.float64]

LAWS: dict[str, tuple[int, float]] = {"in": (24, 1.0), "out": (16, 0.85)}  # K and r
RATES, MOST_UNITS = (1.0, 400.0), 50.0  # the latter bounds e^2 t, the time in units of reaction
LEAST_MODES, PER_RATE = 48, 0.73  # frequencies of the solver; fronts are sqrt(2) / e wide
STEP, LEAST_STEPS = 0.16, 20  # in units of reaction: the error of a solution is about 1e-4
TAIL = 1e-3  # of the frequencies that the solver does not carry, relative
SLACK = 1e-2  # by which a solution may leave its bounds
CLOSE = 1e-3  # of the two solutions, relative; 1e-5 to 1e-4 is observed


@dataclass(frozen=True, slots=True)
class AllenCahnReaction:
    """The law of the initial condition, e and t."""

    law: SineLaw
    rate: float
    time: float

    @property
    def modes(self) -> int:
        """The frequencies on each axis that the solver carries."""
        return math.ceil(max(LEAST_MODES, 2 * self.law.terms, PER_RATE * self.rate))

    @property
    def steps(self) -> int:
        """The steps of the solver."""
        return max(LEAST_STEPS, math.ceil(self.rate**2 * self.time / STEP))


def generate(
    *,
    distribution: Distribution = "in",
    terms: int | None = None,
    exponent: float | None = None,
    rate: float = 220.0,
    time: float = 0.0002,
    progress: ProgressCallback | None = None,
    **grid: Unpack[GridOptions],
) -> GeneratedFile:
    """Generate a file of separating phases and check it.

    The solver does not depend on the resolution of the file: files of one seed hold the same
    functions at every resolution and sampling, whatever the number of samples and workers.

    Args:
        distribution: the values that K and r have unless given: `in` is 24 and 1, `out` is 16 and
            0.85.
        terms: K, sines on each axis.
        exponent: r.
        rate: e.
        time: t, of the output.
        progress: is called with the samples done and all samples.
        grid: resolution, samples, seed, file, sampling and workers.

    Raises:
        OpError: OP0604 a setting does not fit; OP0617 a check failed; OP0625 the file cannot be
            written. No file is left then, nor after an interruption.

    Source: Raonic et al. 2023, arXiv:2302.01178, the benchmark `Allen-Cahn equation`.
    """
    started = clock.monotonic()
    grid.setdefault("sampling", "lower")
    settings = GridSettings("Allen-Cahn", ("x", "y"), **grid, periodic=True)
    most = MOST_UNITS / rate**2 if RATES[0] <= rate <= RATES[1] else 1.0
    law = sine_law(
        settings,
        LAWS,
        distribution,
        terms,
        exponent,
        settings.outside("rate", rate, RATES),
        settings.outside("time", time, (1e-9, most)),
    )
    reaction = AllenCahnReaction(law, rate, time)
    gap = _gap(settings, reaction)
    parameters: dict[str, str | int | float] = {
        "terms": law.terms,
        "exponent": law.exponent,
        "rate": rate,
        "end_time": time,
        "boundary": "periodic",
        "modes": reaction.modes,
    }
    sample = partial(_sample, settings, reaction)
    with in_parallel(sample, range(settings.samples), settings.workers) as pairs:
        write_pairs(settings, "allen_cahn", PAIR, pairs, parameters, progress)
    return GeneratedFile(
        settings.out,
        settings.samples,
        size={"resolution": settings.resolution, "modes": reaction.modes},
        seconds=clock.monotonic() - started,
        checks={"gap": gap},
        extent=f"{settings.extent}, solved with {reaction.modes} frequencies on each axis",
        checked=("the maximum principle", f"a solution by splitting differs by {gap:.1e}"),
    )


def sine_coefficients(seed: int, index: int, law: SineLaw) -> Floats:
    """Draw the coefficients (K, K) of sin(pi i x) sin(pi j y) of the initial condition."""
    a = amplitudes(seed, index, law.terms) * squared_waves(law.terms) ** -law.exponent
    return np.asarray(np.pi / law.terms**2 * a)


def initial(a: Floats, modes: int) -> Coefficients:
    """Return the Fourier coefficients of sums of sines on the square, continued periodically."""
    points = grid_points(modes)
    basis = sines("lower", points, np.arange(1, len(a) + 1))
    return coefficients_of(basis @ a @ basis.T, modes, 2)


def final(a: Floats, reaction: AllenCahnReaction) -> Coefficients:
    """Return the coefficients (2 modes + 1, modes + 1) at time t."""
    start = initial(a, reaction.modes)
    return spectral(start, reaction.rate**2, reaction.time, reaction.steps)


def _sample(settings: GridSettings, reaction: AllenCahnReaction, index: int) -> dict[str, Floats]:
    waves = np.arange(1, reaction.law.terms + 1)
    basis = sines(settings.sampling, settings.resolution, waves)
    a = sine_coefficients(settings.seed, index, reaction.law)
    after = final(a, reaction)
    _sound(settings, index, after)
    end = fourier_values(after, settings.sampling, settings.resolution, 2)
    return {"initial": basis @ a @ basis.T, "final": end}


def _sound(settings: GridSettings, index: int, after: Coefficients) -> None:
    """Check that the frequencies suffice, and the maximum principle: |u| <= 1.

    Raises:
        OpError: OP0617, a check failed.
    """
    # so written that NaN fails
    tail = largest_at_end(after) / float(np.abs(after).max())
    if not tail <= TAIL:
        raise settings.unsound(f"sample {index} is cut off at {tail:.1e} of its coefficients")
    largest = float(np.abs(on_grid(after, grid_points(after.shape[-1] - 1), 2)).max())
    if not largest <= 1 + SLACK:
        raise settings.unsound(f"sample {index} has the value {largest:g} above its bound")


def _gap(settings: GridSettings, reaction: AllenCahnReaction) -> float:
    """Difference of the first sample from a solution by operator splitting, relative.

    Splitting is extrapolated from two steps: its error is of second order.

    Raises:
        OpError: OP0617, the difference is above CLOSE.
    """
    a = sine_coefficients(settings.seed, 0, reaction.law)
    start = initial(a, reaction.modes)
    law = (reaction.rate**2, reaction.time)
    coarse, fine = (split(start, *law, k * reaction.steps) for k in (1, 2))
    other = fine + (fine - coarse) / 3
    gap = float(np.linalg.norm(final(a, reaction) - other) / np.linalg.norm(other))
    if not gap <= CLOSE:  # so written that NaN fails
        raise settings.unsound(f"a solution by operator splitting differs by {gap:.1e}")
    return gap
