"""Discrete-continuous convolution: a local kernel that is a function, sampled on the grid at hand.

The kernel is a sum of fixed functions of the offset with trained weights. Its radius is a length,
so a finer grid samples one kernel at more points.

Source: Ocampo et al. 2023, arXiv:2209.13603; Liu-Schiaffini et al. 2024, arXiv:2402.16845.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from opdsl.nn.eager_cache import eager_cached
from opdsl.nn.grid.difference import with_halo
from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import AxisValues, Size
from opdsl.sampling import GridSampling, samplings_of, spacings

DIRECT_LIMIT = 49  # points of a kernel; larger ones are convolved by fast transforms
RADIUS_SLACK = 1e-9  # in spacings, so that an offset of exactly the radius counts


def basis_size(shape: tuple[int, int]) -> int:
    """Count the functions in the basis of `hat_basis`."""
    rings, angles = shape
    if angles == 1:
        return (rings + 1) // 2
    return rings // 2 * angles + rings % 2


def hat_basis(shape: tuple[int, int], r: Tensor, theta: Tensor) -> Tensor:
    """Evaluate hats over rings and angles, whose sum is one near the centre.

    Args:
        shape: rings counted across the diameter, angles.
        r: distances, 1 is the radius.
        theta: angles.

    Returns:
        (functions, *shape of r), zero where r > 1.

    Source: Liu-Schiaffini et al. 2024, arXiv:2402.16845, section 3.2.
    """
    rings, angles = shape
    dr, dtheta = 2 / (rings + 1), 2 * math.pi / angles
    first = 0.0 if rings % 2 else 0.5
    inside = (r <= 1 + RADIUS_SLACK).to(r.dtype)
    if angles == 1:
        radii = [(i + first) * dr for i in range((rings + 1) // 2)]
        return torch.stack([_hat((r - x) / dr) * inside for x in radii])
    result = [_hat(r / dr)] if rings % 2 else []
    for i in range(rings // 2):
        radius = (i + (1 if rings % 2 else first)) * dr
        for a in range(angles):
            hat = _hat((r - radius) / dr) * _hat(_angle_difference(theta - a * dtheta) / dtheta)
            if rings % 2 == 0:  # without a function in the middle, hats reach across it
                across = _angle_difference(theta + math.pi - a * dtheta) / dtheta
                hat = hat + _hat((r + radius) / dr) * _hat(across)
            result.append(hat)
    return torch.stack(result) * inside


def _hat(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _angle_difference(angle: Tensor) -> Tensor:
    """Wrap an angle into [-pi, pi)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


@eager_cached(32)
def stencil(
    shape: tuple[int, int],
    radius: float,
    spacings: AxisValues,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Sample the basis functions at the offsets of a grid, each with the sum one.

    The value for the offset o is that of k(x - y) with y = x + o; angles are counted from the last
    axis to the one before.

    Returns:
        (functions, *offsets).
    """
    lines = [
        torch.arange(-p, p + 1, dtype=torch.float64)
        for p in (math.floor(radius / h + RADIUS_SLACK) for h in spacings)
    ]
    # not -o: a negative zero would give the middle an angle of pi
    scaled = (0 - x * h for x, h in zip(lines, spacings, strict=True))
    offsets = torch.meshgrid(*scaled, indexing="ij")
    r = torch.stack(list(offsets)).square().sum(0).sqrt() / radius
    across = offsets[-2] if len(offsets) > 1 else torch.zeros_like(r)
    psi = hat_basis(shape, r, torch.atan2(across, offsets[-1]))
    total = psi.flatten(1).sum(1).reshape(-1, *(1,) * len(offsets))
    return torch.where(total > 0, psi / total.clamp(min=1e-12), 0.0).to(device, dtype)


class DiscoConv(nn.Module):
    """w(x) = integral of k(x - y) v(y) dy + b, k = sum_f W_f psi_f within the radius.

    Each psi_f has the integral one, by the quadrature of the grid.

    Attributes:
        weight: W, (functions, in, out).
        bias: b, (out,), or None.
    """

    def __init__(  # noqa: PLR0913  one for each parameter of the block
        self,
        in_channels: int,
        out_channels: int,
        *,
        shape: tuple[int, int],
        radius: float,
        lengths: AxisValues,
        closed: tuple[bool, ...],
        edges: tuple[str, ...],
        bias: bool = True,
        frozen: Size | None = None,
        samplings: tuple[GridSampling, ...] | None = None,
    ) -> None:
        """Make a layer with fresh weights.

        Args:
            in_channels: of v.
            out_channels: of w.
            shape: rings across the diameter, angles.
            radius: a length.
            lengths: of the axes.
            closed: whether each axis is periodic.
            edges: of `opdsl.nn.grid.difference.EDGES`, for each axis.
            bias: whether b is added.
            frozen: the points of the grid whose stencil is used on every grid; None: its own.
            samplings: where the points of each axis are; None: at both ends of axes that are not
                periodic.
        """
        super().__init__()
        self.shape, self.radius, self.frozen = shape, radius, frozen
        self.lengths, self.edges = lengths, edges
        self.samplings = samplings_of(closed, samplings)
        functions = basis_size(shape)
        spread = 1 / math.sqrt(in_channels * functions)
        self.weight = nn.Parameter(spread * torch.randn(functions, in_channels, out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *grid, in) -> (batch, *grid, out)."""
        with no_autocast(x):
            v = x.to(wide(x))
            psi = stencil(self.shape, self.radius, self._spacings(x.shape[1:-1]), v.dtype, v.device)
            for axis, edges in enumerate(self.edges, start=1):
                width, sampling = psi.shape[axis] // 2, self.samplings[axis - 1]
                v = with_halo(v, axis, width, edges, sampling)
            small = psi[0].numel() <= DIRECT_LIMIT
            w = self._direct(v, psi) if small else self._by_transforms(v, psi)
            return (w if self.bias is None else w + self.bias.to(w.dtype)).to(x.dtype)

    def _spacings(self, size: Size) -> AxisValues:
        rows = zip(self.frozen or size, self.lengths, self.samplings, strict=True)
        return tuple(length / spacings(sampling, n) for n, length, sampling in rows)

    def _direct(self, v: Tensor, psi: Tensor) -> Tensor:
        """Convolve once with the whole kernel."""
        kernel = torch.einsum("f...,fio->oi...", psi, self.weight.to(v.dtype))
        convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[v.ndim - 3]
        return convolve(v.movedim(-1, 1), kernel).movedim(1, -1)

    def _by_transforms(self, v: Tensor, psi: Tensor) -> Tensor:
        """Convolve by fast transforms, one basis function after the other."""
        axes = list(range(1, v.ndim - 1))
        padded = tuple(v.shape[1:-1])
        valid = tuple(n - k + 1 for n, k in zip(padded, psi.shape[1:], strict=True))
        spectrum = torch.fft.rfftn(v, dim=axes)
        w = v.new_zeros(v.shape[0], *valid, self.weight.shape[-1])
        for kernel_function, matrix in zip(psi, self.weight.to(v.dtype), strict=True):
            kernel = torch.fft.rfftn(kernel_function, s=padded).conj()[..., None]
            shifted = torch.fft.irfftn(spectrum * kernel, s=padded, dim=axes)
            for axis, n in enumerate(valid, start=1):
                shifted = shifted.narrow(axis, 0, n)
            w = w + shifted @ matrix
        return w

    def extra_repr(self) -> str:
        """Describe the kernel."""
        return f"shape={self.shape}, radius={self.radius}, edges={self.edges}"
