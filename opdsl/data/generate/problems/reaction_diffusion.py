"""Allen-Cahn reaction and diffusion, u_t = d Laplace u + u - u^3, with no flux at the walls.

Fields `initial` (input, u at time 0) and `final` (output, u at time t) on the unit square. The
initial condition is the sum of a_ij cos(pi i x) cos(pi j y) / (1 + i^2 + j^2), i, j < K, with a_ij
uniform on (-1, 1).
"""

from __future__ import annotations

import math
import time as clock
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate import GeneratedFile
from opdsl.data.generate.problems.grid_pairs import PAIR, GridOptions, GridSettings, write_pairs
from opdsl.data.generate.sampling.draws import uniforms
from opdsl.data.generate.sampling.half_waves import cosines
from opdsl.data.generate.solvers.allen_cahn import spectral, split, values
from opdsl.data.progress import ProgressCallback

Floats = NDArray[np.float64]

MOST_TERMS = 32
DIFFUSIVITIES, TIMES = (2e-4, 1.0), (0.01, 10.0)
LEAST_MODES, PER_TERM, PER_WIDTH = 32, 4, 2.8  # modes of the solver; fronts are (2 d)^(1/2) wide
STEP = 0.15  # the error of a solution is about 1e-5
LEAST_STEPS = 10
BATCH = 16
TAIL = 1e-5  # of the coefficients that the solver does not carry, relative
SLACK = 1e-6  # by which a solution may leave its bounds
CLOSE = 1e-4  # of the two solutions, relative


@dataclass(frozen=True, slots=True)
class Reaction:
    """The terms K of the initial condition, d and t."""

    terms: int
    diffusivity: float
    time: float

    @property
    def modes(self) -> int:
        """The cosines on each axis that the solver carries: a multiple of 16."""
        fronts = PER_WIDTH / math.sqrt(2 * self.diffusivity)
        return 16 * math.ceil(max(LEAST_MODES, PER_TERM * self.terms, fronts) / 16)

    @property
    def steps(self) -> int:
        """The steps of the solver."""
        return max(LEAST_STEPS, math.ceil(self.time / STEP))


def generate(
    *,
    terms: int = 8,
    diffusivity: float = 0.001,
    time: float = 2.5,
    progress: ProgressCallback | None = None,
    **grid: Unpack[GridOptions],
) -> GeneratedFile:
    """Generate a file of reactions with diffusion and check it.

    The equation is solved for coefficients of cosines, in float64, and the file holds the values of
    these sums at its points: files of one seed hold the same functions at every resolution and
    sampling. The first sample is compared with a solution by operator splitting; all samples
    obey the maximum principle.

    Args:
        terms: K, cosines of the initial condition on each axis.
        diffusivity: d.
        time: t, of the output.
        progress: is called with the samples done and all samples.
        grid: resolution, samples, seed, file and sampling.

    Raises:
        OpError: OP0604 a setting does not fit; OP0617 the check failed; OP0625 the file cannot be
            written. No file is left then, nor after an interruption.

    Source: Allen and Cahn 1979, doi:10.1016/0001-6160(79)90196-2.
    """
    started = clock.monotonic()
    settings = GridSettings("reaction-diffusion", ("x", "y"), **grid)
    reaction = Reaction(terms, diffusivity, time)
    settings.refuse_bad(
        (f"{terms} terms; it is 1 to {MOST_TERMS}", not 1 <= terms <= MOST_TERMS),
        settings.outside("diffusivity", diffusivity, DIFFUSIVITIES),
        settings.outside("time", time, TIMES),
    )
    gap = _gap(settings, reaction)
    parameters: dict[str, str | int | float] = {
        "terms": terms,
        "diffusivity": diffusivity,
        "end_time": time,
        "boundary": "neumann",
        "modes": reaction.modes,
    }
    pairs = _pairs(settings, reaction)
    write_pairs(settings, "reaction_diffusion", PAIR, pairs, parameters, progress)
    return GeneratedFile(
        settings.out,
        settings.samples,
        size={"resolution": settings.resolution, "modes": reaction.modes},
        seconds=clock.monotonic() - started,
        checks={"gap": gap},
        extent=f"{settings.extent}, solved with {reaction.modes} cosines on each axis",
        checked=("the maximum principle", f"a solution by splitting differs by {gap:.1e}"),
    )


def initial(seed: int, index: int, reaction: Reaction) -> Floats:
    """Draw the coefficients of the initial condition; (modes, modes), zero from K on."""
    k = np.arange(reaction.terms, dtype=np.float64)
    c = np.zeros((reaction.modes, reaction.modes))
    a = uniforms(seed, index, reaction.terms**2).reshape(reaction.terms, -1)
    c[: reaction.terms, : reaction.terms] = a / (1 + k[:, None] ** 2 + k**2)
    return c


def final(start: Floats, reaction: Reaction) -> Floats:
    """Return the coefficients (..., modes, modes) at time t."""
    return spectral(start, reaction.diffusivity, reaction.time, reaction.steps)


def _pairs(settings: GridSettings, reaction: Reaction) -> Iterator[dict[str, Floats]]:
    basis = cosines(settings.sampling, settings.resolution, np.arange(reaction.modes))
    for first in range(0, settings.samples, BATCH):
        indices = range(first, min(first + BATCH, settings.samples))
        start = np.stack([initial(settings.seed, i, reaction) for i in indices])
        end = final(start, reaction)
        for index, before, after in zip(indices, start, end, strict=True):
            _sound(settings, index, before, after)
            yield {"initial": basis @ before @ basis.T, "final": basis @ after @ basis.T}


def _sound(settings: GridSettings, index: int, before: Floats, after: Floats) -> None:
    """Check that the cosines suffice, and the maximum principle: |u| <= max(1, |u| at the start).

    Raises:
        OpError: OP0617, a check failed.
    """
    # so written that NaN fails
    tail = max(np.abs(after[-1]).max(), np.abs(after[:, -1]).max()) / np.abs(after).max()
    if not tail <= TAIL:
        raise settings.unsound(f"sample {index} is cut off at {tail:.1e} of its coefficients")
    bound, largest = (float(np.abs(values(c)).max()) for c in (before, after))
    if not largest <= max(1.0, bound) + SLACK:
        raise settings.unsound(f"sample {index} has the value {largest:g} above its bound")


def _gap(settings: GridSettings, reaction: Reaction) -> float:
    """Difference of the first sample from a solution by operator splitting, relative.

    Splitting is extrapolated from two steps: its error is of second order.

    Raises:
        OpError: OP0617, the difference is above CLOSE.
    """
    start = initial(settings.seed, 0, reaction)
    law = (reaction.diffusivity, reaction.time)
    coarse, fine = (split(start, *law, k * reaction.steps) for k in (4, 8))
    other = fine + (fine - coarse) / 3
    gap = float(np.linalg.norm(final(start, reaction) - other) / np.linalg.norm(other))
    if not gap <= CLOSE:
        raise settings.unsound(f"a solution by operator splitting differs by {gap:.1e}")
    return gap
