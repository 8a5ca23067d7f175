"""Random waves of coordinates that follow the boundary: products of functions of one axis each."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from opdsl.bases import PARITIES, Family, Term
from opdsl.nn.precision import no_autocast, wide


class BasisFeatures(nn.Module):
    """w_j(x) = product over axes of phi_k(t), t = (x - lo) / (hi - lo), with random k, not trained.

    On periodic axes together phi is sin and cos of 2 pi k . t, with whole k of both signs; on an
    axis with ends it is a half wave of its family, see `opdsl.bases`.

    Attributes:
        waves: twice the number of periods over each axis, (terms, axes, count).
    """

    waves: Tensor

    def __init__(
        self,
        terms: tuple[Term, ...],
        intervals: tuple[tuple[float, float], ...],
        count: int,
        scale: float,
    ) -> None:
        """Draw the frequencies.

        Args:
            terms: for each term the families of the axes.
            intervals: the ends of each axis, in units of x.
            count: number of waves of each term.
            scale: standard deviation of their frequencies, in periods per unit of x, before each
                becomes the next one of its family.
        """
        super().__init__()
        self.terms, self.intervals, self.scale = terms, intervals, scale
        drawn = torch.randn(len(terms), len(intervals), count) * scale
        waves = [
            torch.stack([_next(f, 2 * z * (hi - lo)) for f, z, (lo, hi) in rows])
            for rows in (
                zip(t, d, intervals, strict=True) for t, d in zip(terms, drawn, strict=True)
            )
        ]
        self.register_buffer("waves", torch.stack(waves))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, *grid, axes) to (batch, *grid, functions), computed in float32 at least."""
        with no_autocast(x):
            positions = x.to(wide(x))
            ends = zip(positions.unbind(-1), self.intervals, strict=True)
            t = [(p - lo) / (hi - lo) for p, (lo, hi) in ends]
            parts = [self._term(i, t) for i in range(len(self.terms))]
            return torch.cat(parts, -1).to(x.dtype)

    def _term(self, term: int, t: list[Tensor]) -> Tensor:
        families = self.terms[term]
        angles = [
            math.pi * at[..., None] * wave.to(at)
            for at, wave in zip(t, self.waves[term].unbind(0), strict=True)
        ]
        pairs = list(zip(families, angles, strict=True))
        factors = [_half_wave(family, x) for family, x in pairs if family != "fourier"]
        circles = [x for family, x in pairs if family == "fourier"]
        if circles:
            phase = sum(circles[1:], circles[0])
            factors = [torch.cat((x, x), -1) for x in factors]
            factors.append(torch.cat((phase.sin(), phase.cos()), -1))
        return math.prod(factors[1:], start=factors[0])

    def extra_repr(self) -> str:
        """Describe the number of waves and the families."""
        return f"{self.waves.shape[-1]}, terms={self.terms}, scale={self.scale}"


def _half_wave(family: Family, angle: Tensor) -> Tensor:
    return angle.sin() if PARITIES[family][0] == "odd" else angle.cos()


def _next(family: Family, half_waves: Tensor) -> Tensor:
    """Return the nearest numbers of half waves that a family has; signs only count on circles."""
    if family == "fourier":
        return 2 * (half_waves / 2).round()
    k, (lower, upper) = half_waves.abs(), PARITIES[family]
    if lower != upper:
        return k.floor() + 0.5
    return k.round().clamp(min=1.0 if lower == "odd" else 0.0)
