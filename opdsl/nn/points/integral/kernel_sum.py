"""Sums over neighbours of what a network makes of a query, a point and the function there.

What comes in: the first layer's results at points and at queries, values at points, and pairs. What
goes out: at each query the sum. No loop runs over points: pairs are taken a chunk at a time, so
that a chunk's layers stay in the cache and the memory for them has a bound. For the gradient they
are kept if they are small, else computed again. Where there are kernels for it, they do a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from opdsl.nn.points.integral.chunked_sum import ChunkedSum, fits_in_memory
from opdsl.nn.points.integral.sum_terms import (
    ActivationFunction,
    DenseLayer,
    KernelSum,
    unchunked_sum,
)
from opdsl.nn.points.neighbours.search import Pairs
from opdsl.nn.precision import no_autocast


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
    terms: Terms, pairs: Pairs, layers: Sequence[DenseLayer], act: ActivationFunction, *, full: bool
) -> Tensor:
    """The sum over neighbours y of k(x, y) v(y), or of k(x, y) where there are no values.

    Derivatives of derivatives are those of the same sum without chunks, so they need the memory of
    all pairs.

    Args:
        terms: of it.
        pairs: of queries and points.
        layers: of the network, behind the first.
        act: before each of them.
        full: whether k is a matrix, out x c, in one row.

    Returns:
        (m, batch or 1, out).
    """
    dtype = _compute_dtype(terms.at_points, layers[0][0].dtype)
    values, weights = (None if x is None else x.to(dtype) for x in (terms.values, terms.weights))
    narrow = [(w.to(dtype), b.to(dtype)) for w, b in layers]
    diagonal = values is not None and not full
    at_pairs = narrow if diagonal else narrow[:-1]
    flat = [y.contiguous() for x in at_pairs for y in x]
    keep = torch.is_grad_enabled() and fits_in_memory(pairs, terms.at_points, flat)
    sum_ = KernelSum(pairs, act, outer=full, last=diagonal, keep=keep)
    tensors = (sum_, terms.at_points, terms.at_queries, values, weights, *flat)
    with no_autocast(terms.at_points):
        run: Callable[..., Tensor] = (
            unchunked_sum if torch.compiler.is_compiling() else ChunkedSum.apply
        )
        total = run(*tensors)
        found = total if diagonal else _last_layer(total, *layers[-1], full=full)
    return found.to(dtype)


def _compute_dtype(x: Tensor, dtype: torch.dtype) -> torch.dtype:
    """The format in which layers run, which autocast may choose."""
    kind = x.device.type
    chosen = torch.is_autocast_enabled(kind) and dtype == torch.float32
    return torch.get_autocast_dtype(kind) if chosen else dtype


def _last_layer(total: Tensor, weight: Tensor, bias: Tensor, *, full: bool) -> Tensor:
    """The last layer behind the sum, with which it commutes.

    Args:
        total: (m, batch, h + 1), or (m, batch, c * (h + 1)), the bias' factor last of the h + 1.
        weight, bias: of the layer.
        full: whether its results are a matrix, (out, c).
    """
    rows = torch.cat((weight, bias[:, None]), 1).to(total.dtype)
    if full:
        rows = rows.reshape(-1, total.shape[-1])
    return functional.linear(total, rows)
