"""Attention between the points of domains; channels-last, on any grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from opdsl.nn.layers.pointwise import Linear
from opdsl.nn.points.geometry import Geometries
from opdsl.nn.shapes import RaggedSizes, Size


class Attention(nn.Module):
    """Attention of query points to source points; without a second input, of a function to itself.

    Args:
        asking: channels of the queries, and of the result.
        answering: channels of the sources.
        heads: number of parts that the channels are split into.
        kind: a key of `ATTENTION_KERNELS`.
        measure: quadrature weights of the sources; None: all count the same.
    """

    def __init__(
        self, asking: int, answering: int, heads: int, kind: str, measure: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.measure = measure
        self.heads, self.look = heads, ATTENTION_KERNELS[kind]
        self.query = Linear(asking, asking)
        self.key = Linear(answering, asking)
        self.value = Linear(answering, asking)
        self.out = Linear(asking, asking)
        normed = kind == "galerkin"
        head_channels = asking // heads
        self.norm_key = nn.LayerNorm(head_channels) if normed else nn.Identity()
        self.norm_value = nn.LayerNorm(head_channels) if normed else nn.Identity()

    def forward(
        self,
        x: Tensor,
        y: Tensor | None = None,
        asked: tuple[Geometries, ...] = (),
        ragged: RaggedSizes = (),
    ) -> Tensor:
        """(batch, *grid, asking) and (batch, *other, answering) -> (batch, *grid, asking).

        Args:
            x: the queries.
            y: the sources; None: `x`.
            asked: coordinates of the sources, if they have a measure.
            ragged: the points of each sample where they are packed.
        """
        source = x if y is None else y
        q = self._split(self.query(x))
        k, v = self.norm_key(self._split(self.key(source))), self._split(self.value(source))
        v, weights = self.norm_value(v), self._weights(asked, v)
        w = self._of_each(q, k, v, weights, ragged) if ragged else self._look(q, k, v, weights)
        result: Tensor = self.out(w.transpose(1, 2).reshape(len(w), *x.shape[1:]))
        return result

    def _weights(self, asked: tuple[Geometries, ...], like: Tensor) -> tuple[Tensor, ...]:
        """Return weights (1, 1, n, 1) of mean one, per sample or shared; none without a measure."""
        if self.measure is None:
            return ()
        return tuple((w / w.mean())[None, None, :, None] for w in self.measure(asked[0], like))

    def _look(self, q: Tensor, k: Tensor, v: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """Attend, with tensors that depend on no input (a batch of one) expanded to all samples."""
        batch = max(len(q), len(k), len(v), len(weights))
        w = torch.cat(weights) if weights else None
        q, k, v = (z.expand(batch, -1, -1, -1) for z in (q, k, v))
        return self.look(q, k, v, w)

    def _of_each(
        self, q: Tensor, k: Tensor, v: Tensor, weights: tuple[Tensor, ...], ragged: RaggedSizes
    ) -> Tensor:
        """Attend within each sample, whether its points are packed or a row of the batch."""
        count = next(len(x) for x in ragged if x)
        query_sizes, source_sizes = ragged[0], ragged[-2]
        per_sample = weights if len(weights) == count else (weights or (None,)) * count
        parts = zip(
            _split_samples(q, query_sizes, count),
            _split_samples(k, source_sizes, count),
            _split_samples(v, source_sizes, count),
            per_sample,
            strict=True,
        )
        return torch.cat([self.look(*x) for x in parts], 2 if query_sizes else 0)

    def _split(self, x: Tensor) -> Tensor:
        """Split into heads: (batch, *grid, c) -> (batch, heads, points, c / heads)."""
        return x.reshape(x.shape[0], -1, self.heads, x.shape[-1] // self.heads).transpose(1, 2)


def _split_samples(x: Tensor, sizes: Size | None, count: int) -> Sequence[Tensor]:
    """Split (1, heads, points of all samples, d) or (samples or 1, heads, points, d) by samples."""
    if sizes:
        return torch.split(x, list(sizes), 2)
    return torch.split(x.expand(count, -1, -1, -1), 1)


def _softmax(q: Tensor, k: Tensor, v: Tensor, w: Tensor | None) -> Tensor:
    """Softmax attention; weights in the integral are their logarithms added to the scores."""
    mask = None if w is None else w.log().transpose(-1, -2)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def _galerkin(q: Tensor, k: Tensor, v: Tensor, w: Tensor | None) -> Tensor:
    return q @ (k.transpose(-1, -2) @ _weighted(v, w) / k.shape[-2])


def _linear(q: Tensor, k: Tensor, v: Tensor, w: Tensor | None) -> Tensor:
    q, k = functional.elu(q) + 1, functional.elu(k) + 1
    total = q @ _weighted(k, w).mean(-2, keepdim=True).transpose(-1, -2)
    return q @ (k.transpose(-1, -2) @ _weighted(v, w) / k.shape[-2]) / total


def _weighted(x: Tensor, w: Tensor | None) -> Tensor:
    return x if w is None else x * w


ATTENTION_KERNELS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]] = {
    "softmax": _softmax,
    "galerkin": _galerkin,
    "linear": _linear,
}
