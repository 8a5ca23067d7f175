"""A trained series of half waves: a function of the coordinates alone that follows the boundary."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from opdsl.bases import Family
from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import Size
from opdsl.nn.spectral.half_waves.interpolants import FLOAT64, fractions
from opdsl.nn.spectral.half_waves.transforms import synthesis, wave_numbers
from opdsl.sampling import GridSampling


class HalfWaveSeries(nn.Module):
    """w(x) = sum over terms and k of c_k phi_k(x), phi_k a product of functions of one axis each.

    Attributes:
        weight: c, (terms, *functions of each axis, channels), real. A periodic axis with the modes
            m has the 2 m + 1 functions 1, cos(2 pi t), sin(2 pi t), cos(4 pi t) ...
    """

    def __init__(
        self,
        channels: int,
        modes: Size,
        terms: tuple[str, ...],
        samplings: tuple[GridSampling, ...],
    ) -> None:
        """Make a series with random coefficients.

        Args:
            channels: of w.
            modes: of each axis: the number of half waves, or the greatest frequency of waves.
            terms: for each term the families of the axes, separated by spaces.
            samplings: where the points of each axis are.
        """
        super().__init__()
        self.modes, self.terms, self.samplings = modes, terms, samplings
        counts = tuple(_count(x, m) for x, m in zip(terms[0].split(), modes, strict=True))
        self.weight = nn.Parameter(torch.empty(len(terms), *counts, channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw c_k normal, E c_k^2 proportional to (1 + |k|^2)^-3, so that the mean E w^2 is 1.

        |k| counts periods over the domain, of which a half wave has 1/2.
        """
        for term, weight in zip(self.terms, self.weight.detach(), strict=True):
            families = term.split()
            lines = [_frequencies(x, m) for x, m in zip(families, self.modes, strict=True)]
            k = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1)
            decay = (1 + k.square().sum(-1)).pow(-3)
            # the mean square of a function of one axis is 1/2, of a constant 1
            squares = torch.where(k == 0, 1.0, 0.5).prod(-1)
            spread = (decay / (decay * squares).sum() / len(self.terms)).sqrt()[..., None]
            weight.copy_(torch.randn_like(weight) * spread.to(weight))

    def forward(self, *, size: Size, like: Tensor) -> Tensor:
        """Return w, (1, *size, channels), in the dtype of `like`, computed in float32 at least."""
        with no_autocast(like):
            weight = self.weight.to(wide(like))
            total = self._term(0, weight, size)
            for i in range(1, len(self.terms)):
                total = total + self._term(i, weight, size)
            return total[None].to(like.dtype)

    def _term(self, term: int, weight: Tensor, size: Size) -> Tensor:
        w = weight[term]
        for axis, family in enumerate(self.terms[term].split()):
            phi = _functions(family, self.modes[axis], self.samplings[axis], size[axis]).to(w)
            w = torch.tensordot(w, phi, dims=([0], [1]))  # moves this axis behind the channels
        return w.movedim(0, -1)

    def extra_repr(self) -> str:
        """Describe channels, modes and families."""
        return f"{self.weight.shape[-1]}, modes={self.modes}, terms={self.terms}"


def _count(family: str, modes: int) -> int:
    return 2 * modes + 1 if family == "fourier" else modes


def _frequencies(family: str, modes: int) -> Tensor:
    """Return the periods of each function over the axis, (functions,)."""
    if family == "fourier":
        return (torch.arange(2 * modes + 1, dtype=torch.float64) + 1).div(2, rounding_mode="floor")
    return wave_numbers(cast("Family", family), modes) / 2


def _functions(family: str, modes: int, sampling: GridSampling, n: int) -> Tensor:
    """Evaluate the functions of an axis at its n points, (points, functions)."""
    if family != "fourier":
        return synthesis(cast("Family", family), sampling, n, modes, FLOAT64)
    t = fractions(sampling, n)
    angles = 2 * math.pi * t[:, None] * torch.arange(1, modes + 1, dtype=t.dtype)
    pairs = torch.stack((angles.cos(), angles.sin()), 2).flatten(1)
    return torch.cat((torch.ones_like(t)[:, None], pairs), 1)
