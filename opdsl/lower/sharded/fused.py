"""Subgraphs that run as one operation on parts of a grid.

The kernels of a Fourier layer transform the last one or two axes, which are whole; the axes before
them count as samples, and the exchange takes the place of the product with R.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from opdsl.lower.fuse.running import Fused, layer_of_stage
from opdsl.lower.sharded.axis_transforms import AxisTransform, FourierAxis
from opdsl.lower.sharded.site import NodeSite, by_class
from opdsl.lower.sharded.spectral import ModeExpansion, convolve, fourier_expansion
from opdsl.nn.kernels.modes import GridModes, ModeMixing
from opdsl.nn.spectral.conv import SpectralConv

KERNEL_AXES = 2  # that the kernels transform at most


def fused_on_parts(
    fused: Fused, sites: Mapping[str, NodeSite]
) -> Callable[[Tensor], Tensor] | None:
    """Return how a fusion runs on parts; None: its nodes run one after the other.

    Args:
        fused: the fusion.
        sites: of its nodes.
    """
    if all(x.rule.kind in {"local", "replicated"} for x in sites.values()):
        return fused
    conv = fused.part("conv")
    stage = None if conv is None else by_class(STAGES, conv)
    return stage and stage(fused, sites[fused.fusion.roles["conv"]])


def _fourier_stage(fused: Fused, site: NodeSite) -> Callable[[Tensor], Tensor] | None:
    conv = cast("SpectralConv", fused.part("conv"))
    inner = min(KERNEL_AXES, len(conv.modes) - 1 - site.axis)
    return (lambda u: _fourier_layer(fused, conv, site, u, inner)) if inner > 0 else None


def _fourier_layer(
    fused: Fused, conv: SpectralConv, site: NodeSite, u: Tensor, inner: int
) -> Tensor:
    """Compute a Fourier layer whose last `inner` axes the kernels transform."""
    bands, grid = conv.bands(), u.shape[:-1]
    outer = len(bands) - inner
    counts = tuple(map(len, bands[outer:]))

    def mix(z: Tensor) -> Tensor:
        """Convolve along the other axes: complex (samples and points, modes, c)."""
        how = fourier_expansion(conv, z.real, site.grids[0])
        done = tuple(_Coefficients() for _ in counts)
        how = ModeExpansion(
            (*(_full(x) for x in bands[:outer]), *done), None, how.matrices, how.diagonal
        )
        z = z.reshape(*grid[: outer + 1], *counts, z.shape[-1])
        v = convolve(site, how, z, (*site.grids[0][:outer], *counts))
        return v.reshape(math.prod(grid[: outer + 1]), math.prod(counts), v.shape[-1])

    weights = tuple(x for name, x in conv.named_parameters() if name != "bias")
    stage = GridModes(bands[outer:], ModeMixing(mix, weights))
    rows = u.reshape(-1, *u.shape[outer + 1 :])
    y = layer_of_stage(fused, rows, None, stage)
    return y.reshape(*grid, y.shape[-1])


def _full(band: range) -> AxisTransform:
    return FourierAxis(band, half=False)


@dataclass(frozen=True, slots=True)
class _Coefficients:
    """The identity, along an axis that the kernels have transformed."""

    def forward(self, x: Tensor, axis: int) -> Tensor:  # noqa: ARG002  of every transform
        return x

    def inverse(self, z: Tensor, axis: int, n: int) -> Tensor:  # noqa: ARG002  of every transform
        return z

    inverse_real = inverse

    def columns(self, n: int, part: range, like: Tensor) -> Tensor:
        raise NotImplementedError("the sharded axis is not transformed by kernels")

    rows = columns


# the convolutions of which some axes run as one operation with the rest of their layer
STAGES: dict[type[nn.Module], Callable[[Fused, NodeSite], Callable[[Tensor], Tensor] | None]] = {
    SpectralConv: _fourier_stage
}
