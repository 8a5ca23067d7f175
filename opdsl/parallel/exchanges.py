"""Differentiable exchanges among the processes that share a sample, and a count of their bytes.

Between two exchanges each process computes its own part. Gradients follow one convention: those of
parts are complete; those of values that all processes have, weights included, are partial, and
their sum over the processes is the gradient. The transpose of each exchange, which the backward
pass applies, then is an exchange itself, and a result that all processes compute alike enters the
loss with the share 1 / processes; see `whole_result`.

Every exchange but `all_reduce` is one call of all-to-all with parts of any length, which gloo and
NCCL both offer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from opdsl.parallel.parts import parts

TrafficKind = Literal["halo", "all_to_all", "reduce_scatter", "all_gather", "all_reduce", "inputs"]
Direction = Literal["forward", "backward"]
Traffic = Counter[
    tuple[str, str]
]  # bytes that this process sends to others, by (TrafficKind, Direction)

_counters: list[Traffic] = []


@contextmanager
def counted() -> Iterator[Traffic]:
    """Count the bytes that this process sends to others, by kind and direction.

    Of an all-reduce of n bytes among P processes the count is 2 n (P - 1) / P, as in a ring.
    """
    traffic: Traffic = Counter()
    _counters.append(traffic)
    try:
        yield traffic
    finally:
        _counters.remove(traffic)


@dataclass(frozen=True, slots=True, eq=False)
class SpaceGroup:
    """The processes that share a sample.

    Attributes:
        group: of torch.
        index: of this process among them.
        count: how many they are.
    """

    group: dist.ProcessGroup
    index: int
    count: int

    def parts(self, n: int) -> tuple[range, ...]:
        """Divide n points into nearly equal parts, the first ones longer by one."""
        return parts(n, self.count)

    def own(self, n: int) -> range:
        """Return the part of n points that this process has."""
        return self.parts(n)[self.index]


# --- exchanges -----------------------------------------------------------------------------------


def transpose(x: Tensor, space: SpaceGroup, whole: int, n: int, cut: int) -> Tensor:
    """Make one axis whole and divide another one.

    Args:
        x: its axis `whole` has the own part of n points; all processes have the axis `cut`.
        space: the processes.
        whole: the axis that becomes whole.
        n: its points.
        cut: the axis of whose points each process gets its part.
    """
    pieces = [narrow(x, cut, r) for r in space.parts(x.shape[cut])]
    own = len(space.own(x.shape[cut]))
    shapes = [_with_lengths(x, {whole: len(r), cut: own}) for r in space.parts(n)]
    return torch.cat(_exchange(pieces, shapes, space, "all_to_all"), whole)


def all_gather(x: Tensor, space: SpaceGroup, axis: int, n: int) -> Tensor:
    """Make the axis whole of which each process has its part of n points.

    Its transpose sums the gradients of the processes, each over the part of another one.
    """
    shapes = [_with_lengths(x, {axis: len(r)}) for r in space.parts(n)]
    return torch.cat(_exchange([x] * space.count, shapes, space, "all_gather"), axis)


def reduce_scatter(x: Tensor, space: SpaceGroup, axis: int) -> Tensor:
    """Sum `x` over the processes; each gets its part of the axis."""
    pieces = [narrow(x, axis, r) for r in space.parts(x.shape[axis])]
    own = tuple(pieces[space.index].shape)
    parts = _exchange(pieces, [own] * space.count, space, "reduce_scatter")
    return sum(parts[1:], parts[0])


def fetch(x: Tensor, space: SpaceGroup, axis: int, n: int, wanted: Sequence[range]) -> Tensor:
    """Fetch an interval of an axis that is divided among the processes.

    Args:
        x: its axis has the own part of n points.
        space: the processes.
        axis: of `x`.
        n: the points of the whole axis.
        wanted: for each process the points that it wants. Those below 0 and from n on are the
            points of a periodic axis around its ends.
    """
    first = space.own(n).start
    runs = [list(_runs(w, space.parts(n))) for w in wanted]
    pieces = [
        _joined(
            x,
            axis,
            [range(r.start - first, r.stop - first) for owner, r in some if owner == space.index],
        )
        for some in runs
    ]
    mine = runs[space.index]
    lengths = [sum(len(r) for owner, r in mine if owner == i) for i in range(space.count)]
    received = _exchange(pieces, [_with_lengths(x, {axis: k}) for k in lengths], space, "halo")
    at = [0] * space.count
    result = [x.narrow(axis, 0, 0)]
    for owner, run in mine:
        result.append(received[owner].narrow(axis, at[owner], len(run)))
        at[owner] += len(run)
    return torch.cat(result, axis)


def all_reduce(x: Tensor, space: SpaceGroup) -> Tensor:
    """Sum `x` over the processes."""
    y: Tensor = _AllReduce.apply(x, space)  # type: ignore[no-untyped-call]  # torch's own
    return y


# --- the ends of a computation in parts ----------------------------------------------------------


def own_part(x: Tensor, space: SpaceGroup, axis: int) -> Tensor:
    """Cut the own part out of a whole value whose gradient is to be whole on all processes."""
    y: Tensor = _OwnPart.apply(x, space, axis)  # type: ignore[no-untyped-call]  # torch's own
    return y


def whole_result(x: Tensor, space: SpaceGroup, axis: int, n: int) -> Tensor:
    """Gather a result of which all processes compute the loss alike.

    The gradient of the own part is that of all, so the backward pass exchanges nothing.
    """
    y: Tensor = _WholeResult.apply(x, space, axis, n)  # type: ignore[no-untyped-call]  # torch's own
    return y


def shared_input(x: Tensor, space: SpaceGroup) -> Tensor:
    """Return a value that all processes have, whose partial gradients are summed."""
    y: Tensor = _SharedInput.apply(x, space)  # type: ignore[no-untyped-call]  # torch's own
    return y


def shared_result(x: Tensor, space: SpaceGroup) -> Tensor:
    """Return a result that all processes compute alike, with the share of one in the loss."""
    y: Tensor = _SharedResult.apply(x, space)  # type: ignore[no-untyped-call]  # torch's own
    return y


# --- how they are computed -----------------------------------------------------------------------


def narrow(x: Tensor, axis: int, part: range) -> Tensor:
    """Cut a range out of an axis, a view."""
    return x.narrow(axis, part.start, len(part))


def _with_lengths(x: Tensor, lengths: dict[int, int]) -> tuple[int, ...]:
    return tuple(lengths.get(i, n) for i, n in enumerate(x.shape))


def _joined(x: Tensor, axis: int, some: Sequence[range]) -> Tensor:
    return torch.cat([x.narrow(axis, 0, 0), *(narrow(x, axis, r) for r in some)], axis)


def _runs(wanted: range, parts: Sequence[range]) -> Iterator[tuple[int, range]]:
    """Divide an interval into runs of points of one owner each."""
    n, at = parts[-1].stop, wanted.start
    while at < wanted.stop:
        point = at % n
        owner = next(i for i, part in enumerate(parts) if point in part)
        length = min(wanted.stop - at, parts[owner].stop - point)
        yield owner, range(point, point + length)
        at += length


def _exchange(
    pieces: Sequence[Tensor],
    shapes: Sequence[tuple[int, ...]],
    space: SpaceGroup,
    kind: TrafficKind,
) -> list[Tensor]:
    """Send a piece to each process and receive one of the stated shape from each."""
    pair = 2 if pieces[0].is_complex() else 1
    reals = [torch.view_as_real(x.resolve_conj()) if pair == 2 else x for x in pieces]
    flat = torch.cat([x.reshape(-1) for x in reals])
    sent, received = [x.numel() for x in reals], [pair * math.prod(x) for x in shapes]
    y: Tensor = _AllToAll.apply(flat, sent, received, space, kind)  # type: ignore[no-untyped-call]  # torch's own
    parts = torch.split(y, received)
    if pair == 1:
        return [x.view(shape) for x, shape in zip(parts, shapes, strict=True)]
    return [torch.view_as_complex(x.view(*s, 2)) for x, s in zip(parts, shapes, strict=True)]


def _send(
    flat: Tensor,
    sent: Sequence[int],
    received: Sequence[int],
    space: SpaceGroup,
    kind: TrafficKind,
    direction: Direction,
) -> Tensor:
    result = flat.new_empty(sum(received))
    dist.all_to_all_single(result, flat.contiguous(), list(received), list(sent), group=space.group)
    _count((sum(sent) - sent[space.index]) * flat.element_size(), kind, direction)
    return result


def _count(size: int, kind: TrafficKind, direction: Direction) -> None:
    for traffic in _counters:
        traffic[kind, direction] += size


def _sum(x: Tensor, space: SpaceGroup, kind: TrafficKind, direction: Direction) -> Tensor:
    result = x.clone(memory_format=torch.contiguous_format)
    reals = torch.view_as_real(result) if result.is_complex() else result
    dist.all_reduce(reals, group=space.group)
    size = reals.numel() * reals.element_size()
    _count(2 * size * (space.count - 1) // space.count, kind, direction)
    return result


def _gather(
    x: Tensor, space: SpaceGroup, axis: int, n: int, kind: TrafficKind, direction: Direction
) -> Tensor:
    """Gather the parts of an axis, without a gradient."""
    reals = torch.view_as_real(x.resolve_conj()) if x.is_complex() else x
    shapes = [_with_lengths(reals, {axis: len(r)}) for r in space.parts(n)]
    flat = torch.cat([reals.reshape(-1)] * space.count)
    received = list(map(math.prod, shapes))
    y = _send(flat, [reals.numel()] * space.count, received, space, kind, direction)
    parts = [z.view(s) for z, s in zip(torch.split(y, received), shapes, strict=True)]
    whole = torch.cat(parts, axis)
    return torch.view_as_complex(whole) if x.is_complex() else whole


class _AllToAll(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        flat: Tensor,
        sent: list[int],
        received: list[int],
        space: SpaceGroup,
        kind: TrafficKind,
    ) -> Tensor:
        ctx.transposed = received, sent, space, kind
        return _send(flat, sent, received, space, kind, "forward")

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        received, sent, space, kind = ctx.transposed
        return _send(g, received, sent, space, kind, "backward"), None, None, None, None


class _AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, space: SpaceGroup) -> Tensor:
        ctx.space = space
        return _sum(x, space, "all_reduce", "forward")

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return _sum(g, ctx.space, "all_reduce", "backward"), None


class _OwnPart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, space: SpaceGroup, axis: int) -> Tensor:
        ctx.place = space, axis, x.shape[axis]
        return narrow(x, axis, space.own(x.shape[axis])).clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        space, axis, n = ctx.place
        return _gather(g, space, axis, n, "inputs", "backward"), None, None


class _WholeResult(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, space: SpaceGroup, axis: int, n: int) -> Tensor:
        ctx.place = axis, space.own(n)
        return _gather(x, space, axis, n, "all_gather", "forward")

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return narrow(g, *ctx.place), None, None, None


class _SharedInput(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, space: SpaceGroup) -> Tensor:
        ctx.space = space
        return x.view_as(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return _sum(g, ctx.space, "inputs", "backward"), None


class _SharedResult(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, space: SpaceGroup) -> Tensor:
        ctx.count = space.count
        return x.view_as(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return g / ctx.count, None
