"""Transport by a constant velocity, u_t + v . grad u = 0 on the unit torus, in closed form.

Fields `initial` (input, u at time 0) and `final` (output, u at time t): u(x, t) = u(x - v t, 0).
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from itertools import pairwise
from typing import Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from opdsl.data.generate import GeneratedFile
from opdsl.data.generate.problems.grid_pairs import PAIR, GridOptions, GridSettings, write_pairs
from opdsl.data.generate.sampling.draws import uniforms
from opdsl.data.generate.sampling.sine_laws import Distribution
from opdsl.data.progress import ProgressCallback
from opdsl.sampling import positions

Floats = NDArray[np.float64]
TransportShape = Literal["smooth", "disc"]

VELOCITY = (0.2, -0.2)
CENTRES: dict[str, tuple[float, float]] = {"in": (0.2, 0.4), "out": (0.4, 0.6)}
SIZES: dict[str, tuple[float, float]] = {"smooth": (0.003, 0.009), "disc": (0.1, 0.2)}
MOST_TIME = 1000.0
IMAGES = np.arange(-1, 2)  # of a Gaussian that count: the next ones are below 1e-50
WIDTHS = (0.02, 0.01, 0.005)  # of differences, for the check of a smooth function
LEAST_ORDER = 1.9
CELLS = 1000  # on each axis, for the check of the area of a disc
CLOSE = 1e-2  # of the area, relative; 1e-3 is observed


def generate(
    *,
    shape: TransportShape = "smooth",
    distribution: Distribution = "in",
    time: float = 1.0,
    progress: ProgressCallback | None = None,
    **grid: Unpack[GridOptions],
) -> GeneratedFile:
    """Generate a file of moving shapes and check it.

    Args:
        shape: a Gaussian function (`smooth`) or the indicator of a disc (`disc`).
        distribution: the law of the centre.
        time: t, of the output.
        progress: is called with the samples done and all samples.
        grid: resolution, samples, seed, file and sampling.

    Raises:
        OpError: OP0604 a setting does not fit; OP0617 the check failed; OP0625 the file cannot be
            written. No file is left then, nor after an interruption.

    Source: Raonic et al. 2023, arXiv:2302.01178.
    """
    started = clock.monotonic()
    grid.setdefault("sampling", "lower")
    settings = GridSettings("transport", ("x", "y"), **grid, periodic=True)
    settings.refuse_bad(
        (f"the shape `{shape}`; it is one of {', '.join(SIZES)}", shape not in SIZES),
        (
            f"the distribution `{distribution}`; it is one of {', '.join(CENTRES)}",
            distribution not in CENTRES,
        ),
        settings.outside("time", time, (0.0, MOST_TIME)),
    )
    x = np.array(positions(settings.sampling, settings.resolution))
    check = (_order if shape == "smooth" else _area)(settings, shape, distribution, time)
    times = {"initial": 0.0, "final": time}
    pairs = (
        {k: function(settings.seed, i, shape, distribution)(x, x, t) for k, t in times.items()}
        for i in range(settings.samples)
    )
    parameters: dict[str, str | int | float] = {
        "shape": shape,
        "velocity_x": VELOCITY[0],
        "velocity_y": VELOCITY[1],
        "end_time": time,
        "boundary": "periodic",
    }
    write_pairs(settings, "transport", PAIR, pairs, parameters, progress)
    words = (
        f"differences satisfy the equation with order {check:.2f}"
        if shape == "smooth"
        else f"the area of the disc differs by {check:.1e}"
    )
    return GeneratedFile(
        settings.out,
        settings.samples,
        size={"resolution": settings.resolution},
        seconds=clock.monotonic() - started,
        checks={"order" if shape == "smooth" else "area": check},
        extent=settings.extent,
        checked=(words,),
    )


def function(
    seed: int, index: int, shape: str, distribution: str
) -> Callable[[Floats, Floats, float], Floats]:
    """Return u(x, y, t) of a sample: (m,) and (n,) to (m, n)."""
    fractions = (1 + uniforms(seed, index, 3)) / 2
    low, high = CENTRES[distribution]
    centre = low + (high - low) * fractions[:2]
    least, most = SIZES[shape]
    size = least + (most - least) * fractions[2]

    def distances(x: Floats, axis: int, t: float) -> Floats:
        """Distances on the circle, signed, in [-1/2, 1/2)."""
        return np.asarray((x - VELOCITY[axis] * t - centre[axis] + 0.5) % 1 - 0.5)

    def gaussian(x: Floats, y: Floats, t: float) -> Floats:
        one, two = (
            np.exp(-((distances(z, axis, t)[:, None] + IMAGES) ** 2) / (2 * size)).sum(1)
            for axis, z in enumerate((x, y))
        )
        return np.outer(one, two)

    def disc(x: Floats, y: Floats, t: float) -> Floats:
        one, two = distances(x, 0, t), distances(y, 1, t)
        return np.asarray((one[:, None] ** 2 + two**2 < size**2) * 1.0)

    return gaussian if shape == "smooth" else disc


def _order(settings: GridSettings, shape: str, distribution: str, time: float) -> float:
    """Order with which central differences of the first sample satisfy the equation.

    Raises:
        OpError: OP0617, the order is below LEAST_ORDER.
    """
    u = function(settings.seed, 0, shape, distribution)
    x = np.arange(16) / 16

    def residual(h: float) -> float:
        change = u(x, x, time + h) - u(x, x, time - h)
        slopes = VELOCITY[0] * (u(x + h, x, time) - u(x - h, x, time)) + VELOCITY[1] * (
            u(x, x + h, time) - u(x, x - h, time)
        )
        return float(np.linalg.norm(change + slopes)) / h

    sizes = [residual(h) for h in WIDTHS]
    order = float(np.mean([np.log2(a / b) for a, b in pairwise(sizes)]))
    if not order >= LEAST_ORDER:  # so written that NaN fails
        raise settings.unsound(f"differences satisfy the equation with order {order:.2f}")
    return round(order, 3)


def _area(settings: GridSettings, shape: str, distribution: str, time: float) -> float:
    """Difference of the area of the first disc, at both times, from that of its radius, relative.

    Raises:
        OpError: OP0617, the difference is above CLOSE.
    """
    u = function(settings.seed, 0, shape, distribution)
    x = (np.arange(CELLS) + 0.5) / CELLS
    least, most = SIZES[shape]
    radius = least + (most - least) * (1 + uniforms(settings.seed, 0, 3)[2]) / 2
    areas = np.array([u(x, x, t).mean() for t in (0.0, time)])
    error = float(np.abs(areas / (np.pi * radius**2) - 1).max())
    if not error <= CLOSE:
        raise settings.unsound(f"the area of the first disc differs by {error:.1e}")
    return error
