"""Shapes, grids and number formats as diagnostics write them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from opdsl.ir.graph import Port


def layout_text(port: Port) -> str:
    """Name the axes of an input: `(batch, channels, x, y)`."""
    axes = (x.name for x in port.space.domain.axes)
    return f"({', '.join(('batch', 'channels', *axes))})"


def shape_text(x: Tensor) -> str:
    """Write the shape of a tensor: `(4, 1, 64, 64)`."""
    return str(tuple(x.shape))


def size_text(grid: Sequence[int]) -> str:
    """Write the size of a grid: `64 x 64`."""
    return " x ".join(str(n) for n in grid)


def dtype_name(x: Tensor) -> str:
    """Return the name of a tensor's dtype: `float32`."""
    return str(x.dtype).removeprefix("torch.")


def input_count_text(n: int, *, count: bool = True) -> str:
    """Write a number of inputs, `1 input`, `2 inputs`; without `count` the word alone."""
    word = "input" if n == 1 else "inputs"
    return f"{n} {word}" if count else word
