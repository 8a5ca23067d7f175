"""Fourier continuation: extend a function on an interval so that it becomes periodic.

The added values are a fixed linear map of eight values of the function, four at each end, which lie
a quarter of the added length apart: an operator that does not depend on the grid.

Source: Lyon and Bruno 2010, doi:10.1016/j.jcp.2009.11.020, whose points are neighbours on the grid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from opdsl.nn.eager_cache import eager_cached
from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import Size

POINTS_PER_END = 4  # values that are used at each end of an axis


def node_stride(points: int, added: int) -> int:
    """Return the spacings between used values, on an axis with `points` points."""
    return max(1, min((added + 1) // POINTS_PER_END, (points - 1) // (POINTS_PER_END - 1)))


@eager_cached(64)
def continuation_matrix(
    kind: str, points: int, added: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Map values, four at the end inwards and four at the start, to added ones: (added, 8).

    Args:
        kind: `legendre`, one polynomial of degree 7 through all; `gram`, two of degree 3, of which
            the first fades out as the second fades in.
        points: of the axis.
        added: points behind it, before it closes.
        dtype, device: of the result, which is computed in float64.
    """
    step = node_stride(points, added) / (added + 1)
    inwards = torch.arange(POINTS_PER_END, dtype=torch.float64) * step
    t = torch.arange(1, added + 1, dtype=torch.float64) / (added + 1)
    if kind == "legendre":
        result = _lagrange_matrix(torch.cat((-inwards, 1 + inwards)), t)
    else:
        fade = torch.sigmoid(1 / t - 1 / (1 - t))[:, None]  # smooth, with all derivatives
        ends = _lagrange_matrix(-inwards, t), _lagrange_matrix(1 + inwards, t)
        result = torch.cat((fade * ends[0], (1 - fade) * ends[1]), 1)
    return result.to(device, dtype)


def _lagrange_matrix(nodes: Tensor, t: Tensor) -> Tensor:
    """Evaluate Lagrange's polynomials of the nodes at the points t, (t, nodes)."""
    differences = nodes[:, None] - nodes
    denominators = differences + torch.eye(len(nodes), dtype=nodes.dtype)
    factors = (t[:, None, None] - nodes) / denominators
    own = torch.eye(len(nodes), dtype=torch.bool)
    return torch.where(own, 1.0, factors).prod(2)


class FourierContinuation(nn.Module):
    """Pad to a given grid; the added points continue the function periodically.

    Attributes:
        kind: `legendre` or `gram`.
        sides: all points at the end (`end`), or half of them before the start (`both`).
    """

    def __init__(self, kind: str, sides: str) -> None:
        super().__init__()
        self.kind, self.sides = kind, sides

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """(batch, *grid, c), real or complex -> (batch, *size, c)."""
        with no_autocast(x):
            v = x.to(wide(x))
            for axis, n in enumerate(size, start=1):
                v = self._along(v, axis, n)
            return v.to(x.dtype)

    def _along(self, v: Tensor, axis: int, size: int) -> Tensor:
        n = v.shape[axis]
        if n == size:
            return v
        step = node_stride(n, size - n)
        ends = [n - 1 - i * step for i in range(POINTS_PER_END)] + [
            i * step for i in range(POINTS_PER_END)
        ]
        end_values = v.index_select(axis, torch.tensor(ends).to(v.device)).movedim(axis, -1)
        map_ = continuation_matrix(self.kind, n, size - n, v.real.dtype, v.device).to(v.dtype)
        added = (end_values @ map_.T).movedim(-1, axis)
        before = (size - n) // 2 if self.sides == "both" else 0
        # the function is periodic, so the last of the added points stand before its start
        after = size - n - before
        front, back = added.narrow(axis, after, before), added.narrow(axis, 0, after)
        return torch.cat((front, v, back), axis)

    def extra_repr(self) -> str:
        """Describe kind and sides."""
        return f"{self.kind}, sides={self.sides}"
