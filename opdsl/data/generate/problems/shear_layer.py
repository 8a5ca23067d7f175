"""Two perturbed shear layers on the unit torus, whose vortices roll up.

Fields `initial` (input) and `final` (output), the horizontal velocity at time 0 and t.
"""

from __future__ import annotations

import time as clock
from dataclasses import dataclass
from functools import partial
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate import GeneratedFile
from opdsl.data.generate.problems.grid_pairs import PAIR, GridOptions, GridSettings, write_pairs
from opdsl.data.generate.problems.parallel import in_parallel
from opdsl.data.generate.sampling.draws import uniforms
from opdsl.data.generate.sampling.fourier import (
    Coefficients,
    coefficients_of,
    fourier_values,
    frequencies,
    largest_at_end,
)
from opdsl.data.generate.sampling.sine_laws import Distribution
from opdsl.data.generate.solvers.vorticity import Torus, VorticitySolver
from opdsl.data.progress import ProgressCallback

Floats = NDArray[np.float64]

VISCOSITY, FIRST = 4e-4, 12  # the viscosity, and the lowest frequency on which it acts
SHIFT = 0.025  # of the layers, times the random sum
MOST_TIME = 10.0
FINE = (48, 1024)
PER_MODE = 8  # points on which a layer is evaluated, for each frequency of the solver
TAIL = 1e-2  # of the frequencies that the solver does not carry, relative
TRIAL = 0.1  # time over which steps are halved
CLOSE = 3e-5  # after halving the steps, relative; 1e-6 is observed
SLACK = 1e-6  # by which the energy may grow


@dataclass(frozen=True, slots=True)
class ShearLayers:
    """The law of the layers: rho, which is 2 pi times their width, and the waves P."""

    width: float
    waves: int


LAWS = {"in": ShearLayers(0.1, 10), "out": ShearLayers(0.09, 12)}


def generate(
    *,
    distribution: Distribution = "in",
    time: float = 1.0,
    fine: int = 192,
    progress: ProgressCallback | None = None,
    **grid: Unpack[GridOptions],
) -> GeneratedFile:
    """Generate a file of shear layers and check it.

    The solver does not depend on the resolution of the file: files of one seed hold the same
    functions at every resolution and sampling, whatever the number of samples and workers.

    Args:
        distribution: the law of the layers.
        time: t, of the output.
        fine: points of the solver's grid on each axis; a third of them is the highest frequency.
        progress: is called with the samples done and all samples.
        grid: resolution, samples, seed, file, sampling and workers.

    Raises:
        OpError: OP0604 a setting does not fit; OP0617 a check failed; OP0625 the file cannot be
            written. No file is left then, nor after an interruption.

    Source: Raonic et al. 2023, arXiv:2302.01178, the benchmark `Navier-Stokes equations`.
    """
    started = clock.monotonic()
    grid.setdefault("sampling", "lower")
    settings = GridSettings("shear layer", ("x", "y"), **grid, periodic=True)
    settings.refuse_bad(
        (
            f"the distribution `{distribution}`; it is one of {', '.join(LAWS)}",
            distribution not in LAWS,
        ),
        settings.outside("time", time, (1e-3, MOST_TIME)),
        settings.outside("fine grid", fine, FINE),
    )
    layers, modes = LAWS[distribution], (fine - 1) // 3
    halving = _halving(settings, layers, modes, time)

    parameters: dict[str, str | int | float] = {
        "width": layers.width,
        "waves": layers.waves,
        "viscosity": VISCOSITY,
        "first_viscous_frequency": FIRST,
        "end_time": time,
        "boundary": "periodic",
        "fine": fine,
    }
    sample = partial(_sample, settings, layers, modes, time)
    with in_parallel(sample, range(settings.samples), settings.workers) as pairs:
        write_pairs(settings, "shear_layer", PAIR, pairs, parameters, progress)
    return GeneratedFile(
        settings.out,
        settings.samples,
        size={"resolution": settings.resolution, "modes": modes},
        seconds=clock.monotonic() - started,
        checks={"halving": halving},
        extent=f"{settings.extent}, solved with {modes} frequencies on each axis",
        checked=("the energy", f"half the steps change the first sample by {halving:.1e}"),
    )


def solver(modes: int) -> VorticitySolver:
    """Return the solver, whose viscosity acts on the frequencies |k| >= FIRST alone."""
    torus = Torus(modes)
    kx, ky = frequencies(modes, 2)
    viscous = kx**2 + ky**2 >= FIRST**2
    return VorticitySolver(torus, np.where(viscous, -VISCOSITY * torus.squared, 0.0))


def layer(seed: int, index: int, layers: ShearLayers, n: int) -> Floats:
    """Return the horizontal velocity (n, n) at j / n, before its divergence is removed."""
    fractions = ((1 + uniforms(seed, index, 2 * layers.waves)) / 2).reshape(2, -1)
    x = np.arange(n) / n
    phases = 2 * np.pi * (np.outer(x, np.arange(1, layers.waves + 1)) - fractions[1])
    shifted = (x + SHIFT * (np.sin(phases) @ fractions[0])[:, None]) % 1
    lower = np.tanh(2 * np.pi * (shifted - 0.25) / layers.width)
    upper = np.tanh(2 * np.pi * (0.75 - shifted) / layers.width)
    return np.asarray(np.where(shifted <= 0.5, lower, upper))


def initial(seed: int, index: int, layers: ShearLayers, torus: Torus) -> Coefficients:
    """Return the vorticity at time 0 of a sample, which its divergence-free part has too."""
    u = coefficients_of(layer(seed, index, layers, PER_MODE * torus.modes), torus.modes, 2)
    w = torus.vorticity(np.stack([u, np.zeros_like(u)]))
    w[0, 0] = 0
    return w


def _sample(
    settings: GridSettings, layers: ShearLayers, modes: int, time: float, index: int
) -> dict[str, Floats]:
    flow = solver(modes)
    start = initial(settings.seed, index, layers, flow.torus)
    (end,) = flow.states(start, time, 1)
    _sound(settings, index, flow.torus, start, end)
    return {
        name: fourier_values(flow.torus.velocity(w)[0], settings.sampling, settings.resolution, 2)
        for name, w in {"initial": start, "final": end}.items()
    }


def _sound(
    settings: GridSettings, index: int, torus: Torus, start: Coefficients, end: Coefficients
) -> None:
    """Check that the frequencies suffice and that the energy does not grow.

    Raises:
        OpError: OP0617, a check failed.
    """
    u = torus.velocity(end)[0]
    # so written that NaN fails
    tail = largest_at_end(u) / float(np.abs(u).max())
    if not tail <= TAIL:
        raise settings.unsound(f"sample {index} is cut off at {tail:.1e} of its coefficients")
    before, after = (energy(torus, w) for w in (start, end))
    if not after <= (1 + SLACK) * before:
        raise settings.unsound(f"the energy of sample {index} grows from {before:g} to {after:g}")


def energy(torus: Torus, w: Coefficients) -> float:
    """Return the mean of |u|^2."""
    squares = (np.abs(torus.velocity(w)) ** 2).sum(0)
    return float(2 * squares.sum() - squares[:, 0].sum())


def _halving(settings: GridSettings, layers: ShearLayers, modes: int, time: float) -> float:
    """Change of the first velocity, after a short time, when all steps are halved, relative.

    Raises:
        OpError: OP0617, the change is above CLOSE.
    """
    flow = solver(modes)
    start = initial(settings.seed, 0, layers, flow.torus)
    (one,), (two,) = (flow.states(start, min(time, TRIAL), 1, refine=r) for r in (1, 2))
    once, twice = (flow.torus.velocity(w) for w in (one, two))
    change = float(np.linalg.norm(once - twice) / np.linalg.norm(twice))
    if not change <= CLOSE:
        raise settings.unsound(f"half the steps change the first sample by {change:.1e}")
    return change
