"""Sums over neighbours of what a network makes of a query, a point and the function there.

What comes in: the first layer's results at points and at queries, values at points, and pairs. What
goes out: at each query the sum. No loop runs over points: pairs are taken a chunk at a time, so
that a chunk's layers stay in the cache and the memory for them has a bound. For the gradient they
are kept if they are small, else computed again. Where there are kernels for it, they do a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from opdsl.nn.kernels.pairs import PairSum
from opdsl.nn.layers.pointwise import ACTIVATIONS
from opdsl.nn.points.neighbours.search import Pairs
from opdsl.nn.precision import no_autocast, wide

CPU_CHUNK = 2 << 20  # bytes of a chunk's widest layer on a CPU, for each thread
ACCELERATOR_CHUNK = 128 << 20  # the same on other devices, which are fast at what is large
MAX_SAVED = 512 << 20  # bytes of layers that are kept for the gradient

ActivationFunction = Callable[[Tensor], Tensor]
DenseLayer = tuple[Tensor, Tensor]  # weight (out, in) and bias (out,)


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
    keep = torch.is_grad_enabled() and _fits_in_memory(pairs, terms.at_points, flat)
    sum_ = _Sum(pairs, act, outer=full, last=diagonal, keep=keep)
    tensors = (sum_, terms.at_points, terms.at_queries, values, weights, *flat)
    with no_autocast(terms.at_points):
        run: Callable[..., Tensor] = _plain if torch.compiler.is_compiling() else _Chunked.apply
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


# ------------------------------------------------------------------- the sum, and its terms


@dataclass(frozen=True, slots=True)
class _Sum:
    """How it is done.

    Attributes:
        outer: whether terms are v h^T, h the last hidden layer.
        last: whether the last layer is done for each pair; else h has a 1 behind it for its bias.
        keep: whether hidden layers are kept for the gradient.
    """

    pairs: Pairs
    act: ActivationFunction
    outer: bool
    last: bool
    keep: bool

    def layers(self, flat: Sequence[Tensor]) -> tuple[list[DenseLayer], DenseLayer | None]:
        """Those between hidden layers, and the last."""
        found = list(zip(flat[::2], flat[1::2], strict=True))
        return (found[:-1], found[-1]) if self.last else (found, None)

    def empty(self, at_points: Tensor, values: Tensor | None, flat: Sequence[Tensor]) -> Tensor:
        """Zeros for the result, in single precision at least, as many numbers are added up."""
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
        """What is added up, (terms, batch, width), and to which queries.

        Args:
            x: (pairs, batch or 1, h), what the last hidden layer is of before it is activated.
            queries: (pairs,), sorted.
            v: (pairs, batch, c).
            w: (pairs,).
            last: the last layer, if it belongs here.
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
    """Sums of v h^T over some neighbours of a query each: (rows, batch, c * h), and its number.

    The pairs of a query fill rows of equal length, the last of them with zeros, so that the sums
    are matrix products.
    """
    owners, counts = torch.unique_consecutive(queries, return_counts=True)
    slots = max(1, -(-len(queries) // max(1, len(owners))))  # as many as a query usually has
    rows = (counts + slots - 1) // slots
    firsts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    number = torch.arange(len(queries), device=queries.device) - firsts
    spot = torch.repeat_interleave(rows.cumsum(0) - rows, counts) * slots + number
    length = int(rows.sum()) * slots
    filled = [
        x.new_zeros(length, *x.shape[1:]).index_copy(0, spot, x).reshape(-1, slots, *x.shape[1:])
        for x in (h, v)
    ]
    found = torch.einsum("rsbh,rsbc->rbch", *filled).flatten(2)
    return found, torch.repeat_interleave(owners, rows)


def _plain(
    sum_: _Sum,
    at_points: Tensor,
    at_queries: Tensor,
    values: Tensor | None,
    weights: Tensor | None,
    *flat: Tensor,
) -> Tensor:
    """All pairs at once, by operations that can be differentiated again and traced."""
    inner, last = sum_.layers(flat)
    points, queries = sum_.pairs.points, sum_.pairs.queries
    x = at_points[points] + at_queries[queries][:, None]
    for weight, bias in inner:
        x = functional.linear(sum_.act(x.to(weight.dtype)), weight, bias)
    v = None if values is None else values[points]
    found, owners = sum_.terms(x, queries, v, weights, last)
    total = sum_.empty(at_points, values, flat)
    return total.index_add(0, owners, found.to(total.dtype))


# ------------------------------------------------------------------- chunks


class _Chunked(torch.autograd.Function):
    """The sum, one chunk of pairs after the other."""

    @staticmethod
    def forward(
        ctx: Any,
        sum_: _Sum,
        at_points: Tensor,
        at_queries: Tensor,
        values: Tensor | None,
        weights: Tensor | None,
        *flat: Tensor,
    ) -> Tensor:
        """See `_plain`."""
        given = (at_points, at_queries, values, weights, *flat)
        zeros = sum_.empty(at_points, values, flat)
        compiled = _compiled(sum_, given)
        total, kept = (
            compiled.total(zeros, keep=sum_.keep) if compiled else _total(sum_, given, zeros)
        )
        ctx.sum, ctx.given = sum_, len(given)
        ctx.save_for_backward(*given, *kept)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of all tensors that were given."""
        given, kept = ctx.saved_tensors[: ctx.given], ctx.saved_tensors[ctx.given :]
        needed = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():
            return (None, *_differentiable(ctx.sum, given, needed, grad))
        compiled = _compiled(ctx.sum, given)
        if compiled:
            return (None, *compiled.gradients(grad.contiguous(), kept, needed))
        return (None, *_gradients(ctx.sum, given, kept, needed, grad))


def _compiled(sum_: _Sum, given: Sequence[Any]) -> PairSum | None:
    """The same by kernels, where there are some for it."""
    own: list[Any] = [x if x is None else x.contiguous() for x in given]
    at_points, at_queries, values, weights, *flat = own
    act = next((name for name, act in ACTIVATIONS.items() if act is sum_.act), "")
    found = PairSum(
        sum_.pairs, act, at_points, at_queries, values, weights, tuple(flat), last=sum_.last
    )
    return found if found.fits() else None


def _total(sum_: _Sum, given: Sequence[Any], total: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The sum, added to `total`, and the hidden layers if they are to be kept."""
    at_points, at_queries, values, weights, *flat = given
    inner, last = sum_.layers(flat)
    kept: list[Tensor] = []
    for chunk in _chunks(sum_, at_points, values, flat):
        hidden = chunk.hidden(at_points, at_queries, inner, sum_.act)
        v, w = chunk.at_points(values), chunk.at_pairs(weights)
        found, owners = sum_.terms(hidden[-1], chunk.queries, v, w, last)
        total.index_add_(0, owners, found.to(total.dtype))
        kept += hidden if sum_.keep else []
    return total, kept


def _differentiable(
    sum_: _Sum, given: Sequence[Any], needed: Sequence[bool], grad: Tensor
) -> Iterator[Tensor | None]:
    """Gradients that have gradients themselves."""
    # new names for the tensors: one may have come from another, and that way is not meant here
    own: list[Any] = [None if x is None else x.view_as(x) for x in given]
    wanted = [x for x, need in zip(own, needed, strict=True) if need]
    total = _plain(sum_, *own)
    found = iter(torch.autograd.grad(total, wanted, grad, create_graph=True))
    return (next(found) if need else None for need in needed)


def _gradients(
    sum_: _Sum, given: Sequence[Any], kept: Sequence[Tensor], needed: Sequence[bool], grad: Tensor
) -> list[Tensor | None]:
    at_points, at_queries, values, weights, *flat = given
    inner, last = sum_.layers(flat)
    made = [_zeros(x) if need else None for x, need in zip(given, needed, strict=True)]
    rest = iter(kept)
    for chunk in _chunks(sum_, at_points, values, flat):
        if kept:
            hidden = [next(rest) for _ in range(len(inner) + 1)]
        else:
            hidden = chunk.hidden(at_points, at_queries, inner, sum_.act)
        v, w = chunk.at_points(values), chunk.at_pairs(weights)
        x, to_v, to_w, *to_last = _term_gradients(sum_, hidden[-1], chunk.queries, v, w, last, grad)
        if last is not None:
            _add(made[-2:], to_last)
        for i in reversed(range(len(inner))):
            x = _layer_gradients(sum_.act, hidden[i], inner[i][0], x, made[4 + 2 * i : 6 + 2 * i])
        _add_at(made[0], chunk.points, x)
        _add_at(made[1], chunk.queries, x.sum(1))
        _add_at(made[2], chunk.points, to_v)
        if made[3] is not None and to_w is not None:
            made[3][chunk.span] = to_w.to(made[3].dtype)
    return [None if x is None else x.to(y.dtype) for x, y in zip(made, given, strict=True)]


def _term_gradients(
    sum_: _Sum,
    x: Tensor,
    queries: Tensor,
    v: Tensor | None,
    w: Tensor | None,
    last: DenseLayer | None,
    grad: Tensor,
) -> Iterator[Any]:
    """Gradients of the last hidden layer, the values, the weights, and the last layer, if any."""
    with torch.enable_grad():
        given = [y if y is None else y.detach().requires_grad_() for y in (x, v, w, *(last or ()))]
        own = (given[3], given[4]) if last else None
        found, owners = sum_.terms(given[0], queries, given[1], given[2], own)  # type: ignore[arg-type]  # x is a tensor
    mine = grad.index_select(0, owners).to(found.dtype)
    made = iter(torch.autograd.grad(found, [y for y in given if y is not None], mine))
    return (None if y is None else next(made) for y in given)


def _layer_gradients(
    act: ActivationFunction, x: Tensor, weight: Tensor, grad: Tensor, made: Sequence[Tensor | None]
) -> Tensor:
    """The gradient of what a hidden layer is of, from that of the next one; adds to its weights."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        h = act(x.to(weight.dtype))
    rows = grad.flatten(0, -2)
    _add(made, (rows.T @ h.detach().flatten(0, -2), rows.sum(0)))
    (found,) = torch.autograd.grad(h, x, grad @ weight)
    return found


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
    """Some pairs that lie behind each other.

    Attributes:
        span: which.
        points, queries: of each.
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
        """The hidden layers before they are activated, each (pairs, batch or 1, h)."""
        x = at_points.index_select(0, self.points)
        x += at_queries.index_select(0, self.queries)[:, None]
        found = [x]
        for weight, bias in inner:
            x = functional.linear(act(x.to(weight.dtype)), weight, bias)
            found.append(x)
        return found

    def at_points(self, x: Tensor | None) -> Tensor | None:
        """What is known of points, for each pair."""
        return None if x is None else x.index_select(0, self.points)

    def at_pairs(self, x: Tensor | None) -> Tensor | None:
        """What is known of pairs."""
        return None if x is None else x[self.span]


def _chunks(
    sum_: _Sum, at_points: Tensor, values: Tensor | None, flat: Sequence[Tensor]
) -> Iterator[_Chunk]:
    """All pairs, so many at a time that their widest layer has a bound."""
    pairs, batch = sum_.pairs, at_points.shape[1]
    widths = [batch * x for x in _widths(at_points, flat)]
    if values is not None:
        widths.append(values.shape[1] * values.shape[2])
    if sum_.outer:
        each = max(1, len(pairs) // max(1, len(pairs.counts)))  # pairs of a query
        widths.append(widths[-1] * widths[-2] // each)
    bound = (
        CPU_CHUNK * torch.get_num_threads() if at_points.device.type == "cpu" else ACCELERATOR_CHUNK
    )
    size = max(1, bound // (max(widths) * at_points.element_size()))
    for at in range(0, len(pairs), size):
        span = slice(at, at + size)
        yield _Chunk(span, pairs.points[span], pairs.queries[span])


def _widths(at_points: Tensor, flat: Sequence[Tensor]) -> list[int]:
    """Of the layers."""
    return [at_points.shape[-1], *(x.shape[0] for x in flat[::2])]


def _fits_in_memory(pairs: Pairs, at_points: Tensor, flat: Sequence[Tensor]) -> bool:
    """Whether the layers of all pairs may be kept."""
    numbers = len(pairs) * at_points.shape[1] * sum(_widths(at_points, flat))
    return numbers * at_points.element_size() <= MAX_SAVED
