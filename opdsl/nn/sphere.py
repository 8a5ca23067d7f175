"""Points of a sphere: latitudes of the three samplings, quadrature weights, unit vectors.

A sphere is sampled at nlat latitudes from north to south and nlon equispaced longitudes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from opdsl.nn.grid import Size

Nodes = tuple[Tensor, Tensor]


def latitudes(n: int, sampling: str) -> Nodes:
    """Cosines of the colatitudes, from north to south, and weights of the integral over them.

    Args:
        n: how many.
        sampling: `gauss_legendre` (exact to degree 2 n - 1), `lobatto` (with both poles, 2 n - 3),
            `equiangular` (with both poles, Clenshaw-Curtis, n - 1).

    Returns:
        cosines and weights, float64, (n,) each; the weights sum to 2.
    """
    rules = {"gauss_legendre": _gauss, "lobatto": _lobatto, "equiangular": _clenshaw_curtis}
    return rules[sampling](n)


def _gauss(n: int) -> Nodes:
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(n)
    return torch.from_numpy(nodes[::-1].copy()), torch.from_numpy(weights[::-1].copy())


def _lobatto(n: int) -> Nodes:
    """Zeros of (1 - x^2) P'_(n-1)(x); weights 2 / (n (n - 1) P_(n-1)(x)^2).

    Source: Abramowitz and Stegun 1964, 25.4.32.
    """
    import numpy as np

    last = np.polynomial.legendre.Legendre.basis(n - 1)
    inner = np.sort(last.deriv().roots().real)[::-1]
    nodes = np.concatenate([[1.0], inner, [-1.0]])
    return torch.from_numpy(nodes), torch.from_numpy(2.0 / (n * (n - 1) * last(nodes) ** 2))


def _clenshaw_curtis(n: int) -> Nodes:
    """Equal angles from pole to pole; weights integrate the cosine series.

    Source: Waldvogel 2006, doi:10.1007/s10543-006-0045-4.
    """
    steps = n - 1
    angles = torch.arange(n, dtype=torch.float64) * (torch.pi / steps)
    k = torch.arange(1, steps // 2 + 1, dtype=torch.float64)
    b = torch.where(2 * k == steps, 1.0, 2.0) / (4 * k**2 - 1)
    weights = (1 - (torch.cos(2 * k * angles[:, None]) * b).sum(1)) * (2 / steps)
    weights[0] /= 2
    weights[-1] /= 2
    return torch.cos(angles), weights


class UnitVectors(nn.Module):
    """The points of a sphere as unit vectors, a function with three channels."""

    def __init__(self, sampling: str) -> None:
        super().__init__()
        self.sampling = sampling

    def forward(self, *, size: Size, like: Tensor) -> Tensor:
        """-> (1, nlat, nlon, 3)."""
        cos, _ = latitudes(size[0], self.sampling)
        sin = (1 - cos**2).clamp(min=0).sqrt()
        turn = torch.arange(size[1], dtype=torch.float64) * (2 * torch.pi / size[1])
        x, y = sin[:, None] * turn.cos(), sin[:, None] * turn.sin()
        found = torch.stack([x, y, cos[:, None].expand_as(x)], -1)[None]
        return found.to(dtype=like.dtype, device=like.device)
