"""A kernel sum one chunk of pairs after the other, with its gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from opdsl.nn.kernels.pairs import PairSum
from opdsl.nn.layers.pointwise import ACTIVATIONS
from opdsl.nn.points.integral.sum_terms import (
    ActivationFunction,
    DenseLayer,
    KernelSum,
    unchunked_sum,
)
from opdsl.nn.points.neighbours.search import Pairs
from opdsl.nn.precision import wide

CPU_CHUNK = 2 << 20  # bytes of a chunk's widest layer on a CPU, for each thread
ACCELERATOR_CHUNK = 128 << 20  # the same on other devices, which large tensors keep busy
MAX_SAVED = 512 << 20  # bytes of layers that are saved for the gradient


class ChunkedSum(torch.autograd.Function):
    """Autograd function of a kernel sum, one chunk of pairs after the other."""

    @staticmethod
    def forward(
        ctx: Any,
        sum_: KernelSum,
        at_points: Tensor,
        at_queries: Tensor,
        values: Tensor | None,
        weights: Tensor | None,
        *flat: Tensor,
    ) -> Tensor:
        """See `unchunked_sum`."""
        arguments = (at_points, at_queries, values, weights, *flat)
        zeros = sum_.empty(at_points, values, flat)
        kernels = _compiled(sum_, arguments)
        total, hidden = (
            kernels.total(zeros, keep=sum_.keep) if kernels else _total(sum_, arguments, zeros)
        )
        ctx.sum, ctx.given = sum_, len(arguments)
        ctx.save_for_backward(*arguments, *hidden)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of all tensor arguments."""
        arguments, hidden = ctx.saved_tensors[: ctx.given], ctx.saved_tensors[ctx.given :]
        needed = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():  # under `create_graph`: chunks have no second derivative
            return (None, *_differentiable(ctx.sum, arguments, needed, grad))
        kernels = _compiled(ctx.sum, arguments)
        if kernels:
            return (None, *kernels.gradients(grad.contiguous(), hidden, needed))
        return (None, *_gradients(ctx.sum, arguments, hidden, needed, grad))


def _compiled(sum_: KernelSum, given: Sequence[Any]) -> PairSum | None:
    """Return the sum for the compiled kernels; None if they do not support it."""
    # the kernels see addresses only, so strides must be those of C
    own: list[Any] = [x if x is None else x.contiguous() for x in given]
    at_points, at_queries, values, weights, *flat = own
    act = next((name for name, act in ACTIVATIONS.items() if act is sum_.act), "")
    result = PairSum(
        sum_.pairs, act, at_points, at_queries, values, weights, tuple(flat), last=sum_.last
    )
    return result if result.fits() else None


def _total(sum_: KernelSum, given: Sequence[Any], total: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Add the sum to `total`; return it and the hidden layers to save."""
    at_points, at_queries, values, weights, *flat = given
    inner, last = sum_.layers(flat)
    saved: list[Tensor] = []
    for chunk in _chunks(sum_, at_points, values, flat):
        hidden = chunk.hidden(at_points, at_queries, inner, sum_.act)
        v, w = chunk.at_points(values), chunk.at_pairs(weights)
        result, owners = sum_.terms(hidden[-1], chunk.queries, v, w, last)
        total.index_add_(0, owners, result.to(total.dtype))
        saved += hidden if sum_.keep else []
    return total, saved


def _differentiable(
    sum_: KernelSum, given: Sequence[Any], needed: Sequence[bool], grad: Tensor
) -> Iterator[Tensor | None]:
    """Compute gradients that can be differentiated again."""
    # views, so that a gradient does not flow through one argument into another one
    own: list[Any] = [None if x is None else x.view_as(x) for x in given]
    targets = [x for x, need in zip(own, needed, strict=True) if need]
    total = unchunked_sum(sum_, *own)
    result = iter(torch.autograd.grad(total, targets, grad, create_graph=True))
    return (next(result) if need else None for need in needed)


def _gradients(
    sum_: KernelSum,
    given: Sequence[Any],
    kept: Sequence[Tensor],
    needed: Sequence[bool],
    grad: Tensor,
) -> list[Tensor | None]:
    at_points, at_queries, values, weights, *flat = given
    inner, last = sum_.layers(flat)
    result = [_zeros(x) if need else None for x, need in zip(given, needed, strict=True)]
    saved = iter(kept)
    for chunk in _chunks(sum_, at_points, values, flat):
        if kept:
            hidden = [next(saved) for _ in range(len(inner) + 1)]
        else:
            hidden = chunk.hidden(at_points, at_queries, inner, sum_.act)
        v, w = chunk.at_points(values), chunk.at_pairs(weights)
        x, to_v, to_w, *to_last = _term_gradients(sum_, hidden[-1], chunk.queries, v, w, last, grad)
        if last is not None:
            _add(result[-2:], to_last)
        for i in reversed(range(len(inner))):
            x = _layer_gradients(sum_.act, hidden[i], inner[i][0], x, result[4 + 2 * i : 6 + 2 * i])
        _add_at(result[0], chunk.points, x)
        _add_at(result[1], chunk.queries, x.sum(1))
        _add_at(result[2], chunk.points, to_v)
        if result[3] is not None and to_w is not None:
            result[3][chunk.span] = to_w.to(result[3].dtype)
    return [None if x is None else x.to(y.dtype) for x, y in zip(result, given, strict=True)]


def _term_gradients(
    sum_: KernelSum,
    x: Tensor,
    queries: Tensor,
    v: Tensor | None,
    w: Tensor | None,
    last: DenseLayer | None,
    grad: Tensor,
) -> Iterator[Any]:
    """Yield gradients of the last hidden layer, the values, the weights, and the last layer."""
    with torch.enable_grad():
        leaves = [y if y is None else y.detach().requires_grad_() for y in (x, v, w, *(last or ()))]
        own = (leaves[3], leaves[4]) if last else None
        result, owners = sum_.terms(leaves[0], queries, leaves[1], leaves[2], own)  # type: ignore[arg-type]  # x is a tensor
    upstream = grad.index_select(0, owners).to(result.dtype)
    gradients = iter(torch.autograd.grad(result, [y for y in leaves if y is not None], upstream))
    return (None if y is None else next(gradients) for y in leaves)


def _layer_gradients(
    act: ActivationFunction, x: Tensor, weight: Tensor, grad: Tensor, made: Sequence[Tensor | None]
) -> Tensor:
    """Return the gradient of a hidden layer before its activation; add to those of its weights."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        h = act(x.to(weight.dtype))
    rows = grad.flatten(0, -2)
    _add(made, (rows.T @ h.detach().flatten(0, -2), rows.sum(0)))
    (result,) = torch.autograd.grad(h, x, grad @ weight)
    return result


def _add(made: Sequence[Tensor | None], more: Sequence[Tensor]) -> None:
    for x, y in zip(made, more, strict=True):
        if x is not None:
            x.add_(y)


def _add_at(made: Tensor | None, rows: Tensor, more: Tensor | None) -> None:
    if made is not None and more is not None:
        made.index_add_(0, rows, more.to(made.dtype))


def _zeros(x: Tensor) -> Tensor:
    return torch.zeros_like(x, dtype=wide(x))


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Chunk of consecutive pairs.

    Attributes:
        span: their slice of all pairs.
        points, queries: indices of each pair.
    """

    span: slice
    points: Tensor
    queries: Tensor

    def hidden(
        self,
        at_points: Tensor,
        at_queries: Tensor,
        inner: Sequence[DenseLayer],
        act: ActivationFunction,
    ) -> list[Tensor]:
        """Compute the hidden layers before their activation, each (pairs, batch or 1, h)."""
        x = at_points.index_select(0, self.points)
        x += at_queries.index_select(0, self.queries)[:, None]
        result = [x]
        for weight, bias in inner:
            x = functional.linear(act(x.to(weight.dtype)), weight, bias)
            result.append(x)
        return result

    def at_points(self, x: Tensor | None) -> Tensor | None:
        """Gather values of points for each pair of the chunk."""
        return None if x is None else x.index_select(0, self.points)

    def at_pairs(self, x: Tensor | None) -> Tensor | None:
        """Select the values of the pairs of the chunk."""
        return None if x is None else x[self.span]


def _chunks(
    sum_: KernelSum, at_points: Tensor, values: Tensor | None, flat: Sequence[Tensor]
) -> Iterator[_Chunk]:
    """Split all pairs so that the widest layer of a chunk has a bound."""
    pairs, batch = sum_.pairs, at_points.shape[1]
    widths = [batch * x for x in _widths(at_points, flat)]
    if values is not None:
        widths.append(values.shape[1] * values.shape[2])
    if sum_.outer:
        per_query = max(1, len(pairs) // max(1, len(pairs.counts)))  # pairs of a query
        widths.append(widths[-1] * widths[-2] // per_query)
    bound = (
        CPU_CHUNK * torch.get_num_threads() if at_points.device.type == "cpu" else ACCELERATOR_CHUNK
    )
    size = max(1, bound // (max(widths) * at_points.element_size()))
    for at in range(0, len(pairs), size):
        span = slice(at, at + size)
        yield _Chunk(span, pairs.points[span], pairs.queries[span])


def _widths(at_points: Tensor, flat: Sequence[Tensor]) -> list[int]:
    """List the widths of the hidden layers."""
    return [at_points.shape[-1], *(x.shape[0] for x in flat[::2])]


def fits_in_memory(pairs: Pairs, at_points: Tensor, flat: Sequence[Tensor]) -> bool:
    """Return whether the layers of all pairs may be saved for the gradient."""
    numbers = len(pairs) * at_points.shape[1] * sum(_widths(at_points, flat))
    return numbers * at_points.element_size() <= MAX_SAVED
