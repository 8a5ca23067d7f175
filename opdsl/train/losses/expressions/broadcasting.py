"""Operations at each point of functions, vectors and numbers, on grids and on packed points."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from opdsl.nn.points.batch import Values, all_values, map_values
from opdsl.nn.points.packed import Packed


def combined(
    a: Values | float, b: Values | float, operation: Callable[[Tensor, Tensor], Tensor]
) -> Values:
    """Apply an operation at each point; numbers, vectors and single channels broadcast.

    Args:
        a, b: numbers, (batch, channels) of vectors, (batch, channels, *domain), or packed.
        operation: of two tensors.
    """
    if isinstance(a, float):
        assert not isinstance(b, float)  # the check has computed constants
        return mapped(b, lambda y: operation(y.new_tensor(a), y))
    if isinstance(b, float):
        return mapped(a, lambda x: operation(x, x.new_tensor(b)))
    if isinstance(a, Packed) or isinstance(b, Packed):
        sizes = a.sizes if isinstance(a, Packed) else b.sizes  # type: ignore[union-attr]  # one of them is packed
        return Packed(operation(_on_points(a, sizes), _on_points(b, sizes)), sizes)
    dims = max(a.dim(), b.dim())
    return operation(_with_dims(a, dims), _with_dims(b, dims))


def _on_points(x: Values, sizes: tuple[int, ...]) -> Tensor:
    """Return values on packed points, (1, channels, points of all samples)."""
    if isinstance(x, Packed):
        return x.values
    if x.dim() > 2:  # samples on equally many points, packed like the other function
        return Packed.of(x.unbind(0)).values
    counts = torch.tensor(sizes, device=x.device)
    return x.repeat_interleave(counts, 0).T[None]


def _with_dims(x: Tensor, dims: int) -> Tensor:
    return x.reshape(*x.shape, *[1] * (dims - x.dim()))


def zeros_like(x: Values) -> Values:
    """Return a function of zeros."""
    return map_values(x, torch.zeros_like)


def is_smaller(x: Values, like: Values) -> bool:
    """Return whether a function has fewer axes or channels than another."""
    a, b = all_values(x), all_values(like)
    return a.dim() < b.dim() or a.shape[1] < b.shape[1]


def mapped(x: Values, change: Callable[[Tensor], Tensor]) -> Values:
    """Apply a function of the channels at each point; also to packed values."""
    return Packed(change(x.values), x.sizes) if isinstance(x, Packed) else change(x)


def split_channels(x: Values, like: Values) -> Values:
    """Make a sample of each channel: (batch, channels, ...) to (batch * channels, 1, ...).

    Args:
        x: functions or weights, which may have one sample or one channel for all.
        like: the functions.
    """
    if isinstance(like, Packed):
        parts = x.parts if isinstance(x, Packed) else list(x.expand(len(like), -1, -1))
        channels = like.channels
        each = [p.expand(channels, -1).split(1) for p in parts]
        return Packed.of(y for rows in each for y in rows)
    full = all_values(x)
    full = full.expand(len(like), like.shape[1], *full.shape[2:])
    return full.flatten(0, 1).unsqueeze(1)
