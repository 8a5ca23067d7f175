"""Normalisations of channels-last tensors, (batch, *grid, c), with any number of axes.

y = (x - mean) / sqrt(var + eps) * weight + bias; the kinds differ in what the mean is taken over.
Statistics are computed in float32 at least, also under autocast; the result has the dtype of x.
Each equals torch's layer of the same name given the tensor with its channels moved to axis 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from opdsl.nn.points.segments import expand_to_points, segment_mean
from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import RaggedSizes

EPS = 1e-5  # torch's own, on the variance


def Norm(kind: str, channels: int, groups: int = 1) -> nn.Module:  # noqa: N802  makes a module
    """Make the normalisation `kind`, a key of `NORMS`; `groups` matters for `group` only."""
    return NORMS[kind](channels, groups)


class InstanceNorm(nn.Module):
    """Normalise each sample and channel over the grid; there are no parameters.

    Source: Ulyanov et al. 2016, arXiv:1607.08022.
    """

    def forward(self, x: Tensor, ragged: RaggedSizes = ()) -> Tensor:
        """(batch, *grid, c) -> (batch, *grid, c)."""
        with no_autocast(x):
            z = x.to(wide(x))
            if ragged:
                return _standardise_packed(z, ragged, x.shape[-1]).to(x.dtype)
            return _standardise(z, tuple(range(1, x.ndim - 1))).to(x.dtype)


class GroupNorm(nn.Module):
    """Normalise each sample over the grid and a group of neighbouring channels.

    Attributes:
        weight, bias: (c,), begin as one and zero.

    Source: Wu and He 2018, arXiv:1803.08494.
    """

    def __init__(self, channels: int, groups: int = 1) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"{channels} channels do not split into {groups} groups")
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, ragged: RaggedSizes = ()) -> Tensor:
        """(batch, *grid, c) -> (batch, *grid, c)."""
        with no_autocast(x):
            z = x.to(wide(x))
            z = _standardise_packed(z, ragged, self.groups) if ragged else self._standard(z)
            return torch.addcmul(self.bias.to(z), z, self.weight.to(z)).to(x.dtype)

    def _standard(self, z: Tensor) -> Tensor:
        if self.groups == 1:  # one fused kernel
            return functional.layer_norm(z, z.shape[1:], eps=EPS)
        grouped = z.reshape(*z.shape[:-1], self.groups, -1)
        axes = (*range(1, z.ndim - 1), z.ndim)
        return _standardise(grouped, axes).flatten(-2)

    def extra_repr(self) -> str:
        """Describe channels and groups."""
        return f"{self.weight.shape[0]}, groups={self.groups}"


class LayerNorm(nn.Module):
    """Normalise over the channels at each point alone, which does not depend on the resolution.

    Attributes:
        weight, bias: (c,), begin as one and zero.

    Source: Ba et al. 2016, arXiv:1607.06450.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, ragged: RaggedSizes = ()) -> Tensor:  # noqa: ARG002  points are alone
        """(batch, *grid, c) -> (batch, *grid, c)."""
        with no_autocast(x):
            z = x.to(wide(x))
            y = functional.layer_norm(z, z.shape[-1:], self.weight.to(z), self.bias.to(z), EPS)
            return y.to(x.dtype)


class BatchNorm(nn.Module):
    """Normalise each channel over the batch and the grid; with running statistics in evaluation.

    Attributes:
        weight, bias: (c,), begin as one and zero.
        running_mean, running_var: (c,), used in evaluation; each step moves them by `MOMENTUM`.

    Source: Ioffe and Szegedy 2015, arXiv:1502.03167.
    """

    MOMENTUM = 0.1
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, ragged: RaggedSizes = ()) -> Tensor:  # noqa: ARG002  all samples alike
        """(batch, *grid, c) -> (batch, *grid, c)."""
        with no_autocast(x):
            rows = x.to(wide(x)).reshape(
                -1, x.shape[-1]
            )  # points of all samples alike: no permutation
            return self._normalise(rows).reshape(x.shape).to(x.dtype)

    def _normalise(self, rows: Tensor) -> Tensor:
        return functional.batch_norm(
            rows,
            self.running_mean,
            self.running_var,
            self.weight.to(rows),
            self.bias.to(rows),
            self.training,
            self.MOMENTUM,
            EPS,
        )


NORMS: dict[str, Callable[[int, int], nn.Module]] = {
    "batch": lambda channels, _: BatchNorm(channels),
    "group": GroupNorm,
    "instance": lambda _channels, _groups: InstanceNorm(),
    "layer": lambda channels, _: LayerNorm(channels),
}


def _standardise(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    var, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return (x - mean) * torch.rsqrt(var + EPS)


def _standardise_packed(x: Tensor, ragged: RaggedSizes, groups: int) -> Tensor:
    """Standardise packed functions over the points of each sample and each group of channels."""
    sizes = ragged[-1]
    assert sizes is not None
    grouped = x.reshape(*x.shape[:-1], groups, -1)
    centred = grouped - expand_to_points(segment_mean(grouped.mean(-1), sizes), sizes)[..., None]
    var = segment_mean(centred.square().mean(-1), sizes)
    return (centred * expand_to_points(torch.rsqrt(var + EPS), sizes)[..., None]).flatten(-2)
