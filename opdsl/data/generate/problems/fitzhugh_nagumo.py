"""FitzHugh and Nagumo: an activator and an inhibitor on the square (-1, 1)^2, from white noise.

    u_t = D_u Laplace u + u - u^3 - k - v,    v_t = D_v Laplace v + u - v,    no flux at the walls

Fields `activator` (u) and `inhibitor` (v) at several times. The initial values of the cells of the
solver are independent and normal, as published: they are a property of its grid.
"""

from __future__ import annotations

import math
import time as clock
from functools import partial
from typing import TYPE_CHECKING, Unpack

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate import GeneratedFile
from opdsl.data.generate.problems.grid_pairs import FileOptions, GridSettings, write_pairs
from opdsl.data.generate.problems.parallel import in_parallel
from opdsl.data.generate.sampling.draws import normals
from opdsl.data.generate.solvers.fitzhugh_nagumo import FitzHughNagumo
from opdsl.data.progress import ProgressCallback

if TYPE_CHECKING:
    from opdsl.data.bind.samples import Role

Floats = NDArray[np.float64]

FIELDS: dict[str, Role] = {"activator": "unknown", "inhibitor": "unknown"}
SIDE = 2.0
FINE, MOST_FINE = 128, 1024
DIFFUSIVITIES, CONSTANTS, TIMES, FRAMES = (1e-5, 0.1), (0.0, 1.0), (1e-2, 1e3), (1, 1000)
TRIAL, TRIAL_STEP = 0.5, 1 / 256  # time and step of the second solution
CLOSE = 1e-5  # of the two solutions, relative; 1e-7 is observed


def generate(
    *,
    du: float = 1e-3,
    dv: float = 5e-3,
    k: float = 5e-3,
    time: float = 5.0,
    frames: int = 100,
    fine: int | None = None,
    progress: ProgressCallback | None = None,
    **options: Unpack[FileOptions],
) -> GeneratedFile:
    """Generate a file of patterns that grow from noise and check it.

    The file holds the means of its cells, each of which has k x k cells of the solver: files of one
    seed and one solver's grid hold the same functions at every resolution, whatever the number of
    samples and workers. For the first sample, exponential time differencing must agree.

    Args:
        du: D_u.
        dv: D_v.
        k: the constant of the reaction.
        time: t, of the last state.
        frames: intervals of time to record.
        fine: cells of the solver on each axis; the least multiple of the resolution that is at
            least FINE if None.
        progress: is called with the samples done and all samples.
        options: resolution, samples, seed, file and workers.

    Raises:
        OpError: OP0604 a setting does not fit; OP0617 the check failed; OP0625 the file cannot be
            written. No file is left then, nor after an interruption.

    Source: Takamoto et al. 2022, arXiv:2210.07182, the 2D diffusion-reaction.
    """
    started = clock.monotonic()
    settings = GridSettings(
        "FitzHugh-Nagumo",
        ("x", "y"),
        **options,
        sampling="centres",
        length=SIDE,
        start=-SIDE / 2,
        frames=frames,
    )
    n = settings.resolution
    fine = -(-FINE // max(n, 1)) * n if fine is None else fine
    settings.refuse_bad(
        settings.outside("diffusivity of the activator", du, DIFFUSIVITIES),
        settings.outside("diffusivity of the inhibitor", dv, DIFFUSIVITIES),
        settings.outside("constant", k, CONSTANTS),
        settings.outside("time", time, TIMES),
        settings.outside("number of frames", frames, FRAMES),
        (
            f"{fine} cells of the solver on each axis; it is a multiple of {n} up to {MOST_FINE}",
            fine % max(n, 1) != 0 or not n <= fine <= MOST_FINE,
        ),
    )
    equations = FitzHughNagumo((du, dv), k, SIDE)
    gap = _gap(settings, equations, fine, time)
    times = tuple(np.linspace(0.0, time, frames + 1))

    parameters: dict[str, str | int | float] = {
        "du": du,
        "dv": dv,
        "k": k,
        "end_time": time,
        "boundary": "neumann",
        "fine": fine,
    }
    sample = partial(_sample, settings, equations, fine, times)
    with in_parallel(sample, range(settings.samples), settings.workers) as samples:
        write_pairs(
            settings, "fitzhugh_nagumo", FIELDS, samples, parameters, progress, tuple(times)
        )
    return GeneratedFile(
        settings.out,
        settings.samples,
        size={"resolution": n, "frames": frames, "fine": fine},
        seconds=clock.monotonic() - started,
        checks={"gap": gap},
        extent=f"{settings.extent}, solved with {fine}x{fine} cells",
        checked=(f"exponential differencing of the first sample differs by {gap:.1e}",),
    )


def _sample(
    settings: GridSettings,
    equations: FitzHughNagumo,
    fine: int,
    times: tuple[float, ...],
    index: int,
) -> dict[str, Floats]:
    states = equations.integrate(initial(settings.seed, index, fine), times)
    states = cell_means(states, settings.resolution)
    return {"activator": states[:, 0], "inhibitor": states[:, 1]}


def initial(seed: int, index: int, fine: int) -> Floats:
    """Draw the values (2, fine, fine) of u and v at time 0 of a sample."""
    return normals(seed, index, 2 * fine * fine).reshape(2, fine, fine)


def cell_means(y: Floats, n: int) -> Floats:
    """Return the means (..., n, n) over blocks of the cells (..., fine, fine)."""
    k = y.shape[-1] // n
    return np.asarray(y.reshape(*y.shape[:-2], n, k, n, k).mean((-3, -1)))


def _gap(settings: GridSettings, equations: FitzHughNagumo, fine: int, time: float) -> float:
    """Difference of the two solutions of the first sample after a short time, relative.

    Raises:
        OpError: OP0617, the difference is above CLOSE.
    """
    start, trial = initial(settings.seed, 0, fine), min(time, TRIAL)
    _, one = equations.integrate(start, (0.0, trial))
    other = equations.spectral(start, trial, math.ceil(trial / TRIAL_STEP))
    gap = float(np.linalg.norm(one - other) / np.linalg.norm(other))
    if not gap <= CLOSE:  # so written that NaN fails
        raise settings.unsound(f"exponential differencing differs by {gap:.1e}")
    return gap
