"""Attention between the points of domains; channels-last, on any grid."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

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

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(batch, *grid, asking) and (batch, *other, answering) -> (batch, *grid, asking)."""
        seen = x if y is None else y
        batch = max(x.shape[0], seen.shape[0])  # what depends on no input has a batch of one
        q = self._split(self.query(x))
        k, v = self.norm_key(self._split(self.key(seen))), self._split(self.value(seen))
        w = self.look(*(z.expand(batch, -1, -1, -1) for z in (q, k, self.norm_value(v))))
        mixed: Tensor = self.out(w.transpose(1, 2).reshape(batch, *x.shape[1:]))
        return mixed

    def _split(self, x: Tensor) -> Tensor:
        """(batch, *grid, c) -> (batch, heads, points, c / heads)."""
        return x.reshape(x.shape[0], -1, self.heads, x.shape[-1] // self.heads).transpose(1, 2)


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
