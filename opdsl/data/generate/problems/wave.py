"""The wave equation, u_tt = c^2 Laplace u on the unit square, u = 0 on its boundary, from rest.

Fields `initial` (input, u at time 0) and `final` (output, u at time t); c = 0.1.

    u = pi / K^2 sum_ij a_ij (i^2 + j^2)^(-r) sin(pi i x) sin(pi j y) cos(c pi t (i^2 + j^2)^(1/2))
"""

from __future__ import annotations

import time as clock
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate import GeneratedFile
from opdsl.data.generate.problems.grid_pairs import PAIR, GridOptions, GridSettings, write_pairs
from opdsl.data.generate.sampling.half_waves import sines
from opdsl.data.generate.sampling.sine_laws import (
    PLACES,
    Distribution,
    SineLaw,
    measured_order,
    second_differences,
    sine_law,
)
from opdsl.data.generate.sampling.sine_series import SeriesValues, amplitudes, series, squared_waves
from opdsl.data.progress import ProgressCallback

Floats = NDArray[np.float64]

LAWS: dict[str, tuple[int, float]] = {"in": (24, 1.0), "out": (32, 0.85)}  # K and r
SPEED = 0.1
MOST_TIME = 1000.0


def generate(
    *,
    distribution: Distribution = "in",
    terms: int | None = None,
    exponent: float | None = None,
    time: float = 5.0,
    progress: ProgressCallback | None = None,
    **grid: Unpack[GridOptions],
) -> GeneratedFile:
    """Generate a file of standing waves and check it.

    The values are those of the sum above, in float64, so that files of one seed hold the same
    functions at every resolution and sampling.

    Args:
        distribution: the values that K and r have unless given: `in` is 24 and 1, `out` is 32 and
            0.85.
        terms: K, sines on each axis.
        exponent: r.
        time: t, of the output.
        progress: is called with the samples done and all samples.
        grid: resolution, samples, seed, file and sampling.

    Raises:
        OpError: OP0604 a setting does not fit; OP0617 the check failed; OP0625 the file cannot be
            written. No file is left then, nor after an interruption.

    Source: Raonic et al. 2023, arXiv:2302.01178, the benchmark `wave equation`.
    """
    started = clock.monotonic()
    settings = GridSettings("wave", ("x", "y"), **grid)
    bad_time = (f"the time {time:g}; it is 0 to {MOST_TIME:g}", not 0 <= time <= MOST_TIME)
    law = sine_law(settings, LAWS, distribution, terms, exponent, bad_time)
    measured = _order(settings, law, time)
    basis = sines(settings.sampling, settings.resolution, np.arange(1, law.terms + 1))
    times = {"initial": 0.0, "final": time}
    pairs = (
        {k: basis @ coefficients(settings.seed, i, law, t) @ basis.T for k, t in times.items()}
        for i in range(settings.samples)
    )
    parameters = {"terms": law.terms, "exponent": law.exponent, "speed": SPEED, "end_time": time}
    write_pairs(settings, "wave", PAIR, pairs, parameters, progress)
    return GeneratedFile(
        settings.out,
        settings.samples,
        size={"resolution": settings.resolution, "terms": law.terms},
        seconds=clock.monotonic() - started,
        checks={"order": round(measured, 3)},
        extent=settings.extent,
        checked=(f"second differences satisfy the equation with order {measured:.2f}",),
    )


def coefficients(seed: int, index: int, law: SineLaw, time: float) -> Floats:
    """Return the coefficients (K, K) of sin(pi i x) sin(pi j y) at a time."""
    squared = squared_waves(law.terms)
    u = np.pi / law.terms**2 * amplitudes(seed, index, law.terms) * squared**-law.exponent
    return np.asarray(u * np.cos(SPEED * np.pi * time * np.sqrt(squared)))


def _order(settings: GridSettings, law: SineLaw, time: float) -> float:
    """Order with which second differences in time and space of the first sample cancel."""

    def at(t: float) -> SeriesValues:
        return series(coefficients(settings.seed, 0, law, t))

    def residual(h: float) -> Floats:
        step = h / SPEED
        before, now, after = (at(time + k * step)(PLACES, PLACES) for k in (-1, 0, 1))
        acceleration = (before - 2 * now + after) / step**2
        return np.asarray(acceleration - SPEED**2 * second_differences(at(time), h))

    return measured_order(settings, law, residual)
