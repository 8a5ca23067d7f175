"""Sums over neighbours of what a network makes of a query, a point and the function there.

What comes in: the first layer's results at points and at queries, values at points, and pairs. What
goes out: at each query the sum. No loop runs over points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from opdsl.nn.neighbours import Pairs
from opdsl.nn.precision import wide

Layer = tuple[Tensor, Tensor]  # weight (out, in) and bias (out,)


@dataclass(frozen=True, slots=True)
class Terms:
    """What is added up.

    Attributes:
        at_points: (n, batch or 1, h), the first layer's result but for what the query adds.
        at_queries: (m, h), what it adds.
        values: (n, batch, c), what the kernel multiplies; None: nothing.
        weights: (pairs,), what each pair counts; None: one.
    """

    at_points: Tensor
    at_queries: Tensor
    values: Tensor | None = None
    weights: Tensor | None = None


def kernel_sum(
    terms: Terms,
    pairs: Pairs,
    layers: Sequence[Layer],
    act: Callable[[Tensor], Tensor],
    *,
    full: bool,
) -> Tensor:
    """Sum over neighbours y of k(x, y) v(y), or of k(x, y) where there are no values.

    Args:
        terms: of it.
        pairs: of queries and points.
        layers: of the network, behind the first.
        act: before each of them.
        full: whether k is a matrix, out x c, in one row.

    Returns:
        (m, batch or 1, out).
    """
    *inner, (weight, bias) = layers
    hidden = _hidden(terms, pairs, inner, act)
    if terms.values is None:
        return _behind(hidden, terms, pairs, weight, bias)
    if full:
        return _full(hidden, terms, pairs, weight, bias)
    kernel = functional.linear(hidden, weight, bias)
    found = kernel * terms.values[pairs.points]
    return _summed(_weighed(found, terms.weights), pairs)


def _hidden(
    terms: Terms, pairs: Pairs, inner: Sequence[Layer], act: Callable[[Tensor], Tensor]
) -> Tensor:
    """What the last layer is given: (pairs, batch or 1, h)."""
    x = terms.at_points[pairs.points] + terms.at_queries[pairs.queries][:, None]
    for weight, bias in inner:
        x = functional.linear(act(x.to(weight.dtype)), weight, bias)
    return act(x)


def _behind(hidden: Tensor, terms: Terms, pairs: Pairs, weight: Tensor, bias: Tensor) -> Tensor:
    """The last layer commutes with the sum."""
    total = _summed(_weighed(hidden, terms.weights), pairs)
    return functional.linear(total, weight) + _mass(terms, pairs, total)[:, None, None] * bias


def _full(hidden: Tensor, terms: Terms, pairs: Pairs, weight: Tensor, bias: Tensor) -> Tensor:
    assert terms.values is not None
    values = _weighed(terms.values[pairs.points], terms.weights)
    outer = hidden[..., :, None] * values[..., None, :]  # (pairs, batch, h, c)
    c = values.shape[-1]
    total = _summed(outer.flatten(2), pairs)  # (m, batch, h * c)
    plain = _summed(values, pairs)
    rows = weight.reshape(-1, c, weight.shape[1]).transpose(1, 2).flatten(1)  # (out, h * c)
    return functional.linear(total, rows) + plain @ bias.reshape(-1, c).T


def _mass(terms: Terms, pairs: Pairs, like: Tensor) -> Tensor:
    """What the neighbours of each query count together: (m,)."""
    if terms.weights is None:
        return pairs.counts.to(like.dtype)
    return _summed(terms.weights, pairs).to(like.dtype)


def _weighed(x: Tensor, weights: Tensor | None) -> Tensor:
    return x if weights is None else x * weights[:, None, None].to(x.dtype)


def _summed(x: Tensor, pairs: Pairs) -> Tensor:
    """(pairs, ...) -> (m, ...); many numbers are added up, so in single precision at least."""
    total = x.new_zeros(len(pairs.counts), *x.shape[1:], dtype=wide(x))
    return total.index_add(0, pairs.queries, x.to(total.dtype)).to(x.dtype)
