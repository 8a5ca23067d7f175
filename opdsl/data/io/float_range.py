"""Diagnostics of values that are outside the range of float32, in which models compute."""

from __future__ import annotations

from math import floor, log10

import torch
from torch import Tensor

from opdsl.data.bind.samples import Fields
from opdsl.diagnostics import Diagnostic, Help
from opdsl.nn.points.batch import Values, all_values, map_values, split_samples
from opdsl.nn.points.packed import Packed

SMALLEST = 2.0**-126  # the smallest normal number of float32; below it digits are lost, then all
PRECISION = 2.0**-24  # of float32: what is smaller than this part of a function is rounding anyway
LOSSY = (torch.float32, torch.float64, torch.bfloat16)  # formats with numbers below SMALLEST


def too_small(fields: Fields, name: str, *, needed: bool) -> Diagnostic | None:
    """Return the diagnostic about values that vanish or lose digits in float32; None if none do.

    A small value of a function with large ones is rounding. So only those channels of a sample are
    checked whose values are all below SMALLEST / PRECISION.

    Args:
        fields: the fields of a file.
        name: name of the field.
        needed: whether it is an error if no value of the field is large enough.
    """
    x = fields.values[name]
    sizes = _sizes(x)
    small = (sizes > 0) & (sizes < SMALLEST / PRECISION)
    if not small.any():
        return None
    rows = small.any(1).nonzero().flatten().tolist()
    lost = {i: int(_lost(split_samples(x)[i][small[i]])) for i in rows}
    lost = {i: n for i, n in lost.items() if n}
    if not lost:
        return None
    count, first = sum(lost.values()), fields.start + min(lost)
    values = "1 value" if count == 1 else f"{count} values"
    most = float(sizes.max())
    return Diagnostic(
        "OP0619",
        f"`{name}` holds {values} too small for float32, first in sample {first}",
        notes=("numbers below 1.2e-38 lose digits in float32, and below 1e-45 they become zero",),
        helps=(Help(f"give `{name}` in another unit, for instance multiplied by {_factor(most)}"),),
        severity="error" if needed and most < SMALLEST else "warning",
        file=fields.source,
    )


def too_large(fields: Fields, name: str) -> Diagnostic | None:
    """Return the error about finite values that become infinite in float32; None if none do."""
    x = fields.values[name]
    if all_values(x).dtype != torch.float64:
        return None
    over = map_values(x, lambda y: y.isfinite() & ~y.to(torch.float32).isfinite())
    count = int(all_values(over).sum())
    if not count:
        return None
    first = fields.start + next(i for i, y in enumerate(split_samples(over)) if y.any())
    most = float(all_values(x).nan_to_num(0.0, 0.0, 0.0).abs().max())
    values = "1 value" if count == 1 else f"{count} values"
    return Diagnostic(
        "OP0619",
        f"`{name}` holds {values} too large for float32, first in sample {first}",
        notes=("the largest number of float32 is 3.4e38",),
        helps=(Help(f"give `{name}` in another unit, for instance multiplied by {_factor(most)}"),),
        file=fields.source,
    )


def _sizes(x: Values) -> Tensor:
    """Largest absolute value of each channel of each sample; (samples, channels)."""
    if all_values(x).dtype not in LOSSY:
        return torch.zeros(len(x), 1)
    if isinstance(x, Packed):
        return torch.cat([_largest(y[None]) for y in x.parts])
    return _largest(x)


def _largest(x: Tensor) -> Tensor:
    low, high = x.reshape(*x.shape[:2], -1).aminmax(dim=2)
    return torch.maximum(-low, high)


def _lost(x: Tensor) -> Tensor:
    """Count the nonzero numbers below the smallest normal one of float32."""
    return ((x != 0) & (x.abs() < SMALLEST)).sum()


def _factor(most: float) -> str:
    """Power of ten that scales the greatest value to about one, as text."""
    return f"1e{-floor(log10(most))}"
