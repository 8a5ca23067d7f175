"""Layers that depend on the grid itself: a local stencil, a value per point, interpolation.

A stencil and a value per point have no limit under refinement; the language says so of both.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import Size
from opdsl.nn.spectral.transforms import apply_along_axes


class Conv(nn.Module):
    """v(x_i) = sum over offsets o of W_o u(x_(i + o)) + b, |o| <= kernel // 2 on each axis.

    Periodic axes wrap; on the others the function is zero beyond its ends.

    Attributes:
        weight: W, (kernel, ..., kernel, in, out).
        bias: b, (out,), or None.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        periodic: tuple[bool, ...],
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.kernel, self.periodic = kernel, periodic
        dims = len(periodic)
        bound = 1 / math.sqrt(in_channels * kernel**dims)  # as torch's own convolutions
        shape = (*(kernel,) * dims, in_channels, out_channels)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = (
            nn.Parameter(torch.empty(out_channels).uniform_(-bound, bound)) if bias else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *grid, in) -> (batch, *grid, out)."""
        size = x.shape[1:-1]
        for axis, periodic in enumerate(self.periodic, start=1):
            x = _ring(x, axis, self.kernel // 2, wrap=periodic)
        v = x.new_zeros(()) if self.bias is None else self.bias.to(x.dtype)
        for offset in product(range(self.kernel), repeat=len(self.periodic)):
            part = x
            for axis, (start, n) in enumerate(zip(offset, size, strict=True), start=1):
                part = part.narrow(axis, start, n)
            v = v + part @ self.weight[offset].to(x.dtype)
        return v


class Position(nn.Module):
    """v = u + p: one trained value for each point of one grid and each channel.

    Attributes:
        weight: p, (*size, channels); zero at the start.
    """

    def __init__(self, size: Size, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(*size, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *size, channels) -> (batch, *size, channels)."""
        return x + self.weight.to(x.dtype)


class Interpolate(nn.Module):
    """Interpolate u to another grid; the first and last points of both grids coincide.

    Attributes:
        kind: `linear` in one axis, `cubic` in two.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """(batch, *grid, c) -> (batch, *size, c)."""
        if tuple(x.shape[1:-1]) == tuple(size):
            return x
        if torch.compiler.is_compiling() or type(x) is not Tensor:  # sizes may be symbols
            return _torch_interpolate(x, size, TORCH_MODES[self.kind])
        # one matrix for each axis: the tensors on the grid are never permuted
        pairs = zip(x.shape[1:-1], size, strict=True)
        with no_autocast(x):
            y = apply_along_axes(
                x.to(wide(x)), [interpolation_matrix(self.kind, n, m, x) for n, m in pairs]
            )
            return y.to(x.dtype)

    def extra_repr(self) -> str:
        """Describe the kind."""
        return self.kind


TORCH_MODES = {"linear": "linear", "cubic": "bicubic"}  # torch's name of each kind


def _torch_interpolate(x: Tensor, size: Size, mode: str) -> Tensor:
    y = functional.interpolate(x.movedim(-1, 1), size=size, mode=mode, align_corners=True)
    return y.movedim(1, -1)


def interpolation_matrix(kind: str, n: int, m: int, like: Tensor) -> Tensor:
    """Return the matrix (m, n) of `Interpolate` on one axis, in the dtype of `like` or float32."""
    return _cached_interpolation_matrix(kind, n, m, wide(like), like.device)


@lru_cache(maxsize=64)
def _cached_interpolation_matrix(
    kind: str, n: int, m: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    # the columns are torch's interpolants of the unit vectors; a second axis has one point
    with torch.inference_mode(mode=False), torch.no_grad():
        units = torch.eye(n, dtype=torch.float64, device="cpu")
        second_axis = (1,) * (kind == "cubic")
        result = _torch_interpolate(
            units.reshape(n, n, *second_axis, 1), (m, *second_axis), TORCH_MODES[kind]
        )
        return result.reshape(n, m).T.to(device, dtype).contiguous()


def _ring(x: Tensor, axis: int, width: int, *, wrap: bool) -> Tensor:
    """Add `width` points at both ends of an axis: those of the other end, or zeros."""
    if width == 0:
        return x
    n = x.shape[axis]
    left, right = x.narrow(axis, n - width, width), x.narrow(axis, 0, width)
    if not wrap:
        left, right = torch.zeros_like(left), torch.zeros_like(right)
    return torch.cat([left, x, right], axis)
