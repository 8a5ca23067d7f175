"""Models on points as modules of one input, (batch, channels, points): theirs and ours.

Both have equal weights; points are random in the unit cube, and buffers. For `GNO` the neighbours
are searched once on both sides, and theirs sums with `index_add` instead of its loop in Python,
which users with torch_scatter do not have; `GINO` is theirs as released, with its search in every
call.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from against.cases import Case
from opdsl.migrate.neuralop.importing import from_neuralop

NATIVE = {"gno_use_torch_scatter": False, "gno_use_open3d": False}
NATIVE_LAYER = {"use_torch_scatter_reduce": False, "use_open3d_neighbor_search": False}


def pair(case: Case) -> dict[str, nn.Module]:
    """Both, by name."""
    (count,) = case.grid
    dims = case.named.get("coord_dim") or case.named["gno_coord_dim"]
    cloud = torch.rand(count, dims)
    if case.kind == "GNO":
        from neuralop.layers.gno_block import GNOBlock

        named = case.named | {"channel_mlp_layers": list(case.named["channel_mlp_layers"])}
        layer = GNOBlock(**named, **NATIVE_LAYER)
        _, ours = from_neuralop(layer)
        return {"reference": TheirLayer(layer, cloud), "ours": Ours(ours, cloud)}
    from neuralop.models import GINO

    latent = case.more["latent"]
    model = GINO(**case.named, **NATIVE)
    _, ours = from_neuralop(model, latent=latent)
    line = torch.linspace(0, 1, latent)
    grid = torch.stack(torch.meshgrid(*[line] * dims, indexing="ij"), -1)
    return {"reference": TheirModel(model, cloud, grid), "ours": Ours(ours, cloud)}


class Ours(nn.Module):
    """Ours, whose results are where its input is."""

    def __init__(self, module: nn.Module, cloud: Tensor) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("cloud", cloud)
        self.asked = tuple(x.name for x in module.graph.side_inputs())

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, points) -> (batch, out, points)."""
        return self.module(x, **dict.fromkeys(self.asked, self.cloud))


class TheirModel(nn.Module):
    """GINO as it comes."""

    def __init__(self, module: nn.Module, cloud: Tensor, grid: Tensor) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("cloud", cloud[None])
        self.register_buffer("grid", grid[None])

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, points) -> (batch, out, points)."""
        y = self.module(self.cloud, self.grid, self.cloud, x=x.movedim(1, -1))
        return y.movedim(-1, 1)


class TheirLayer(nn.Module):
    """GNOBlock behind its search, with a fast sum."""

    def __init__(self, layer: nn.Module, cloud: Tensor) -> None:
        super().__init__()
        from neuralop.layers import integral_transform

        integral_transform.segment_csr = added
        self.layer = layer
        self.neighbours = layer.neighbor_search(data=cloud, queries=cloud, radius=layer.radius)
        self.register_buffer("cloud", cloud)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, c, points) -> (batch, c, points)."""
        at = self.layer.pos_embedding(self.cloud)
        y = self.layer.integral_transform(
            y=at, x=at, neighbors=self.neighbours, f_y=x.movedim(1, -1)
        )
        return y.movedim(-1, 1)


def added(src: Tensor, indptr: Tensor, reduction: str, use_scatter: Any = None) -> Tensor:
    """Their `segment_csr` without a loop: (batch, edges, c), the splits of all samples equal."""
    del use_scatter
    counts = indptr[0].diff() if indptr.ndim == 2 else indptr.diff()
    axis = src.ndim - 2
    where = torch.repeat_interleave(torch.arange(len(counts)), counts)
    total = src.new_zeros(*src.shape[:axis], len(counts), src.shape[-1])
    total = total.index_add(axis, where, src)
    return total / counts.clamp(min=1)[:, None] if reduction == "mean" else total
