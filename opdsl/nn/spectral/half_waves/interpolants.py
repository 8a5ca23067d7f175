"""Interpolants of functions on an axis as matrices: values at other points, and derivatives.

A polynomial takes up the values at some ends, and the rest is expanded in a family of functions
(`opdsl.bases`); waves around a ring need no polynomial. Everything is computed in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from opdsl.bases import PARITIES, Family, Lift, capacity
from opdsl.nn.eager_cache import eager_cached
from opdsl.nn.spectral.half_waves.transforms import analysis, synthesis, wave_numbers
from opdsl.sampling import GridSampling, offset, spacings

FLOAT64 = torch.empty(0, dtype=torch.float64, device="cpu")  # in which matrices are computed


def fractions(sampling: GridSampling, n: int) -> Tensor:
    """Return where the n points of an axis lie, from 0 to 1, (n,)."""
    steps = torch.arange(n, dtype=torch.float64, device="cpu") + offset(sampling)
    return steps / spacings(sampling, n)


def half_wave_derivatives(family: Family, modes: int, t: Tensor, times: int = 1) -> Tensor:
    """Evaluate derivatives of the first functions of a family, (points, modes)."""
    k = torch.pi * wave_numbers(family, modes)
    angles = t[:, None] * k
    cosine = PARITIES[family][0] == "even"
    return k**times * _sine_derivative(angles, times + cosine)


def _sine_derivative(angles: Tensor, times: int) -> Tensor:
    """Return a derivative of the sine; the cosine is the first one."""
    wave = angles.cos() if times % 2 else angles.sin()
    return -wave if times % 4 in {2, 3} else wave


def _polynomials(family: Family, lift: Lift, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return the polynomials that take up values at ends, and their slopes: (points, ends) both.

    The one for an end has the value 1 there; at the other end it is 0 where the family is odd, and
    its slope is 0 where the family is even.
    """
    if lift == "none":
        return t.new_zeros(t.shape[0], 0), t.new_zeros(t.shape[0], 0)
    lower, upper = PARITIES[family]
    one, zero = torch.ones_like(t), torch.zeros_like(t)
    values, slopes = [], []
    if lift in {"lower", "both"}:
        values.append(1 - t if upper == "odd" else one)
        slopes.append(-one if upper == "odd" else zero)
    if lift in {"upper", "both"}:
        values.append(t if lower == "odd" else one)
        slopes.append(one if lower == "odd" else zero)
    return torch.stack(values, 1), torch.stack(slopes, 1)


def _end_values(lift: Lift, n: int) -> Tensor:
    """Return the matrix that selects the values at the lifted ends, (ends, n)."""
    rows = []
    for sided, at in (("lower", 0), ("upper", -1)):
        if lift in {"both", sided}:
            row = torch.zeros(n, dtype=torch.float64, device="cpu")
            row[at] = 1.0
            rows.append(row)
    return torch.stack(rows) if rows else torch.zeros(0, n, dtype=torch.float64, device="cpu")


def _half_wave_coefficients(
    family: Family, lift: Lift, sampling: GridSampling, n: int
) -> tuple[Tensor, Tensor]:
    """Return the matrices to the values at lifted ends and to the coefficients of the rest."""
    ends = _end_values(lift, n)
    values, _ = _polynomials(family, lift, fractions(sampling, n))
    rest = torch.eye(n, dtype=torch.float64, device="cpu") - values @ ends
    most = capacity(family, sampling, n)
    return ends, analysis(family, sampling, n, most, FLOAT64) @ rest


def _wave_coefficients(n: int, modes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return frequencies 0 ... modes and the matrices to the cosines and sines on a ring.

    The highest frequency of an even number of points is halved, as is that of the constant, so that
    the sum of the waves is the trigonometric interpolant. Positions count from the first point.
    """
    s = torch.arange(n, dtype=torch.float64, device="cpu") / n
    k = torch.arange(modes + 1, dtype=torch.float64, device="cpu")
    angles = 2 * torch.pi * k[:, None] * s
    single = (k == 0) | (2 * k == n)
    scale = torch.where(single, 1.0, 2.0).to(s)[:, None] / n
    return k, angles.cos() * scale, angles.sin() * scale


@eager_cached(64)
def resampling_matrix(
    family: Family,
    lift: Lift,
    sampling: GridSampling,
    n: int,
    size: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Return the matrix from values at n points to those at `size` points, (size, n).

    Functions that the coarser grid does not determine are removed, not aliased.

    Args:
        family: of the functions; `fourier`: the axis is a ring of as many points as spacings.
        lift: the ends whose values a polynomial takes up.
        sampling: where the points of both grids are.
        n: points at which the values are.
        size: points at which they are wanted.
        dtype: of the matrix, which is computed in float64.
        device: of the matrix.
    """
    t = fractions(sampling, size)
    if family == "fourier":
        k, cosines, sines = _wave_coefficients(n, min(n, size) // 2)
        angles = 2 * torch.pi * (t - offset(sampling) / n)[:, None] * k
        return (angles.cos() @ cosines + angles.sin() @ sines).to(device, dtype)
    ends, coefficients = _half_wave_coefficients(family, lift, sampling, n)
    kept = min(capacity(family, sampling, n), capacity(family, sampling, size))
    values, _ = _polynomials(family, lift, t)
    waves = synthesis(family, sampling, size, kept, FLOAT64) @ coefficients[:kept]
    return (values @ ends + waves).to(device, dtype)


@eager_cached(64)
def derivative_matrix(
    family: Family,
    lift: Lift,
    sampling: GridSampling,
    n: int,
    dtype: torch.dtype,
    device: torch.device,
    times: int = 1,
) -> Tensor:
    """Return the matrix from values at n points to derivatives there, for an axis of length 1.

    Args:
        family, lift, sampling, n, dtype, device: as for `resampling_matrix`.
        times: of the derivative.
    """
    t = fractions(sampling, n)
    if family == "fourier":
        k, cosines, sines = _wave_coefficients(n, (n - 1) // 2)
        k = 2 * torch.pi * k
        angles = (t - offset(sampling) / n)[:, None] * k
        of_cosines = _sine_derivative(angles, times + 1) * k**times
        of_sines = _sine_derivative(angles, times) * k**times
        return (of_cosines @ cosines + of_sines @ sines).to(device, dtype)
    ends, coefficients = _half_wave_coefficients(family, lift, sampling, n)
    _, slopes = _polynomials(family, lift, t)
    if times > 1:
        slopes = torch.zeros_like(slopes)  # the polynomials are linear
    waves = half_wave_derivatives(family, capacity(family, sampling, n), t, times)
    return (slopes @ ends + waves @ coefficients).to(device, dtype)
