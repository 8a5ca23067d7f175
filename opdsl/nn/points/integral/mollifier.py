"""Mollifiers: weights of s = |x - y|^2 / r^2, 1 at s = 0 and 0 at s = 1.

With them a sum over neighbours is smooth in the query.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Mollifier = Literal["none", "half_cosine", "bump", "quartic", "quadratic", "octic"]
GAP = 1e-7  # keeps the exponent of the bump finite at the radius
QUADRATURE_NODES = (
    200  # of a quadrature on each of two pieces: ten digits for the bump, more for the others
)


def half_cosine(s: Tensor) -> Tensor:
    """Return (1 + cos(pi s)) / 2, for 0 <= s <= 1 as in all mollifiers."""
    return 0.5 * torch.cos(math.pi * s) + 0.5


def bump(s: Tensor) -> Tensor:
    """Return exp(1 - 1 / (1 - s^2)), all derivatives of which vanish at the radius."""
    return torch.exp(1 - 1 / (1 - s.square() + GAP))


def quartic(s: Tensor) -> Tensor:
    """Return (1 - s^2)^2."""
    return (1 - s.square()).square()


def quadratic(s: Tensor) -> Tensor:
    """Return 1 - 2 s^2, and from s = 1/2 on 2 (1 - s)^2."""
    return torch.where(s < 0.5, 1 - 2 * s.square(), 2 * (1 - s).square())


def octic(s: Tensor) -> Tensor:
    """Return 1 - 6 s^4 + 8 s^6 - 3 s^8."""
    square = s.square()
    return 1 + square.square() * (-6 + 8 * square - 3 * square.square())


MOLLIFIERS: dict[str, Callable[[Tensor], Tensor]] = {
    "bump": bump,
    "half_cosine": half_cosine,
    "octic": octic,
    "quadratic": quadratic,
    "quartic": quartic,
}


def ball_volume(dims: int, radius: float) -> float:
    """Return the volume of a ball of radius r, pi^(d/2) r^d / Gamma(d/2 + 1)."""
    return math.pow(math.sqrt(math.pi) * radius, dims) / math.gamma(dims / 2 + 1)


def mollifier_integral(kind: Mollifier, dims: int, radius: float) -> float:
    """Integrate a mollifier over the ball; `none` gives the volume of the ball.

    It is ball(d, r) d times the integral of m(t^2) t^(d - 1) over 0 < t < 1.
    """
    if kind == "none":
        return ball_volume(dims, radius)
    nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE_NODES)
    kink = math.sqrt(0.5)  # where `quadratic` changes its formula
    total = 0.0
    for lo, hi in ((0.0, kink), (kink, 1.0)):
        t = lo + (hi - lo) * (nodes + 1) / 2
        values = MOLLIFIERS[kind](torch.from_numpy(t**2)).numpy() * t ** (dims - 1)
        total += float((weights * values).sum()) * (hi - lo) / 2
    return ball_volume(dims, radius) * dims * total
