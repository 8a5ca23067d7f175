"""Shallow water on the rotating sphere: a random state and the state some hours later.

Arrays `x` and `y`, (samples, 3, latitudes, longitudes), on an equiangular grid with both poles. The
channels are the height above its mean in kilometres, vorticity and divergence in 1e-4 / s: numbers
of one size, so that a loss over all channels sees each.

In units of the radius a and of 1 / (2 Omega), with phi the geopotential above its mean Phi:

    zeta_t = -div((zeta + cos theta) u)
    delta_t = curl((zeta + cos theta) u) - Laplace(phi + |u|^2 / 2)
    phi_t = -div((Phi + phi) u),    u = grad chi + r x grad psi

Source: Williamson et al. 1992, doi:10.1016/S0021-9991(05)80016-6; as spectral transforms Bourke
1972, Mon. Wea. Rev. 100, 683. As data for operators: Bonev et al. 2023, arXiv:2306.03838, sec. 5.1.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from opdsl.data.generate import GeneratedFile
from opdsl.data.interrupt import deferred_signals
from opdsl.data.progress import ProgressCallback
from opdsl.diagnostics import OpError, fault
from opdsl.files import replacing
from opdsl.nn.sphere.harmonics import inverse_sht, sht
from opdsl.nn.sphere.sampling import latitudes
from opdsl.nn.sphere.vector import inverse_vector_sht, vector_sht

RADIUS, OMEGA, GRAVITY, DEPTH = 6.37122e6, 7.292e-5, 9.80616, 1e4  # of the Earth; metres, seconds
RATE = 2 * OMEGA  # one unit of time is 1 / RATE
SPEED = RATE * RADIUS  # one unit of speed
PHI = GRAVITY * DEPTH / SPEED**2
WIND, HEIGHT = 25 / SPEED, 120 * GRAVITY / SPEED**2  # spreads of a random state: 25 m/s, 120 m
LMAX = 42  # degrees that the solver carries
FIRST = 12  # degrees that a random state begins with
STEP = 240 * RATE  # four minutes; the fastest gravity wave turns by half a radian in it
BATCH = 16
DRIFT, CLOSE = 1e-12, 1e-4  # of the mass; of half the step and more degrees, relative


def generate(
    *,
    resolution: int,
    samples: int,
    seed: int,
    out: Path,
    hours: float = 1.0,
    progress: ProgressCallback | None = None,
) -> GeneratedFile:
    """Generate a file of shallow-water states and check it.

    Files of one seed hold the same functions at every resolution, whatever their number.

    Args:
        resolution: latitudes; there are twice as many longitudes.
        samples: the number of samples.
        seed: 0 to 2^63 - 1.
        out: the .npz file to write or to replace.
        hours: hours between both states.
        progress: is called with the samples done and all samples.

    Raises:
        OpError: OP0604 a setting does not fit; OP0617 the check failed; OP0625 the file cannot be
            written. No file is left then, nor after an interruption.
    """
    started = time.monotonic()
    _settings(resolution, samples, seed, hours, out)
    gap = _gap(seed, hours, out)
    drift, pairs = 0.0, []
    with deferred_signals() as interrupted:
        for first in range(0, samples, BATCH):
            count = min(BATCH, samples - first)
            before = torch.cat([random_state(seed, first + i) for i in range(count)])
            after = advance(before, hours * 3600 * RATE)
            drift = max(drift, _drift(before, after))
            pairs.append([_sampled(z, resolution) for z in (before, after)])
            if progress:
                progress(first + count, samples)
            interrupted()
    if not drift <= DRIFT:  # so written that NaN fails
        raise _unsound(f"the mean height drifts by {drift:.1e} of the depth", out)
    _write(out, *(np.concatenate(x) for x in zip(*pairs, strict=True)))
    return GeneratedFile(
        out,
        samples,
        size={"latitudes": resolution},
        seconds=time.monotonic() - started,
        checks={"drift": drift, "gap": gap},
        extent=f"at {resolution}x{2 * resolution}",
        checked=(
            f"mass drifts by {drift:.1e}",
            f"half the step and more degrees change {gap:.1e}",
        ),
    )


# --- states: complex (batch, l, m, 3), of phi, vorticity and divergence ------------------------


def random_state(seed: int, index: int, lmax: int | None = None) -> Tensor:
    """Draw a smooth unbalanced state: winds of 25 m/s, a tenth of them divergent; (1, l, m, 3)."""
    source = torch.Generator().manual_seed((seed * 1_000_003 + index) % (1 << 63))
    noise = torch.randn(FIRST + 1, FIRST + 1, 3, 2, dtype=torch.float64, generator=source)
    z = torch.view_as_complex(noise) * torch.ones(FIRST + 1, FIRST + 1).tril()[..., None]
    z[:, 0] = math.sqrt(2) * z[:, 0].real.to(z.dtype)
    l = torch.arange(FIRST + 1, dtype=torch.float64)[:, None]  # noqa: E741  the degree
    decay = (l > 0) / (1 + (l / 4) ** 2) ** 1.5
    spreads = torch.stack([decay, decay * l, decay * l], -1)
    z = z * spreads
    # phi is normed by its own spread, the flow by that of the wind: |z|^2 / (l (l + 1))
    energy = torch.stack([decay, decay * l / (l * (l + 1)).clamp(min=1).sqrt()])
    norms = (energy**2 * (2 * l + 1)).sum((1, 2)).sqrt() / math.sqrt(4 * math.pi)
    scale = torch.stack([HEIGHT / norms[0], WIND / norms[1], 0.1 * WIND / norms[1]])
    lmax = LMAX if lmax is None else lmax
    whole = torch.zeros(1, lmax + 1, lmax + 1, 3, dtype=torch.complex128)
    whole[0, : FIRST + 1, : FIRST + 1] = z * scale
    return whole


def advance(z: Tensor, duration: float, step: float = STEP) -> Tensor:
    """Integrate the state over `duration` with the classical Runge-Kutta method."""
    count = max(1, math.ceil(duration / step - 1e-9))
    dt = duration / count
    for _ in range(count):
        a = tendency(z)
        b = tendency(z + dt / 2 * a)
        c = tendency(z + dt / 2 * b)
        d = tendency(z + dt * c)
        z = z + dt / 6 * (a + 2 * b + 2 * c + d)
    return z


def tendency(z: Tensor) -> Tensor:
    """Time derivative of the state; products are dealiased on a grid for 3/2 lmax degrees."""
    lmax = z.shape[1] - 1
    size = (3 * lmax // 2 + 2, 3 * lmax + 2)
    l = torch.arange(lmax + 1, dtype=torch.float64)[:, None, None]  # noqa: E741  the degree
    laplace = -l * (l + 1)
    inverse = torch.where(l > 0, 1 / laplace.clamp(max=-1), 0.0)
    flow = z[..., 1:] * inverse
    u = inverse_vector_sht(flow[..., 1:], flow[..., :1], size, GRID)
    phi, vorticity = inverse_sht(z[..., :2], size, GRID).unbind(-1)
    turning = (vorticity + latitudes(size[0], GRID)[0][:, None])[..., None, None] * u
    S, T = vector_sht(turning, lmax, GRID)
    mass, _ = vector_sht((PHI + phi)[..., None, None] * u, lmax, GRID)
    energy = sht(phi[..., None] + 0.5 * u.square().sum(-1), lmax, GRID)
    return torch.cat((-mass, -S, T - energy), -1) * laplace


GRID = "gauss_legendre"


def _sampled(z: Tensor, resolution: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Evaluate states on the grid: (batch, 3, latitudes, longitudes), in km and 1e-4 / s."""
    x = inverse_sht(z, (max(resolution, 2), _longitudes(resolution, z)), "equiangular")
    x = x[:, :, :: x.shape[2] // (2 * resolution)]
    units = torch.tensor([SPEED**2 / GRAVITY / 1e3, RATE / 1e-4, RATE / 1e-4], dtype=x.dtype)
    values: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = (
        (x * units).movedim(-1, 1).to(torch.float32).contiguous().numpy()
    )
    return values


def _longitudes(resolution: int, z: Tensor) -> int:
    """Return the least multiple of 2 resolution longitudes that resolves all orders m."""
    longitudes = 2 * resolution
    return longitudes * -(-(2 * z.shape[2]) // longitudes)


# --- what is checked --------------------------------------------------------------------------


def _settings(resolution: int, samples: int, seed: int, hours: float, out: Path) -> None:
    wrong = [
        (f"a resolution of {resolution} latitudes; at least 4 are needed", resolution < 4),
        (f"{samples} samples; at least one is needed", samples < 1),
        (f"the seed {seed}; it is one of 0 to 2^63 - 1", not 0 <= seed < 1 << 63),
        (f"{hours} hours; it is more than 0, at most 48", not 0 < hours <= 48),
        (f"the file `{out.name}`; its name ends in .npz", out.suffix != ".npz"),
    ]
    for message, is_wrong in wrong:
        if is_wrong:
            raise fault("OP0604", f"cannot make shallow-water data with {message}")


def _gap(seed: int, hours: float, out: Path) -> float:
    """Relative change of the first sample with half the time step and 3/2 as many degrees.

    Raises:
        OpError: OP0617, the change is above CLOSE.
    """
    duration = hours * 3600 * RATE
    fine = advance(random_state(seed, 0, 3 * LMAX // 2), duration, STEP / 2)
    coarse = advance(random_state(seed, 0), duration)
    difference = fine[:, : LMAX + 1, : LMAX + 1] - coarse
    gap = float((difference.flatten(0, 2).norm(dim=0) / coarse.flatten(0, 2).norm(dim=0)).max())
    if not gap <= CLOSE:
        raise _unsound(f"half the step and more degrees change a sample by {gap:.1e}", out)
    return gap


def _drift(before: Tensor, after: Tensor) -> float:
    mean = (after - before)[:, 0, 0, 0].abs().max() / math.sqrt(4 * math.pi)
    return float(mean / PHI) if torch.isfinite(torch.view_as_real(after)).all() else math.inf


def _unsound(message: str, out: Path) -> OpError:
    return fault(
        "OP0617",
        message,
        notes=("no file was written",),
        helps=("fewer hours are easier; otherwise this is a fault of the generator: report it",),
        file=str(out),
    )


def _write(out: Path, x: np.ndarray, y: np.ndarray) -> None:
    """Write the file whole or not at all."""
    try:
        with replacing(out) as path:
            np.savez(path, x=x, y=y)
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        raise fault("OP0625", f"the data could not be written: {what}", file=str(out)) from error
