"""Sums over neighbours of a kernel network: sum over y of k(x, y, v(y)) v(y).

There is no loop over points: pairs are processed in chunks, so that the layers of a chunk stay in
the cache and their memory has a bound. For the gradient they are saved if they are small, else
computed again.
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
    """Inputs of a kernel sum.

    Attributes:
        at_points: (n, batch or 1, h), the first layer's result but for the part of the query.
        at_queries: (m, h), that part.
        values: (n, batch, c), multiplied by the kernel; None: the kernel alone is summed.
        weights: (pairs,), weight of each pair; None: one.
    """

    at_points: Tensor
    at_queries: Tensor
    values: Tensor | None = None
    weights: Tensor | None = None


def kernel_sum(
    terms: Terms, pairs: Pairs, layers: Sequence[DenseLayer], act: ActivationFunction, *, full: bool
) -> Tensor:
    """Sum k(x, y) v(y) over the neighbours y of each x, or k(x, y) where there are no values.

    Second derivatives are computed without chunks, so they need the memory of all pairs.

    Args:
        terms: inputs of the sum.
        pairs: of queries and points.
        layers: of the network, behind the first.
        act: before each of them.
        full: whether k is a matrix, out x c, in one row.

    Returns:
        (m, batch or 1, out).
    """
    dtype = _compute_dtype(terms.at_points, layers[0][0].dtype)
    values, weights = (None if x is None else x.to(dtype) for x in (terms.values, terms.weights))
    cast_layers = [(w.to(dtype), b.to(dtype)) for w, b in layers]
    diagonal = values is not None and not full
    at_pairs = cast_layers if diagonal else cast_layers[:-1]
    flat = [y.contiguous() for x in at_pairs for y in x]
    keep = torch.is_grad_enabled() and fits_in_memory(pairs, terms.at_points, flat)
    sum_ = KernelSum(pairs, act, outer=full, last=diagonal, keep=keep)
    tensors = (sum_, terms.at_points, terms.at_queries, values, weights, *flat)
    with no_autocast(terms.at_points):
        run: Callable[..., Tensor] = (
            unchunked_sum if torch.compiler.is_compiling() else ChunkedSum.apply
        )
        total = run(*tensors)
        result = total if diagonal else _last_layer(total, *layers[-1], full=full)
    return result.to(dtype)


def _compute_dtype(x: Tensor, dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of the layers, which autocast may choose."""
    kind = x.device.type
    chosen = torch.is_autocast_enabled(kind) and dtype == torch.float32
    return torch.get_autocast_dtype(kind) if chosen else dtype


def _last_layer(total: Tensor, weight: Tensor, bias: Tensor, *, full: bool) -> Tensor:
    """Apply the last layer to the sum, with which it commutes.

    Args:
        total: (m, batch, h + 1), or (m, batch, c * (h + 1)), the factor of the bias last.
        weight, bias: of the layer.
        full: whether its results are a matrix, (out, c).
    """
    rows = torch.cat((weight, bias[:, None]), 1).to(total.dtype)
    if full:
        rows = rows.reshape(-1, total.shape[-1])
    return functional.linear(total, rows)
