"""The viscous Burgers equation, u_t + u u_x = nu u_xx on [0, 1], u = 0 at both ends.

Fields `initial` (input, u at time 0) and `final` (output, u at time t). The initial condition is
the sum of a_k sin(pi k x) / k, k = 1..K, with a_k uniform on (-1, 1).
"""

from __future__ import annotations

import math
import time as clock
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate import GeneratedFile
from opdsl.data.generate.problems.grid_pairs import PAIR, GridOptions, GridSettings, write_pairs
from opdsl.data.generate.sampling.draws import uniforms
from opdsl.data.generate.sampling.half_waves import sines
from opdsl.data.generate.solvers.viscous_burgers import ColeHopf, sine_series
from opdsl.data.progress import ProgressCallback
from opdsl.sampling import positions

Floats = NDArray[np.float64]

MOST_TERMS = 64
VISCOSITIES, TIMES = (0.002, 1.0), (0.01, 2.0)
MODES = 2.5  # sines of the check for each unit of 1 / nu: shocks are about 4 nu wide
CLOSE = 1e-5  # of the two solutions, relative; 1e-6 to 1e-11 is observed


def generate(
    *,
    terms: int = 16,
    viscosity: float = 0.01,
    time: float = 1.0,
    progress: ProgressCallback | None = None,
    **grid: Unpack[GridOptions],
) -> GeneratedFile:
    """Generate a file of flows between two walls and check it.

    The solution is computed at the points of the file by quadrature, in float64, so that files of
    one seed hold the same functions at every resolution and sampling. That of the first sample is
    compared with a pseudospectral solution.

    Args:
        terms: K, sines of the initial condition.
        viscosity: nu.
        time: t, of the output.
        progress: is called with the samples done and all samples.
        grid: resolution, samples, seed, file and sampling.

    Raises:
        OpError: OP0604 a setting does not fit; OP0617 the check failed; OP0625 the file cannot be
            written. No file is left then, nor after an interruption.
    """
    started = clock.monotonic()
    settings = GridSettings("Burgers", ("x",), **grid)
    settings.refuse_bad(
        (f"{terms} terms; it is 1 to {MOST_TERMS}", not 1 <= terms <= MOST_TERMS),
        settings.outside("viscosity", viscosity, VISCOSITIES),
        settings.outside("time", time, TIMES),
    )
    waves = np.arange(1, terms + 1)
    gap = _gap(settings, terms, viscosity, time)
    x = np.array(positions(settings.sampling, settings.resolution))
    basis = sines(settings.sampling, settings.resolution, waves)
    flow = ColeHopf(x, 1 / waves, viscosity, time)
    inside = (x > 0) & (x < 1)

    def pair(index: int) -> dict[str, Floats]:
        a = amplitudes(settings.seed, index, terms)
        return {"initial": basis @ a, "final": np.where(inside, flow.solve(a), 0.0)}

    pairs = map(pair, range(settings.samples))
    parameters: dict[str, str | int | float] = {
        "terms": terms,
        "viscosity": viscosity,
        "end_time": time,
        "boundary": "dirichlet",
    }
    write_pairs(settings, "burgers", PAIR, pairs, parameters, progress)
    return GeneratedFile(
        settings.out,
        settings.samples,
        size={"resolution": settings.resolution, "terms": terms},
        seconds=clock.monotonic() - started,
        checks={"gap": gap},
        extent=settings.extent,
        checked=(f"a spectral solution differs by {gap:.1e}",),
    )


def amplitudes(seed: int, index: int, terms: int) -> Floats:
    """Draw the coefficients of sin(pi k x) of the initial condition of a sample; (terms,)."""
    return uniforms(seed, index, terms) / np.arange(1, terms + 1)


def _gap(settings: GridSettings, terms: int, viscosity: float, time: float) -> float:
    """Difference of the quadrature and a pseudospectral solution of the first sample, relative.

    Raises:
        OpError: OP0617, the difference is above CLOSE.
    """
    a = amplitudes(settings.seed, 0, terms)
    parts = 1 << math.ceil(math.log2(max(MODES / viscosity, 8 * terms, 64)))
    u = sine_series(a, viscosity, time, parts - 1)
    x = np.arange(1, parts) / parts
    largest = 1 / np.arange(1, terms + 1)
    gap = np.abs(ColeHopf(x, largest, viscosity, time).solve(a) - u).max() / np.abs(u).max()
    if not gap <= CLOSE:  # so written that NaN fails
        raise settings.unsound(f"quadrature and a spectral solution differ by {gap:.1e}")
    return float(gap)
