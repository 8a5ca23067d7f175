"""An FNO as one writes it by hand in PyTorch, with the weights of one of neuraloperator.

The transform is `rfftn`, the kept corners are multiplied by `einsum`, all layers at a point are
convolutions of size one, everything is channels-first. It computes the same function.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional


class PlainFNO(nn.Module):
    """(batch, in, *grid) -> (batch, out, *grid)."""

    def __init__(self, theirs: nn.Module) -> None:
        super().__init__()
        dims = len(theirs.n_modes)
        blocks = theirs.fno_blocks
        self.lift = mlp(theirs.lifting, dims)
        self.project = mlp(theirs.projection, dims)
        self.layers = nn.ModuleList(
            Layer(blocks, i, dims, last=i == theirs.n_layers - 1) for i in range(theirs.n_layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The coordinates of the points, 0 to 1 without the end, are further channels."""
        grid = x.shape[2:]
        lines = [torch.linspace(0, 1, n + 1, dtype=x.dtype)[:-1] for n in grid]
        places = torch.stack(torch.meshgrid(*lines, indexing="ij")).expand(len(x), -1, *grid)
        h = self.lift(torch.cat((x, places), 1))
        for layer in self.layers:
            h = layer(h)
        return self.project(h)


class Layer(nn.Module):
    """sigma(MLP(sigma(K v + W v)) + g v); the last layer has no sigma."""

    def __init__(self, blocks: nn.Module, i: int, dims: int, *, last: bool) -> None:
        super().__init__()
        theirs = blocks.convs[i]
        self.weight = nn.Parameter(theirs.weight.to_tensor().detach().clone())
        self.bias = nn.Parameter(theirs.bias.detach().clone())
        self.skip = pointwise(blocks.fno_skips[i].conv.weight, None, dims)
        self.mlp = mlp(blocks.channel_mlp[i], dims)
        self.gate = nn.Parameter(blocks.channel_mlp_skips[i].weight.detach().clone())
        self.last = last

    def forward(self, v: Tensor) -> Tensor:
        """(batch, c, *grid), the same."""
        bend = nn.Identity() if self.last else functional.gelu
        h = bend(self.spectral(v) + self.skip(v))
        return bend(self.mlp(h) + self.gate * v)

    def spectral(self, v: Tensor) -> Tensor:
        """F^-1(R . F(v)) + b, corner by corner of the spectrum."""
        axes = list(range(2, v.ndim))
        z = torch.fft.rfftn(v, dim=axes, norm="forward")
        out = z.new_zeros(len(v), self.weight.shape[1], *z.shape[2:])
        # R holds the frequencies ascending, -m ... m - 1; the transform has the negative ones last
        *full, last = self.weight.shape[2:]
        halves = [
            ((slice(0, n // 2), slice(-(n // 2), None)), (slice(n // 2, n), slice(0, n // 2)))
            for n in full
        ]
        for corner in itertools.product(*halves):
            here = (..., *(x[0] for x in corner), slice(0, last))
            there = (..., *(x[1] for x in corner), slice(0, last))
            out[there] = torch.einsum("bi...,io...->bo...", z[there], self.weight[here])
        v = torch.fft.irfftn(out, s=v.shape[2:], dim=axes, norm="forward")
        return v + self.bias


def mlp(theirs: nn.Module, dims: int) -> nn.Sequential:
    """Its layers with a GELU between each two."""
    layers = [pointwise(x.weight, x.bias, dims) for x in theirs.fcs]
    return nn.Sequential(*itertools.chain(*((x, nn.GELU()) for x in layers[:-1])), layers[-1])


def pointwise(weight: Tensor, bias: Tensor | None, dims: int) -> nn.Module:
    """A convolution of size one with these numbers."""
    out, inward = weight.shape[:2]
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    found = kind(inward, out, 1, bias=bias is not None)
    with torch.no_grad():
        found.weight.copy_(weight.reshape(found.weight.shape))
        if bias is not None:
            found.bias.copy_(bias)
    return found
