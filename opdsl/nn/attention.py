"""Attention between the points of domains; channels-last, on any grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from opdsl.nn.grid import Ragged, Size
from opdsl.nn.pointwise import Linear


class Attention(nn.Module):
    """Points that ask look at points that answer; one set of both if nothing else is given."""

    def __init__(self, asking: int, answering: int, heads: int, kind: str) -> None:
        super().__init__()
        self.heads, self.look = heads, LOOKS[kind]
        self.query = Linear(asking, asking)
        self.key = Linear(answering, asking)
        self.value = Linear(answering, asking)
        self.out = Linear(asking, asking)
        normed = kind == "galerkin"
        each = asking // heads
        self.norm_key = nn.LayerNorm(each) if normed else nn.Identity()
        self.norm_value = nn.LayerNorm(each) if normed else nn.Identity()

    def forward(self, x: Tensor, y: Tensor | None = None, ragged: Ragged = ()) -> Tensor:
        """(batch, *grid, asking) and (batch, *other, answering) -> (batch, *grid, asking)."""
        seen = x if y is None else y
        q = self._split(self.query(x))
        k, v = self.norm_key(self._split(self.key(seen))), self._split(self.value(seen))
        v = self.norm_value(v)
        w = self._of_each(q, k, v, ragged) if ragged else self._look(q, k, v)
        mixed: Tensor = self.out(w.transpose(1, 2).reshape(len(w), *x.shape[1:]))
        return mixed

    def _look(self, *seen: Tensor) -> Tensor:
        """What depends on no input has a batch of one, and meets every sample."""
        batch = max(z.shape[0] for z in seen)
        return self.look(*(z.expand(batch, -1, -1, -1) for z in seen))

    def _of_each(self, q: Tensor, k: Tensor, v: Tensor, ragged: Ragged) -> Tensor:
        """The points of each sample among themselves: packed, or a sample's own row."""
        count = next(len(x) for x in ragged if x)
        asking, answering = ragged[0], ragged[-2]
        parts = zip(
            _samples(q, asking, count),
            _samples(k, answering, count),
            _samples(v, answering, count),
            strict=True,
        )
        return torch.cat([self.look(*x) for x in parts], 2 if asking else 0)

    def _split(self, x: Tensor) -> Tensor:
        """(batch, *grid, c) -> (batch, heads, points, c / heads)."""
        return x.reshape(x.shape[0], -1, self.heads, x.shape[-1] // self.heads).transpose(1, 2)


def _samples(x: Tensor, sizes: Size | None, count: int) -> Sequence[Tensor]:
    """(1, heads, points of all samples, d) or (samples or 1, heads, points, d), one by one."""
    if sizes:
        return torch.split(x, list(sizes), 2)
    return torch.split(x.expand(count, -1, -1, -1), 1)


def _softmax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(q, k, v)


def _galerkin(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return q @ (k.transpose(-1, -2) @ v / k.shape[-2])


def _linear(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k = functional.elu(q) + 1, functional.elu(k) + 1
    total = q @ k.mean(-2, keepdim=True).transpose(-1, -2)
    return q @ (k.transpose(-1, -2) @ v / k.shape[-2]) / total


LOOKS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "softmax": _softmax,
    "galerkin": _galerkin,
    "linear": _linear,
}
