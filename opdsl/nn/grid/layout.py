"""Functions on a regular grid as tensors: coordinates, joining, padding, cropping.

What comes in and goes out: channels-last tensors, (batch, *grid, channels).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

Size = tuple[int, ...]
Ends = tuple[float, ...]
# for each input and last for the result the points of each sample, None where not packed
Ragged = tuple[Size | None, ...]


def coords(
    size: Size,
    lo: Ends,
    hi: Ends,
    periodic: tuple[bool, ...],
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """The coordinates of every point of a grid.

    A periodic axis has the n points lo + i (hi - lo) / n, since hi is lo again; any other has both
    ends, lo + i (hi - lo) / (n - 1).

    Args:
        size: points on each axis.
        lo: the lower end of each axis, in its unit of length.
        hi: the upper end.
        periodic: whether the axis closes on itself.
        dtype: of the result; it is computed in float64.
        device: of the result.

    Returns:
        (1, *size, axes).
    """
    lines = [
        _line(n, a, b, closed, device)
        for n, a, b, closed in zip(size, lo, hi, periodic, strict=True)
    ]
    return torch.stack(torch.meshgrid(lines, indexing="ij"), -1)[None].to(dtype)


def circle(size: Size, periodic: tuple[bool, ...], where: Tensor) -> Tensor:
    """The coordinates, on each periodic axis cos and sin of 2 pi i / n instead.

    Args:
        size: points on each axis.
        periodic: whether the axis closes on itself.
        where: (1, *size, axes), the coordinates, from which the other axes are taken.

    Returns:
        (1, *size, axes + periodic axes), as `where`.
    """
    zeros, ones = (0.0,) * len(size), (1.0,) * len(size)
    turns = coords(size, zeros, ones, periodic, dtype=torch.float64, device=where.device)
    angles = 2 * torch.pi * turns
    found = []
    for axis, closed in enumerate(periodic):
        angle = angles[..., axis]
        found += [angle.cos(), angle.sin()] if closed else [where[..., axis]]
    return torch.stack([x.to(where.dtype) for x in found], -1)


def concat(xs: Sequence[Tensor]) -> Tensor:
    """Channels side by side; a batch of one is repeated for every sample.

    Args:
        xs: (batch or 1, *grid, c_i), on one grid.

    Returns:
        (batch, *grid, sum of c_i).
    """
    batch = max(x.shape[0] for x in xs)
    return torch.cat([x.expand(batch, *x.shape[1:]) for x in xs], -1)


def pad(x: Tensor, before: Size, after: Size) -> Tensor:
    """Zeros around `x`: `before` and `after` points on each axis.

    Args:
        x: (batch, *grid, c).
        before: points on each axis, not negative.
        after: the same.

    Returns:
        (batch, *(before + grid + after), c).
    """
    pairs = [p for axis in zip(before, after, strict=True) for p in axis[::-1]]
    return functional.pad(x, (0, 0, *pairs[::-1]))


def crop(x: Tensor, before: Size, size: Size) -> Tensor:
    """The part of `x` that begins at point `before` and has `size` points on each axis.

    Args:
        x: (batch, *grid, c).
        before: the first point on each axis.
        size: points on each axis.

    Returns:
        (batch, *size, c), a view.
    """
    for axis, (start, n) in enumerate(zip(before, size, strict=True), start=1):
        x = x.narrow(axis, start, n)
    return x


class Coords(nn.Module):
    """`coords` as a module; it takes no function, so `like` says with which dtype and where."""

    def __init__(
        self, lo: Ends, hi: Ends, periodic: tuple[bool, ...], *, circle: bool = False
    ) -> None:
        super().__init__()
        self.lo, self.hi, self.periodic = lo, hi, periodic
        self.circle = circle

    def forward(self, *, size: Size, like: Tensor) -> Tensor:
        """-> (1, *size, axes), or for `circle` a channel more for each periodic axis."""
        ends = self.lo, self.hi, self.periodic
        where = coords(size, *ends, dtype=like.dtype, device=like.device)
        return circle(size, self.periodic, where) if self.circle else where


class Concat(nn.Module):
    """`concat` as a module."""

    def forward(self, *xs: Tensor) -> Tensor:
        """(batch or 1, *grid, c_i) each -> (batch, *grid, sum of c_i)."""
        return concat(xs)


class Pad(nn.Module):
    """`pad` to a given grid, all points behind (`end`) or half of them before (`both`)."""

    def __init__(self, sides: str) -> None:
        super().__init__()
        self.sides = sides

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """(batch, *grid, c) -> (batch, *size, c)."""
        added = tuple(n - k for n, k in zip(size, x.shape[1:-1], strict=True))
        before = _before(added, self.sides)
        return pad(x, before, tuple(a - b for a, b in zip(added, before, strict=True)))


class Crop(nn.Module):
    """Undoes `Pad`."""

    def __init__(self, sides: str) -> None:
        super().__init__()
        self.sides = sides

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """(batch, *grid, c) -> (batch, *size, c)."""
        added = tuple(k - n for n, k in zip(size, x.shape[1:-1], strict=True))
        return crop(x, _before(added, self.sides), size)


def _before(added: Size, sides: str) -> Size:
    return tuple(n // 2 if sides == "both" else 0 for n in added)


def _line(n: int, lo: float, hi: float, periodic: bool, device: torch.device | str) -> Tensor:
    steps = n if periodic else max(n - 1, 1)
    return lo + torch.arange(n, dtype=torch.float64, device=device) * ((hi - lo) / steps)
