"""Advection, u_t + beta u_x = 0 on a circle of length 1: u(x, t) = u(x - beta t, 0).

Fields `initial` (input, u at time 0) and `final` (output, u at time t), or `u` at several times.
"""

from __future__ import annotations

import time as clock
from typing import TYPE_CHECKING, Unpack

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate import GeneratedFile
from opdsl.data.generate.problems.grid_pairs import PAIR, GridOptions, GridSettings, write_pairs
from opdsl.data.generate.sampling.sine_waves import SineWaves
from opdsl.data.progress import ProgressCallback
from opdsl.sampling import positions

if TYPE_CHECKING:
    from opdsl.data.bind.samples import Role

Floats = NDArray[np.float64]

TRAJECTORY: dict[str, Role] = {"u": "unknown"}
VELOCITIES, TIMES, FRAMES, MODES = (-100.0, 100.0), (1e-3, 1e3), (0, 1000), (1, 64)
PARTS = 4096  # of the circle, for the check
CLOSE = 1e-3  # of the two solutions, relative; 1e-5, where the function is folded, is observed


def generate(
    *,
    velocity: float = 0.1,
    modes: int = 4,
    time: float = 2.0,
    frames: int = 200,
    progress: ProgressCallback | None = None,
    **grid: Unpack[GridOptions],
) -> GeneratedFile:
    """Generate a file of moving waves and check it.

    The function is evaluated at the points of the file, so that files of one seed hold the same
    functions at every resolution and sampling. The phases of the Fourier coefficients of the first
    sample, moved by beta t, give its last state too.

    Args:
        velocity: beta.
        modes: the number of frequencies of which two are chosen.
        time: t, of the last state.
        frames: intervals of time to record; 0 for the first and the last state as two fields.
        progress: is called with the samples done and all samples.
        grid: resolution, samples, seed, file and sampling.

    Raises:
        OpError: OP0604 a setting does not fit; OP0617 the check failed; OP0625 the file cannot be
            written. No file is left then, nor after an interruption.

    Source: Takamoto et al. 2022, arXiv:2210.07182.
    """
    started = clock.monotonic()
    grid.setdefault("sampling", "centres")
    settings = GridSettings("advection", ("x",), **grid, periodic=True, frames=frames)
    settings.refuse_bad(
        settings.outside("velocity", velocity, VELOCITIES),
        settings.outside("number of frequencies", modes, MODES),
        settings.outside("time", time, TIMES),
        settings.outside("number of frames", frames, FRAMES),
    )
    gap = _gap(settings, modes, velocity * time)
    x = np.array(positions(settings.sampling, settings.resolution))
    times = np.linspace(0.0, time, frames + 1) if frames else np.array([0.0, time])

    def sample(index: int) -> dict[str, Floats]:
        u = SineWaves.draw(settings.seed, index, modes)(x - velocity * times[:, None])
        return {"u": u} if frames else {"initial": u[0], "final": u[1]}

    parameters: dict[str, str | int | float] = {
        "velocity": velocity,
        "end_time": time,
        "boundary": "periodic",
        "frequencies": modes,
    }
    samples = map(sample, range(settings.samples))
    roles, recorded = (TRAJECTORY, times) if frames else (PAIR, np.zeros(1))
    write_pairs(settings, "advection", roles, samples, parameters, progress, tuple(recorded))
    return GeneratedFile(
        settings.out,
        settings.samples,
        size={"resolution": settings.resolution, "frames": frames},
        seconds=clock.monotonic() - started,
        checks={"gap": gap},
        extent=settings.extent,
        checked=(f"turned Fourier coefficients differ by {gap:.1e}",),
    )


def _gap(settings: GridSettings, modes: int, distance: float) -> float:
    """Difference of the last state of the first sample from its turned coefficients, relative.

    Raises:
        OpError: OP0617, the difference is above CLOSE.
    """
    u = SineWaves.draw(settings.seed, 0, modes)
    x = np.arange(PARTS) / PARTS
    c = np.fft.rfft(u(x)) * np.exp(-2j * np.pi * distance * np.arange(PARTS // 2 + 1))
    end = u(x - distance)
    gap = float(np.linalg.norm(np.fft.irfft(c, PARTS) - end) / np.linalg.norm(end))
    if not gap <= CLOSE:  # so written that NaN fails
        raise settings.unsound(f"turned Fourier coefficients differ by {gap:.1e}")
    return gap
