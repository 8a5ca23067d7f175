"""Incompressible flow on a torus: w_t + u . grad w = nu Laplace w - drag w + f, the vorticity w.

Fields `initial` (input, w at time 0) and `final` (output, w at time t), or `vorticity` at several
times.
"""

from __future__ import annotations

import math
import time as clock
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Unpack

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
    largest_at_end,
    truncated,
)
from opdsl.data.generate.solvers.vorticity import Torus, VorticitySolver
from opdsl.data.progress import ProgressCallback
from opdsl.diagnostics import OpError, fault

if TYPE_CHECKING:
    from opdsl.data.bind.samples import Role

Floats = NDArray[np.float64]
Forcing = Literal["diagonal", "kolmogorov"]

TRAJECTORY: dict[str, Role] = {"vorticity": "unknown"}
MODES = 64  # frequencies of the initial vorticity on each axis
TAU, ALPHA = 7.0, 2.5
AMPLITUDE = 0.1  # of the diagonal forcing
VISCOSITIES, TIMES, DRAGS, WAVES, FRAMES = (1e-5, 1.0), (1e-3, 1e3), (0.0, 10.0), (1, 16), (0, 1000)
FINE = (16, 2048)
TAIL = 1e-2  # of the frequencies that the solver does not carry, relative
TRIAL = 1.0  # time over which steps are halved
CLOSE = 3e-5  # after halving the steps, relative; 1e-8 to 1e-5 is observed
DECAY = 1e-10  # of the Taylor-Green vortex, relative


@dataclass(frozen=True, slots=True)
class _Law:
    """The usual values of a forcing.

    Attributes:
        length: of the torus.
        viscosity, time: unless specified.
        modes: the frequencies of the solver at that viscosity; they grow by its square root.
    """

    length: float
    viscosity: float
    time: float
    modes: int


LAWS: dict[str, _Law] = {
    "diagonal": _Law(1.0, 1e-3, 50.0, 31),
    "kolmogorov": _Law(2 * math.pi, 1 / 500, 5.0, 85),
}


@dataclass(frozen=True, slots=True)
class TorusFlow:
    """The settings of a flow.

    Attributes:
        forcing: the law of f.
        viscosity: nu.
        time: t, of the last state.
        frames: the intervals of time, at least 1.
        wave: n of the Kolmogorov forcing.
        drag: the coefficient of -w.
        modes: frequencies of the solver on each axis.
    """

    forcing: Forcing
    viscosity: float
    time: float
    frames: int
    wave: int
    drag: float
    modes: int

    def solver(self, *, forced: bool = True) -> VorticitySolver:
        """Return the solver, for the forcing or without one."""
        torus = Torus(self.modes, LAWS[self.forcing].length)
        f = forcing(self.forcing, self.wave, self.modes) if forced else None
        return VorticitySolver(torus, -self.viscosity * torus.squared - self.drag, f)


def generate(
    *,
    forcing: Forcing = "diagonal",
    viscosity: float | None = None,
    time: float | None = None,
    frames: int = 0,
    wave: int = 4,
    drag: float = 0.0,
    fine: int | None = None,
    progress: ProgressCallback | None = None,
    **grid: Unpack[GridOptions],
) -> GeneratedFile:
    """Generate a file of flows on a torus and check it.

    The solver does not depend on the resolution of the file: files of one seed hold the same
    functions at every resolution and sampling, whatever the number of samples and workers.

    Args:
        forcing: the law of f, of the length of the torus, and of what is None below.
        viscosity: nu.
        time: t, of the last state.
        frames: intervals of time to record; 0 for the first and the last state as two fields.
        wave: n of the Kolmogorov forcing.
        drag: the coefficient of -w.
        fine: points of the solver's grid on each axis; a third of them is the highest frequency.
        progress: is called with the samples done and all samples.
        grid: resolution, samples, seed, file, sampling and workers.

    Raises:
        OpError: OP0604 a setting does not fit; OP0617 a check failed; OP0625 the file cannot be
            written. No file is left then, nor after an interruption.
    """
    started = clock.monotonic()
    law = LAWS.get(forcing, LAWS["diagonal"])
    grid.setdefault("sampling", "lower")
    settings = GridSettings(
        "Navier-Stokes",
        ("x", "y"),
        **grid,
        periodic=True,
        length=law.length,
        frames=frames,
    )
    nu = law.viscosity if viscosity is None else viscosity
    end = law.time if time is None else time
    settings.refuse_bad(
        (f"the forcing `{forcing}`; it is one of {', '.join(LAWS)}", forcing not in LAWS),
        settings.outside("viscosity", nu, VISCOSITIES),
        settings.outside("time", end, TIMES),
        settings.outside("number of frames", frames, FRAMES),
        settings.outside("wave", wave, WAVES),
        settings.outside("drag", drag, DRAGS),
        settings.outside("fine grid", FINE[0] if fine is None else fine, FINE),
    )
    modes = _modes(law, nu) if fine is None else (fine - 1) // 3
    flow = TorusFlow(forcing, nu, end, max(frames, 1), wave, drag, max(modes, wave, 2))
    checks = {"decay": _decay(settings, flow), "halving": _halving(settings, flow)}

    parameters: dict[str, str | int | float] = {
        "forcing": forcing,
        "viscosity": nu,
        "drag": drag,
        "end_time": end,
        "boundary": "periodic",
        "fine": flow.solver().torus.points,
    }
    if forcing == "kolmogorov":
        parameters["wave"] = wave
    times = np.linspace(0.0, end, frames + 1) if frames else (0.0,)
    sample = partial(_sample, settings, flow)
    with in_parallel(sample, range(settings.samples), settings.workers) as samples:
        roles = TRAJECTORY if frames else PAIR
        write_pairs(settings, "navier_stokes", roles, samples, parameters, progress, tuple(times))
    return GeneratedFile(
        settings.out,
        settings.samples,
        size={"resolution": settings.resolution, "frames": frames, "modes": flow.modes},
        seconds=clock.monotonic() - started,
        checks=checks,
        extent=f"{settings.extent}, solved with {flow.modes} frequencies on each axis",
        checked=(
            f"a Taylor-Green vortex decays as its closed form to {checks['decay']:.1e}",
            f"half the steps change the first sample by {checks['halving']:.1e}",
        ),
    )


def _modes(law: _Law, viscosity: float) -> int:
    return math.ceil(law.modes * max(1.0, math.sqrt(law.viscosity / viscosity) / 2))


def initial(seed: int, index: int, flow: TorusFlow) -> Coefficients:
    """Draw the vorticity (2 modes + 1, modes + 1) at time 0 of a sample.

    Source: `random_fields.py` of Li et al. 2021: with tau = 7 and alpha = 5/2 the deviations are
        2^(1/2) tau^(alpha - 1) (|k|^2 + tau^2)^(-alpha/2).
    """
    unit = 2 * np.pi / LAWS[flow.forcing].length
    squared = sum(((unit * k) ** 2 for k in frequencies(MODES, 2)), np.zeros(()))
    deviations = math.sqrt(2) * TAU ** (ALPHA - 1) * (squared + TAU**2) ** (-ALPHA / 2)
    return truncated(gaussian_series(seed, index, deviations), flow.modes, 2)


def forcing(kind: Forcing, wave: int, modes: int) -> Coefficients:
    """Return the coefficients (2 modes + 1, modes + 1) of f."""
    f = np.zeros((2 * modes + 1, modes + 1), np.complex128)
    if kind == "diagonal":
        f[1, 1] = AMPLITUDE * (1 - 1j) / 2  # of sin + cos
    else:
        f[0, wave] = -wave / 2
    return f


def _sample(settings: GridSettings, flow: TorusFlow, index: int) -> dict[str, Floats]:
    states = [initial(settings.seed, index, flow), *_states(settings, index, flow)]
    values = [fourier_values(w, settings.sampling, settings.resolution, 2) for w in states]
    if settings.frames:
        return {"vorticity": np.stack(values)}
    return {"initial": values[0], "final": values[-1]}


def _states(settings: GridSettings, index: int, flow: TorusFlow) -> list[Coefficients]:
    """Return the states after time 0 of a sample.

    Raises:
        OpError: OP0604, the solver has too few frequencies for this flow; OP0617, it diverged.
    """
    start = initial(settings.seed, index, flow)
    with np.errstate(over="ignore", invalid="ignore"):
        states = list(flow.solver().states(start, flow.time / flow.frames, flow.frames))
    for w in states:
        a = np.abs(w)
        if not np.isfinite(a).all():
            raise settings.unsound(f"the solution of sample {index} diverges")
        tail = largest_at_end(w) / max(float(a.max()), 1e-300)
        if tail > TAIL:
            raise _unresolved(index, flow, tail)
    return states


def _unresolved(index: int, flow: TorusFlow, tail: float) -> OpError:
    points = flow.solver().torus.points
    return fault(
        "OP0604",
        f"cannot make Navier-Stokes data with {points} points of the solver on each axis: "
        f"sample {index} is cut off at {tail:.1e} of its largest coefficient",
        helps=(f"`--fine {2 * points}` solves with more points", "or use a larger viscosity"),
    )


def _decay(settings: GridSettings, flow: TorusFlow) -> float:
    """Error of the decay of a Taylor-Green vortex, relative.

    Raises:
        OpError: OP0617, the error is above DECAY.
    """
    solver = flow.solver(forced=False)
    w = np.zeros((2 * flow.modes + 1, flow.modes + 1), np.complex128)
    w[1, 2] = w[-1, 2] = 0.25  # cos(2 pi x / L) cos(4 pi y / L)
    (after,) = solver.states(w, min(flow.time, TRIAL), 1)
    rate = flow.viscosity * 5 * (2 * np.pi / solver.torus.length) ** 2 + flow.drag
    error = float(np.abs(after - w * math.exp(-rate * min(flow.time, TRIAL))).max() / 0.25)
    if not error <= DECAY:  # so written that NaN fails
        raise settings.unsound(f"a Taylor-Green vortex differs from its closed form by {error:.1e}")
    return error


def _halving(settings: GridSettings, flow: TorusFlow) -> float:
    """Change of the first sample, after a short time, when all steps are halved, relative.

    Raises:
        OpError: OP0617, the change is above CLOSE.
    """
    start = initial(settings.seed, 0, flow)
    time = min(flow.time, TRIAL)
    with np.errstate(over="ignore", invalid="ignore"):
        (once,), (twice,) = (flow.solver().states(start, time, 1, refine=r) for r in (1, 2))
        change = float(np.linalg.norm(once - twice) / np.linalg.norm(twice))
    if not change <= CLOSE:
        raise settings.unsound(f"half the steps change the first sample by {change:.1e}")
    return change
