"""Points of a sphere: latitudes of the four samplings, quadrature weights, unit vectors.

A sphere is sampled at nlat latitudes from north to south and nlon equispaced longitudes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from opdsl.nn.shapes import Size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]
    LongDoubles = NDArray[np.floating[Any]]

_Nodes = tuple[Tensor, Tensor]


def latitudes(n: int, sampling: str) -> _Nodes:
    """Compute cosines of the colatitudes, north to south, and weights of the integral over them.

    Args:
        n: how many.
        sampling: `gauss_legendre` (exact to degree 2 n - 1), `lobatto` (with both poles, 2 n - 3),
            `equiangular` (with both poles, Clenshaw-Curtis, n - 1), `centres` (of n equal cells
            between the poles, Fejer's first rule, n - 1).

    Returns:
        cosines and weights, float64, (n,) each; the weights sum to 2.
    """
    rules = {
        "gauss_legendre": _gauss,
        "lobatto": _lobatto,
        "equiangular": _clenshaw_curtis,
        "centres": _fejer,
    }
    return rules[sampling](n)


def _gauss(n: int) -> _Nodes:
    nodes, weights = _gauss_numbers(n)
    return torch.from_numpy(nodes.copy()), torch.from_numpy(weights.copy())


@lru_cache(maxsize=32)
def _gauss_numbers(n: int) -> tuple[Doubles, Doubles]:
    """Compute the zeros of P_n(x) and weights 2 / ((1 - x^2) P'_n(x)^2).

    Two steps of Newton in the longest floats of the machine: at 256 latitudes double precision
    alone costs a transform there and back a digit and a half.

    Source: Abramowitz and Stegun 1964, 25.4.29.
    """
    import numpy as np

    start = np.polynomial.legendre.leggauss(n)[0][::-1]
    x: LongDoubles = np.asarray(start, dtype=np.longdouble)
    for _ in range(2):
        value, slope = _legendre_and_slope(n, x)
        x = x - value / slope
    _, slope = _legendre_and_slope(n, x)
    weights = 2 / ((1 - x * x) * slope * slope)
    return x.astype(np.float64), weights.astype(np.float64)


def _legendre_and_slope(n: int, x: LongDoubles) -> tuple[LongDoubles, LongDoubles]:
    """Evaluate P_n and P'_n by Bonnet's recurrence."""
    previous, current = x * 0 + 1, x
    for k in range(2, n + 1):
        previous, current = current, ((2 * k - 1) * x * current - (k - 1) * previous) / k
    return current, n * (previous - x * current) / (1 - x * x)


def _lobatto(n: int) -> _Nodes:
    """Compute the zeros of (1 - x^2) P'_(n-1)(x) and weights 2 / (n (n - 1) P_(n-1)(x)^2).

    P'_(n-1) is the Jacobi polynomial of degree n - 2 with both exponents 1.

    Source: Abramowitz and Stegun 1964, 25.4.32.
    """
    import numpy as np
    from scipy.special import eval_legendre, roots_jacobi

    inner = roots_jacobi(n - 2, 1, 1)[0][::-1] if n > 2 else np.zeros(0)
    nodes = np.concatenate([[1.0], inner, [-1.0]])
    weights = 2.0 / (n * (n - 1) * eval_legendre(n - 1, nodes) ** 2)
    return torch.from_numpy(nodes), torch.from_numpy(weights)


def _clenshaw_curtis(n: int) -> _Nodes:
    """Compute equal angles from pole to pole; the weights integrate the cosine series exactly.

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


def _fejer(n: int) -> _Nodes:
    """Compute the centres of n equal angles; the weights integrate the cosine series exactly.

    Source: Waldvogel 2006, doi:10.1007/s10543-006-0045-4, eq. (2.3).
    """
    angles = (torch.arange(n, dtype=torch.float64) + 0.5) * (torch.pi / n)
    k = torch.arange(1, n // 2 + 1, dtype=torch.float64)
    series = (torch.cos(2 * k * angles[:, None]) / (4 * k**2 - 1)).sum(1)
    return torch.cos(angles), (1 - 2 * series) * (2 / n)


class UnitVectors(nn.Module):
    """The points of a sphere as unit vectors, a function with three channels."""

    def __init__(self, sampling: str) -> None:
        super().__init__()
        self.sampling = sampling

    def forward(self, *, size: Size, like: Tensor) -> Tensor:
        """Return the unit vectors of a grid, (1, nlat, nlon, 3)."""
        cos, _ = latitudes(size[0], self.sampling)
        sin = (1 - cos**2).clamp(min=0).sqrt()
        longitude = torch.arange(size[1], dtype=torch.float64) * (2 * torch.pi / size[1])
        x, y = sin[:, None] * longitude.cos(), sin[:, None] * longitude.sin()
        result = torch.stack([x, y, cos[:, None].expand_as(x)], -1)[None]
        return result.to(dtype=like.dtype, device=like.device)
