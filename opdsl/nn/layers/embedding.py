"""Sinusoidal embedding of coordinates, for networks that take them."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

Waves = Literal["none", "transformer", "nerf"]


class Sinusoids(nn.Module):
    """sin and cos of f_k x_i, one behind the other, for each coordinate i and frequency f_k.

    `transformer` has f_k = p^(-2k / L), k = 0 .. L - 1, for `max_positions` p; `nerf` has
    f_k = 2^k pi, of which those above half the number of points on a unit of length are noise;
    `none` leaves coordinates as they are.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5; Mildenhall et al. 2020,
    arXiv:2003.08934, eq. (4).
    """

    def __init__(self, kind: Waves, frequencies: int, max_positions: float) -> None:
        super().__init__()
        self.kind, self.frequencies, self.max_positions = kind, frequencies, max_positions

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) -> (n, 2 L d); with `none` the input itself."""
        if self.kind == "none":
            return x
        phase = x[..., None] * self._frequencies(x)
        return torch.stack((phase.sin(), phase.cos()), -1).flatten(1)

    def _frequencies(self, like: Tensor) -> Tensor:
        k = torch.arange(self.frequencies, device=like.device)
        if self.kind == "nerf":
            return torch.exp2(k.to(like.dtype)) * math.pi
        powers = (k / self.frequencies * 2).to(like.dtype)
        return torch.pow(1 / self.max_positions, powers)

    def extra_repr(self) -> str:
        """Describe the kind of the embedding, and its frequencies."""
        return f"{self.kind}, {self.frequencies}"
