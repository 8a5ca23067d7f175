"""Masks of inputs and outputs: arrays of 0 and 1 that say which values count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from opdsl.data.arrays.axes import Target
from opdsl.diagnostics import OpError, did_you_mean, fault
from opdsl.nn.points.batch import Values, all_values
from opdsl.nn.points.packed import Packed
from opdsl.workflow.runs.arrays import as_tensors

MASKS = "masks"  # key of masks among arrays in memory, and before their names in messages
INVERTED = "~"  # before the name of an array that is 1 where values do not count


def refuse_bad_masks(
    masks: Mapping[str, Sequence[str]], targets: Sequence[Target], path: str
) -> None:
    """Refuse masks of what the model does not have, and lists of arrays that fit no input.

    Raises:
        OpError: OP0681.
    """
    ports = {x.name: x for x in targets if x.kind != "coordinates"}
    for name, references in masks.items():
        if name not in ports:
            has = ", ".join(f"`{x}`" for x in ports)
            message = f"a mask is named for `{name}`, but the model has {has}"
            raise fault("OP0681", message, helps=did_you_mean(name, ports), file=path)
        channels, count = ports[name].channels, len(references)
        if count not in {1, channels}:
            message = f"`{name}` has {channels} channels and {count} masks"
            helps = ("name one array for all channels, or one for each",)
            raise fault("OP0681", message, helps=helps, file=path)
        if len({x.startswith(INVERTED) for x in references}) > 1:
            message = f"some masks of `{name}` are inverted by `{INVERTED}`, and others are not"
            raise fault("OP0681", message, helps=("invert all of them, or none",), file=path)


def turned(x: Any) -> Any:
    """Exchange 0 and 1; other numbers stay, and are refused where the mask is used."""
    if isinstance(x, list):
        return [turned(y) for y in x]
    if isinstance(x, Packed):
        return x.map(lambda y: torch.where(y == 0, 1, torch.where(y == 1, 0, y)))
    return np.where(x == 0, 1, np.where(x == 1, 0, x))


def as_mask(name: str, mask: Any, values: Values, *, source: str) -> Values:
    """Convert an array to a mask of an input or output.

    Args:
        name: of the input or output.
        mask: of 0 and 1, (*grid), (samples, *grid), or with channels (times) before the grid; on
            points that each sample has of its own, a list of these.
        values: which it masks, (samples, channels, *grid) or packed.
        source: how messages call the data.

    Returns:
        (samples, channels or 1, *grid) or packed, bool; where all samples share a mask, a view.

    Raises:
        OpError: OP0681, it holds other numbers, or has another shape.
    """
    array = as_tensors(name, mask)
    if isinstance(array, list) and isinstance(values, Tensor):
        array = _stacked(name, array, values, source)
    if isinstance(values, Packed):
        return _packed(name, array, values, source)
    if not isinstance(array, Tensor):
        raise _misfit(name, type(mask).__name__, values, source)
    grid, shape = values.shape[2:], tuple(array.shape)
    ones = _ones(name, array, source)
    if shape == grid and grid:
        ones = ones[None, None]
    elif ones.ndim == len(grid) + 1:
        ones = ones[:, None]
    elif ones.ndim == len(grid) + 3:  # times and components
        count = values.shape[1] // max(1, shape[1])
        ones = ones.expand(-1, -1, count if shape[2] == 1 else -1, *grid).flatten(1, 2)
    n, channels = values.shape[:2]
    fits = ones.ndim == len(grid) + 2 and ones.shape[2:] == grid and len(ones) in {1, n}
    if not fits or channels % ones.shape[1]:
        raise _misfit(name, shape, values, source)
    if ones.shape[1] > 1:  # of each time; the times come before the components
        ones = ones.repeat_interleave(channels // ones.shape[1], 1)
    return ones.expand(n, *ones.shape[1:])


def _stacked(name: str, parts: Sequence[Any], values: Tensor, source: str) -> Any:
    shapes = [tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__ for x in parts]
    if not parts or len(set(shapes)) > 1 or not isinstance(parts[0], Tensor):
        raise _misfit(name, shapes[-1] if shapes else "no masks", values, source)
    return torch.stack(list(parts))


def _packed(name: str, mask: Any, values: Packed, source: str) -> Packed:
    parts = list(mask.parts if isinstance(mask, Packed) else mask)
    shapes = [tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__ for x in parts]
    if len(parts) != len(values):
        raise _misfit(name, f"{len(parts)} samples", values, source)
    for shape, size in zip(shapes, values.sizes, strict=True):
        if shape not in {(size,), (1, size), (values.channels, size)}:
            raise _misfit(name, shape, values, source)
    return Packed.of(_ones(name, x.reshape(-1, x.shape[-1]), source) for x in parts)


def _ones(name: str, x: Tensor, source: str) -> Tensor:
    """Return where a mask is 1.

    Raises:
        OpError: OP0681, it holds something else than 0 and 1.
    """
    ones = x == 1
    other = ~(ones | (x == 0))
    if other.any():
        value = x[other][0].item()
        message = f"the mask of `{name}` holds {value:g}, expected 0 and 1"
        helps = (
            "1 is where a value counts and 0 where it does not",
            f'`masks {{ {name} = "{INVERTED}NAME" }}` takes the reverse',
            "for values that are NaN there is no need of a mask: `data { missing = mask }`",
        )
        raise fault("OP0681", message, helps=helps, file=source)
    return ones


def _misfit(name: str, shape: object, values: Values, source: str) -> OpError:
    if isinstance(values, Packed):
        want = f"a mask for each of {len(values)} samples, as many numbers as it has points"
    else:
        n, _, *grid = all_values(values).shape
        sizes = ", ".join(map(str, grid))
        want = f"({sizes}) for all samples, or ({n}, {sizes})" if grid else f"({n},)"
    message = f"the mask of `{name}` is {shape}, expected {want}"
    return fault("OP0681", message, file=source)
