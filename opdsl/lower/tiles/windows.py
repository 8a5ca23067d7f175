"""The windows in which a grid is looked at, part by part.

What comes in: the points of an axis, of a part, and how far to look around it. What goes out:
windows that are all of one length, and cutting and pasting of tensors (batch, channels, *grid).

    points      0 . . . . . . . . . . . . . n
    window            [ r | part | r ]            r: how far; at an end of an axis that does not
    kept                  [ part ]                close the window is moved inwards, not shortened
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Window:
    """Some points of an axis, and which of them are kept.

    Attributes:
        start: the first point of the window; below zero it begins before the end of a ring.
        width: points of the window.
        first, last: the points kept, without the last.
    """

    start: int
    width: int
    first: int
    last: int


def windows(n: int, part: int, reach: int, *, periodic: bool) -> tuple[Window, ...]:
    """The parts of an axis of n points, each with `reach` points around it."""
    width = part + 2 * reach
    if part >= n or width >= n:
        return (Window(0, n, 0, n),)  # a part would take in the whole axis
    starts = (i - reach for i in range(0, n, part))
    inside = (i if periodic else min(max(i, 0), n - width) for i in starts)
    return tuple(
        Window(start, width, i, min(i + part, n))
        for start, i in zip(inside, range(0, n, part), strict=True)
    )


def cut_window(x: Tensor, some: Sequence[Window]) -> Tensor:
    """The windows of (batch, channels, *grid); an axis that is whole is not copied."""
    for axis, w in enumerate(some, start=2):
        n = x.shape[axis]
        if w.start < 0 or w.start + w.width > n:
            around = torch.arange(w.start, w.start + w.width, device=x.device) % n
            x = x.index_select(axis, around)
        else:
            x = x.narrow(axis, w.start, w.width)
    return x


def paste_window(whole: Tensor, x: Tensor, some: Sequence[Window]) -> None:
    """What is kept of the windows, at its place in (batch, channels, *grid)."""
    for axis, w in enumerate(some, start=2):
        x = x.narrow(axis, w.first - w.start, w.last - w.first)
        whole = whole.narrow(axis, w.first, w.last - w.first)
    whole.copy_(x)
