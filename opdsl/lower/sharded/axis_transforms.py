"""Transforms along one axis as a whole, and as the columns and rows that a part of it needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from opdsl.bases import Family
from opdsl.nn.eager_cache import eager_cached
from opdsl.nn.spectral.half_waves.transforms import analysis, synthesis
from opdsl.nn.spectral.transforms import (
    apply_along_axis,
    inverse_truncated_fft,
    truncated_fft,
    with_scaled_column,
)
from opdsl.sampling import GridSampling


class AxisTransform(Protocol):
    """A linear transform between the points and the coefficients of an axis."""

    def forward(self, x: Tensor, axis: int) -> Tensor:
        """Compute the coefficients along an axis of `x`."""

    def inverse(self, z: Tensor, axis: int, n: int) -> Tensor:
        """Evaluate coefficients at n points; of a half spectrum the real part is the result."""

    def inverse_real(self, z: Tensor, axis: int, n: int) -> Tensor:
        """Evaluate the coefficients of a real function at n points, as the last of all axes."""

    def columns(self, n: int, part: range, like: Tensor) -> Tensor:
        """Return the matrix from the points of a part of n points, (coefficients, part)."""

    def rows(self, n: int, part: range, like: Tensor) -> Tensor:
        """Return the matrix to the points of a part of n points, (part, coefficients)."""


@dataclass(frozen=True, slots=True)
class FourierAxis:
    """Exponentials of the frequencies of a band; coefficients carry the factor 1 / n.

    Attributes:
        band: the frequencies.
        half: whether they represent their conjugates too, as on the last axis of a real function.
    """

    band: range
    half: bool

    def forward(self, x: Tensor, axis: int) -> Tensor:
        """Compute the coefficients along an axis of `x`, real or complex."""
        n = x.shape[axis]
        if not x.numel():
            return apply(x, axis, self.columns(n, range(n), x))
        if not (self.half or x.is_complex()):
            x = torch.complex(x, torch.zeros_like(x))
        z = truncated_fft(_as_lines(x, axis), (self.band,))
        z = z.reshape(*x.shape[:axis], len(self.band), *x.shape[axis + 1 :])
        # of a real `x` the transform shares the coefficient of the Nyquist frequency itself
        return (
            with_scaled_column(z, axis, len(self.band) - 1, 0.5)
            if x.is_complex() and self._shares_nyquist(n)
            else z
        )

    def inverse(self, z: Tensor, axis: int, n: int) -> Tensor:
        """Evaluate coefficients at n points; of a half spectrum the real part is the result."""
        if not z.numel():
            return apply(z, axis, self.rows(n, range(n), z))
        if self.half:
            shape = [-1 if i == axis else 1 for i in range(z.ndim)]
            z = z * self._factors().to(z.real.dtype).to(z.device).reshape(shape)
        y = inverse_truncated_fft(_as_lines(z, axis), (self.band,), (n,), real=False)
        return y.reshape(*z.shape[:axis], n, *z.shape[axis + 1 :])

    def inverse_real(self, z: Tensor, axis: int, n: int) -> Tensor:
        """Evaluate the coefficients of a real function at n points, as the last of all axes."""
        y = inverse_truncated_fft(_as_lines(z, axis), (self.band,), (n,), real=self.half)
        return y.reshape(*z.shape[:axis], n, *z.shape[axis + 1 :])

    def columns(self, n: int, part: range, like: Tensor) -> Tensor:
        """Return the matrix from the points of a part of n points, (coefficients, part)."""
        matrix = _waves(self.band, n, like.dtype.to_complex(), like.device).conj()
        if self._shares_nyquist(n):
            matrix = with_scaled_column(matrix, 0, len(self.band) - 1, 0.5)
        return matrix[:, part.start : part.stop] / n

    def rows(self, n: int, part: range, like: Tensor) -> Tensor:
        """Return the matrix to the points of a part of n points, (part, coefficients)."""
        matrix = _waves(self.band, n, like.dtype.to_complex(), like.device)
        matrix = matrix[:, part.start : part.stop].T
        return matrix * self._factors().to(matrix) if self.half else matrix

    def _factors(self) -> Tensor:
        """Return 2 for a frequency that represents its conjugate too, else 1."""
        return torch.tensor([2.0 if k else 1.0 for k in self.band], dtype=torch.float64)

    def _shares_nyquist(self, n: int) -> bool:
        top = self.band.stop - 1
        return self.half and top > 0 and 2 * top == n


@dataclass(frozen=True, slots=True)
class HalfWaveAxis:
    """Half-waves between the ends of an axis.

    Attributes:
        family: of the functions.
        sampling: where the points are.
        count: of the functions.
    """

    family: Family
    sampling: GridSampling
    count: int

    def forward(self, x: Tensor, axis: int) -> Tensor:
        """Compute the coefficients along an axis of `x`."""
        n = x.shape[axis]
        return apply(x, axis, self.columns(n, range(n), x))

    def inverse(self, z: Tensor, axis: int, n: int) -> Tensor:
        """Evaluate coefficients at n points."""
        return apply(z, axis, self.rows(n, range(n), z))

    inverse_real = inverse

    def columns(self, n: int, part: range, like: Tensor) -> Tensor:
        """Return the matrix from the points of a part of n points, (coefficients, part)."""
        real = like.real if like.is_complex() else like
        matrix = analysis(self.family, self.sampling, n, self.count, _plain(real))
        return matrix[:, part.start : part.stop]

    def rows(self, n: int, part: range, like: Tensor) -> Tensor:
        """Return the matrix to the points of a part of n points, (part, coefficients)."""
        real = like.real if like.is_complex() else like
        matrix = synthesis(self.family, self.sampling, n, self.count, _plain(real))
        return matrix[part.start : part.stop]


def apply(x: Tensor, axis: int, matrix: Tensor) -> Tensor:
    """Apply a real or complex matrix along an axis of a real or complex tensor."""
    if matrix.is_complex() == x.is_complex():
        return apply_along_axis(x, axis, matrix)
    if x.is_complex():
        parts = (apply_along_axis(y, axis, matrix) for y in (x.real, x.imag))
    else:
        parts = (apply_along_axis(x, axis, y.contiguous()) for y in (matrix.real, matrix.imag))
    return torch.complex(*parts)


def _as_lines(x: Tensor, axis: int) -> Tensor:
    """Reshape so that the axis is the second of three."""
    before, behind = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    return x.reshape(before, x.shape[axis], behind)


def _plain(x: Tensor) -> Tensor:
    """Return an empty tensor of the dtype and device, by which tables are cached."""
    return torch.empty(0, dtype=x.dtype, device=x.device)


@eager_cached(64)
def _waves(band: range, n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Evaluate exp(2 pi i k j / n), (k, j); k j is reduced mod n first, to keep every digit."""
    k = torch.arange(band.start, band.stop, dtype=torch.float64)[:, None]
    angles = 2 * math.pi / n * (k * torch.arange(n, dtype=torch.float64) % n)
    return torch.polar(torch.ones_like(angles), angles).to(device, dtype)
