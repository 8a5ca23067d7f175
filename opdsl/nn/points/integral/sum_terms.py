"""Terms of a kernel sum, and the sum over all pairs at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from opdsl.nn.points.neighbours.search import Pairs
from opdsl.nn.precision import wide

ActivationFunction = Callable[[Tensor], Tensor]
DenseLayer = tuple[Tensor, Tensor]  # weight (out, in) and bias (out,)


@dataclass(frozen=True, slots=True)
class KernelSum:
    """Pairs, activation and strategy of a kernel sum.

    Attributes:
        outer: whether terms are v h^T, h the last hidden layer.
        last: whether the last layer is applied at each pair; else h has a 1 appended for its bias.
        keep: whether hidden layers are saved for the gradient.
    """

    pairs: Pairs
    act: ActivationFunction
    outer: bool
    last: bool
    keep: bool

    def layers(self, flat: Sequence[Tensor]) -> tuple[list[DenseLayer], DenseLayer | None]:
        """Return the layers between hidden layers, and the last one if it acts at each pair."""
        result = list(zip(flat[::2], flat[1::2], strict=True))
        return (result[:-1], result[-1]) if self.last else (result, None)

    def empty(self, at_points: Tensor, values: Tensor | None, flat: Sequence[Tensor]) -> Tensor:
        """Make zeros for the result, in float32 at least, because many numbers are added up."""
        h = flat[-1].shape[0] if flat else at_points.shape[-1]
        batch = at_points.shape[1] if values is None else values.shape[1]
        c = 1 if values is None or self.last else values.shape[-1]
        width = h if self.last else (h + 1) * c
        like = flat[0] if flat else at_points
        return at_points.new_zeros(len(self.pairs.counts), batch, width, dtype=wide(like))

    def terms(
        self,
        x: Tensor,
        queries: Tensor,
        v: Tensor | None,
        w: Tensor | None,
        last: DenseLayer | None,
    ) -> tuple[Tensor, Tensor]:
        """Compute the summands, (terms, batch, width), and the query of each.

        Args:
            x: (pairs, batch or 1, h), the last hidden layer before its activation.
            queries: (pairs,), sorted.
            v: (pairs, batch, c).
            w: (pairs,).
            last: the last layer, if it is applied here.
        """
        h = self.act(x if v is None else x.to(v.dtype))
        if last is not None:
            assert v is not None
            return _scale_pairs(functional.linear(h, *last) * v, w), queries
        h = torch.cat((h, h.new_ones(*h.shape[:-1], 1)), -1)
        if not self.outer:
            return _scale_pairs(h, w), queries
        assert v is not None
        return _outer(h, _scale_pairs(v, w), queries)


def _scale_pairs(x: Tensor, weights: Tensor | None) -> Tensor:
    return x if weights is None else x * weights[:, None, None]


def _outer(h: Tensor, v: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Sum v h^T over some neighbours of a query each: (rows, batch, c * h), and that query.

    The pairs of a query fill rows of equal length, the last of them with zeros, so that the sums
    are matrix products.
    """
    owners, counts = torch.unique_consecutive(queries, return_counts=True)
    slots = max(1, -(-len(queries) // max(1, len(owners))))  # as many as a query usually has
    rows = (counts + slots - 1) // slots
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    number = torch.arange(len(queries), device=queries.device) - starts
    target = torch.repeat_interleave(rows.cumsum(0) - rows, counts) * slots + number
    length = int(rows.sum()) * slots
    padded = [
        x.new_zeros(length, *x.shape[1:]).index_copy(0, target, x).reshape(-1, slots, *x.shape[1:])
        for x in (h, v)
    ]
    result = torch.einsum("rsbh,rsbc->rbch", *padded).flatten(2)
    return result, torch.repeat_interleave(owners, rows)


def unchunked_sum(
    sum_: KernelSum,
    at_points: Tensor,
    at_queries: Tensor,
    values: Tensor | None,
    weights: Tensor | None,
    *flat: Tensor,
) -> Tensor:
    """Sum over all pairs at once, by operations that can be traced and differentiated twice."""
    inner, last = sum_.layers(flat)
    points, queries = sum_.pairs.points, sum_.pairs.queries
    x = at_points[points] + at_queries[queries][:, None]
    for weight, bias in inner:
        x = functional.linear(sum_.act(x.to(weight.dtype)), weight, bias)
    v = None if values is None else values[points]
    result, owners = sum_.terms(x, queries, v, weights, last)
    total = sum_.empty(at_points, values, flat)
    return total.index_add(0, owners, result.to(total.dtype))
