"""Transforms along one axis with ends, to coefficients of half-waves and back.

See `opdsl.bases` for the families. The coefficients c of v = sum_k c_k phi_k are the same numbers
at every resolution. They come from the quadrature of the sampling (the trapezoidal rule with points
at the ends, the midpoint rule at cell centres), for which the sampled functions are orthogonal: the
discrete sine and cosine transforms. Two kernels, equal up to rounding: matrices (m, n), and fast
transforms of the odd or even continuation.

An end without a point, where the functions of a family do not vanish, gets the line through the two
nearest points; the coefficients are then those of a function known to second order only.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from opdsl.bases import PARITIES, Family, capacity, completed, extrapolated
from opdsl.sampling import GridSampling, offset, points_at_ends, spacings

# --- matrices ---------------------------------------------------------------------------------


def analysis(family: Family, sampling: GridSampling, n: int, m: int, like: Tensor) -> Tensor:
    """Return the matrix (m, n) from values at n points to m coefficients, in the dtype of `like`.

    Raises:
        ValueError: n points do not determine m functions.
    """
    return _matrix("analysis", family, sampling, n, m, like)


def synthesis(family: Family, sampling: GridSampling, n: int, m: int, like: Tensor) -> Tensor:
    """Return the matrix (n, m) from m coefficients to n values, in the dtype of `like`."""
    return _matrix("synthesis", family, sampling, n, m, like)


def _matrix(
    name: str, family: Family, sampling: GridSampling, n: int, m: int, like: Tensor
) -> Tensor:
    # tensors of a tracer, or without data, must not enter a cache
    if torch.compiler.is_compiling() or type(like) is not Tensor:
        return _build(name, family, sampling, n, m).to(like)
    return _cached(name, family, sampling, n, m, like.dtype, like.device)


@lru_cache(maxsize=256)
def _cached(
    name: str,
    family: Family,
    sampling: GridSampling,
    n: int,
    m: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    with torch.inference_mode(mode=False):  # training could not use an inference tensor
        return _build(name, family, sampling, n, m).to(device, dtype).contiguous()


def _build(name: str, family: Family, sampling: GridSampling, n: int, m: int) -> Tensor:
    if name == "synthesis":
        return _values(family, sampling, n, m).T
    places, ends = _with_ends(family, sampling, n)
    check_modes(family, sampling, n, m)
    count = ends.shape[0]  # `len` would fix the size in an exported program
    phi = _values(family, places, count, m)
    weights = torch.ones(count, dtype=torch.float64, device="cpu")
    for point, index in zip(points_at_ends(places), (0, -1), strict=True):
        if point:
            weights[index] = 0.5
    weighted = phi * weights
    return weighted / (weighted * phi).sum(1, keepdim=True) @ ends


def check_modes(family: Family, sampling: GridSampling, n: int, m: int) -> None:
    """Check that n points determine m functions.

    Raises:
        ValueError: they do not.
    """
    most = capacity(family, sampling, n)
    if m > most:
        raise ValueError(f"{m} functions of `{family}` need more than {n} points, at most {most}")


def _with_ends(family: Family, sampling: GridSampling, n: int) -> tuple[GridSampling, Tensor]:
    """Return the sampling with extrapolated ends, and the matrix (points with them, n)."""
    lower, upper = extrapolated(family, sampling)
    rows = torch.eye(n, dtype=torch.float64, device="cpu")
    line = torch.zeros(1, n, dtype=torch.float64, device="cpu")
    line[0, 0], line[0, min(1, n - 1)] = (2.0, -1.0) if n > 1 else (1.0, 1.0)
    parts = ([line] if lower else []) + [rows] + ([line.flip(1)] if upper else [])
    return completed(family, sampling), torch.cat(parts)


def _values(family: Family, sampling: GridSampling, n: int, m: int) -> Tensor:
    """Evaluate m functions at n points in float64, (m, n).

    The angle pi k j / N is reduced in whole numbers first, to keep every digit.
    """
    first = _double_wave_numbers(family, m)
    double = 2 * torch.arange(n, dtype=torch.int64, device="cpu") + round(2 * offset(sampling))
    N = spacings(sampling, n)
    # whole numbers in float64: ONNX has no remainder of integers by a free size
    turns = (first[:, None] * double).double() % (8 * N)
    angle = turns * (math.pi / (4 * N))
    return angle.sin() if PARITIES[family][0] == "odd" else angle.cos()


def wave_numbers(family: Family, m: int) -> Tensor:
    """Return the half-waves between the ends of the first m functions, float64, (m,)."""
    return _double_wave_numbers(family, m).double() / 2


def _double_wave_numbers(family: Family, m: int) -> Tensor:
    """Return 2 k, or 2 k - 1 of quarter-waves, which are half a wave per length each."""
    k = torch.arange(m, dtype=torch.int64, device="cpu")
    lower, upper = PARITIES[family]
    if lower != upper:
        return 2 * k + 1
    return 2 * k + 2 if lower == "odd" else 2 * k


# --- fast transforms ----------------------------------------------------------------------------


def fast_analysis(x: Tensor, axis: int, family: Family, sampling: GridSampling, m: int) -> Tensor:
    """Compute m coefficients along an axis of a real tensor by one FFT of its continuation.

    Raises:
        ValueError: the points do not determine m functions.
    """
    check_modes(family, sampling, x.shape[axis], m)
    x, sampling = _extended_to_ends(x, axis, family, sampling)
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    period = _continued(x, axis, family, sampling)
    z: Tensor = torch.fft.rfft(period, dim=axis, norm="forward")  # torch.fft has no types
    which, scale = _columns(family, sampling, x.shape[axis], m)
    z = _selected(z, axis, family, which)
    re, im = scale.real.to(x).reshape(shape), scale.imag.to(x).reshape(shape)
    return z.real * re - z.imag * im


def fast_synthesis(c: Tensor, axis: int, family: Family, sampling: GridSampling, n: int) -> Tensor:
    """Evaluate real coefficients along an axis at n points by one inverse FFT."""
    m, length = c.shape[axis], _period(family, sampling, n)
    which, scale = _columns(family, sampling, n, m)
    shape = [-1 if i == axis else 1 for i in range(c.ndim)]
    # the inverse of the scale of each coefficient, and half of it for each of a conjugate pair
    factor = (scale.conj() / scale.abs().square()).reshape(shape)
    z = torch.complex(c * factor.real.to(c), c * factor.imag.to(c))
    size = [*c.shape]
    size[axis] = length // 2 + 1
    spectrum = z.new_zeros(size).index_copy(axis, which.to(c.device), z)
    y: Tensor = torch.fft.irfft(spectrum, n=length, dim=axis, norm="forward")
    return y.narrow(axis, int(offset(sampling)), n)


def _extended_to_ends(
    x: Tensor, axis: int, family: Family, sampling: GridSampling
) -> tuple[Tensor, GridSampling]:
    """Add extrapolated values at the ends that the family needs and the sampling lacks."""
    lower, upper = extrapolated(family, sampling)
    n = x.shape[axis]
    parts = [x]
    if lower:
        parts.insert(0, 2 * x.narrow(axis, 0, 1) - x.narrow(axis, min(1, n - 1), 1))
    if upper:
        parts.append(2 * x.narrow(axis, n - 1, 1) - x.narrow(axis, max(n - 2, 0), 1))
    return (torch.cat(parts, axis) if len(parts) > 1 else x), completed(family, sampling)


def _period(family: Family, sampling: GridSampling, n: int) -> int:
    lower, upper = PARITIES[family]
    return (2 if lower == upper else 4) * spacings(sampling, n)


def _continued(x: Tensor, axis: int, family: Family, sampling: GridSampling) -> Tensor:
    """Return one period of the odd or even continuation; it vanishes at odd ends."""
    lower, upper = PARITIES[family]
    sign = -1 if upper == "odd" else 1
    if sampling == "centres":
        half = torch.cat((x, sign * x.flip(axis)), axis)
    else:
        n, (first, last) = x.shape[axis], points_at_ends(sampling)
        inside = x.narrow(axis, int(first), n - first - last)
        zero = torch.zeros_like(x.narrow(axis, 0, 1))
        ends = (
            x.narrow(axis, 0, 1) if lower == "even" else zero,
            x.narrow(axis, n - 1, 1) if upper == "even" else zero,
        )
        half = torch.cat((ends[0], inside, ends[1], sign * inside.flip(axis)), axis)
    # quarter-waves change sign after two lengths
    return half if lower == upper else torch.cat((half, -half), axis)


def _selected(z: Tensor, axis: int, family: Family, which: Tensor) -> Tensor:
    """Select the columns of `_columns` from the FFT of a period."""
    if torch.compiler.is_compiling():  # a tracer would assume that a slice leaves something out
        return z.index_select(axis, which.to(z.device))
    lower, upper = PARITIES[family]
    first, step = (lower == "odd", 1) if lower == upper else (1, 2)
    stop = int(first) + step * (which.shape[0] - 1) + 1
    index: list[slice] = [slice(None)] * axis
    return z[(*index, slice(int(first), stop, step))]


def _columns(family: Family, sampling: GridSampling, n: int, m: int) -> tuple[Tensor, Tensor]:
    """Return the column of each coefficient in the FFT of a period, and the factor from it.

    The coefficient is the real part of factor * column.
    """
    lower, upper = PARITIES[family]
    length = _period(family, sampling, n)
    wave = _double_wave_numbers(family, m)
    which = wave // 2 if lower == upper else wave
    shift = 0.5 if sampling == "centres" else 0.0
    angle = -2 * math.pi * shift * which.double() / length
    alone = (which == 0) | (2 * which == length)  # columns without a conjugate
    size = torch.where(alone, 1.0, 2.0)
    phase = torch.complex(angle.cos(), angle.sin())
    return which, phase * size * (1j if lower == "odd" else 1.0)
