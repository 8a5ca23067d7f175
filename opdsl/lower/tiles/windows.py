"""Windows on a grid: tiles with a halo around each.

All windows of an axis have one length. Tensors are (batch, channels, *grid).

    points      0 . . . . . . . . . . . . . n
    window            [ r | part | r ]            r: halo; at the ends of an axis with two
    pasted                [ part ]                ends the window is moved inwards, not shortened
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Window:
    """Window on an axis: some points, and the part of them that is pasted.

    Attributes:
        start: the first point of the window; negative: it begins before the end of a periodic axis.
        width: points of the window.
        first, last: the points of the part, without the last.
    """

    start: int
    width: int
    first: int
    last: int


def windows(n: int, part: int, reach: int, *, periodic: bool) -> tuple[Window, ...]:
    """Divide an axis of n points into parts, each with a halo of `reach` points."""
    width = part + 2 * reach
    if part >= n or width >= n:
        return (Window(0, n, 0, n),)  # with its halo, a part would be as long as the axis
    starts = (i - reach for i in range(0, n, part))
    inside = (i if periodic else min(max(i, 0), n - width) for i in starts)
    return tuple(
        Window(start, width, i, min(i + part, n))
        for start, i in zip(inside, range(0, n, part), strict=True)
    )


def cut_window(x: Tensor, some: Sequence[Window]) -> Tensor:
    """Cut the windows out of (batch, channels, *grid); a whole axis is not copied."""
    for axis, w in enumerate(some, start=2):
        n = x.shape[axis]
        if w.start < 0 or w.start + w.width > n:
            around = torch.arange(w.start, w.start + w.width, device=x.device) % n
            x = x.index_select(axis, around)
        else:
            x = x.narrow(axis, w.start, w.width)
    return x


def paste_window(whole: Tensor, x: Tensor, some: Sequence[Window]) -> None:
    """Write the inner parts of the windows to their places in (batch, channels, *grid)."""
    for axis, w in enumerate(some, start=2):
        x = x.narrow(axis, w.first - w.start, w.last - w.first)
        whole = whole.narrow(axis, w.first, w.last - w.first)
    whole.copy_(x)
