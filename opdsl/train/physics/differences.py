"""Finite differences of any order on equidistant points, one-sided at the ends of an axis."""

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=256)
def stencil(offsets: tuple[float, ...], times: int) -> tuple[float, ...]:
    """Return the weights of a derivative at 0 from values at `offsets`, for spacing 1.

    Exact for polynomials of degree below the number of offsets.

    Source: Fornberg 1988, doi:10.1090/S0025-5718-1988-0935077-0, section 2.
    """
    n = len(offsets)
    weights = [[0.0] * (times + 1) for _ in range(n)]
    weights[0][0] = 1.0
    scale = 1.0
    for i in range(1, n):
        product = 1.0
        for j in range(i):
            gap = offsets[i] - offsets[j]
            product *= gap
            if j == i - 1:
                for m in range(min(i, times), -1, -1):
                    lower = m * weights[j][m - 1] if m else 0.0
                    weights[i][m] = scale * (lower - offsets[j] * weights[j][m]) / product
            for m in range(min(i, times), -1, -1):
                lower = m * weights[j][m - 1] if m else 0.0
                weights[j][m] = (offsets[i] * weights[j][m] - lower) / gap
        scale = product
    return tuple(row[times] for row in weights)


def difference(
    u: Tensor, axis: int, *, times: int, order: int, step: float, periodic: bool
) -> Tensor:
    """Return the derivative along an axis by differences: central inside, one-sided at the ends.

    Where an axis with ends has fewer points than the order needs, the order is what they allow.

    Args:
        u: any tensor with equidistant points on the axis.
        axis: of the tensor.
        times: of the derivative; more points than that are needed.
        order: of the error in the step, even.
        step: between two points.
        periodic: whether the last point neighbours the first.
    """
    n = u.shape[axis]
    half = (times + 1) // 2 + order // 2 - 1
    central = stencil(tuple(float(i) for i in range(-half, half + 1)), times)
    scale = step**-times
    if periodic:
        pairs = zip(range(-half, half + 1), central, strict=True)
        return _sum([w * u.roll(-i, axis) for i, w in pairs if w]) * scale
    if n < times + order:
        return _dense(u, axis, times) * scale
    inside = [w * u.narrow(axis, i, n - 2 * half) for i, w in enumerate(central) if w]
    width = times + order
    lower, upper = u.narrow(axis, 0, width), u.narrow(axis, n - width, width)
    first = [_at(lower, axis, float(i), times) for i in range(half)]
    last = [_at(upper, axis, float(width - half + i), times) for i in range(half)]
    return torch.cat([*first, _sum(inside), *last], axis) * scale


def _dense(u: Tensor, axis: int, times: int) -> Tensor:
    """Return the derivative of the polynomial through all points of an axis."""
    return torch.cat([_at(u, axis, float(i), times) for i in range(u.shape[axis])], axis)


def _at(u: Tensor, axis: int, place: float, times: int) -> Tensor:
    """Return the derivative at `place` from all points of an axis, which keeps one point."""
    weights = stencil(tuple(i - place for i in range(u.shape[axis])), times)
    return _sum([w * u.narrow(axis, i, 1) for i, w in enumerate(weights)])


def _sum(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for x in parts[1:]:
        total = total + x
    return total
