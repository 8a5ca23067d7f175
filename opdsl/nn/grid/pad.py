"""Zero padding of functions on a regular grid, and cropping that undoes it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from opdsl.nn.shapes import Size


def pad(x: Tensor, before: Size, after: Size) -> Tensor:
    """Surround `x` by zeros.

    Args:
        x: (batch, *grid, c).
        before: points added at the start of each axis, not negative.
        after: points added at its end.

    Returns:
        (batch, *(before + grid + after), c).
    """
    pairs = [p for axis in zip(before, after, strict=True) for p in axis[::-1]]
    return functional.pad(x, (0, 0, *pairs[::-1]))


def crop(x: Tensor, before: Size, size: Size) -> Tensor:
    """Cut out the part of `x` that begins at point `before` and has `size` points on each axis.

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


class Pad(nn.Module):
    """Pad to a given grid, all points at the end of each axis (`end`) or half before (`both`)."""

    def __init__(self, sides: str) -> None:
        super().__init__()
        self.sides = sides

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """(batch, *grid, c) -> (batch, *size, c)."""
        added = tuple(n - k for n, k in zip(size, x.shape[1:-1], strict=True))
        before = _before(added, self.sides)
        return pad(x, before, tuple(a - b for a, b in zip(added, before, strict=True)))


class Crop(nn.Module):
    """Undo `Pad`."""

    def __init__(self, sides: str) -> None:
        super().__init__()
        self.sides = sides

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """(batch, *grid, c) -> (batch, *size, c)."""
        added = tuple(k - n for n, k in zip(size, x.shape[1:-1], strict=True))
        return crop(x, _before(added, self.sides), size)


def _before(added: Size, sides: str) -> Size:
    return tuple(n // 2 if sides == "both" else 0 for n in added)
