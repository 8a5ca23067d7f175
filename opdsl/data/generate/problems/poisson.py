"""The Poisson equation: -Laplace u = f on the unit square, u = 0 on its boundary, in closed form.

Fields `forcing` (input, f) and `solution` (output, u).

    f = pi / K^2 sum_ij a_ij (i^2 + j^2)^r sin(pi i x) sin(pi j y),    i, j = 1..K
    u = 1 / (pi K^2) sum_ij a_ij (i^2 + j^2)^(r - 1) sin(pi i x) sin(pi j y)
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Unpack

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate import GeneratedFile
from opdsl.data.generate.problems.grid_pairs import GridOptions, GridSettings, write_pairs
from opdsl.data.generate.sampling.half_waves import sines
from opdsl.data.generate.sampling.sine_laws import (
    PLACES,
    Distribution,
    SineLaw,
    measured_order,
    second_differences,
    sine_law,
)
from opdsl.data.generate.sampling.sine_series import amplitudes, series, squared_waves
from opdsl.data.progress import ProgressCallback

if TYPE_CHECKING:
    from opdsl.data.bind.samples import Role

Floats = NDArray[np.float64]

LAWS: dict[str, tuple[int, float]] = {"in": (16, -0.5), "out": (20, -0.5)}  # K and r
FIELDS: dict[str, Role] = {"forcing": "input", "solution": "output"}


def generate(
    *,
    distribution: Distribution = "in",
    terms: int | None = None,
    exponent: float | None = None,
    progress: ProgressCallback | None = None,
    **grid: Unpack[GridOptions],
) -> GeneratedFile:
    """Generate a file of Poisson problems and check it.

    The values are those of the sums above, in float64, so that files of one seed hold the same
    functions at every resolution and sampling.

    Args:
        distribution: the values that K and r have unless given: `in` is 16 and -0.5, `out` is 20
            and -0.5.
        terms: K, sines on each axis.
        exponent: r.
        progress: is called with the samples done and all samples.
        grid: resolution, samples, seed, file and sampling.

    Raises:
        OpError: OP0604 a setting does not fit; OP0617 the check failed; OP0625 the file cannot be
            written. No file is left then, nor after an interruption.

    Source: Raonic et al. 2023, arXiv:2302.01178, the benchmark `Poisson equation`.
    """
    started = time.monotonic()
    settings = GridSettings("Poisson", ("x", "y"), **grid)
    law = sine_law(settings, LAWS, distribution, terms, exponent)
    measured = _order(settings, law)
    basis = sines(settings.sampling, settings.resolution, np.arange(1, law.terms + 1))
    pairs = (
        {k: basis @ c @ basis.T for k, c in coefficients(settings.seed, i, law).items()}
        for i in range(settings.samples)
    )
    parameters = {"terms": law.terms, "exponent": law.exponent}
    write_pairs(settings, "poisson", FIELDS, pairs, parameters, progress)
    return GeneratedFile(
        settings.out,
        settings.samples,
        size={"resolution": settings.resolution, "terms": law.terms},
        seconds=time.monotonic() - started,
        checks={"order": round(measured, 3)},
        extent=settings.extent,
        checked=(f"second differences satisfy the equation with order {measured:.2f}",),
    )


def coefficients(seed: int, index: int, law: SineLaw) -> dict[str, Floats]:
    """Return the coefficients (K, K) of sin(pi i x) sin(pi j y) in both fields of a sample."""
    squared = squared_waves(law.terms)
    f = np.pi / law.terms**2 * amplitudes(seed, index, law.terms) * squared**law.exponent
    return {"forcing": f, "solution": f / (np.pi**2 * squared)}


def _order(settings: GridSettings, law: SineLaw) -> float:
    """Order with which second differences of the first solution approach its forcing."""
    functions = {k: series(c) for k, c in coefficients(settings.seed, 0, law).items()}
    f = functions["forcing"](PLACES, PLACES)
    return measured_order(settings, law, lambda h: second_differences(functions["solution"], h) + f)
