"""Masks of fields: which values count, and what stands where a value is missing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from opdsl.data.bind.samples import VECTOR, Fields, MissingCount
from opdsl.data.bind.suspects import any_true, first_ones
from opdsl.diagnostics import Diagnostic, Help
from opdsl.nn.points.batch import Values, all_values, map_values
from opdsl.nn.points.packed import Packed

CHUNK = 64  # samples whose means are computed at a time


@dataclass(frozen=True, slots=True)
class MissingValues:
    """What becomes of values that are NaN.

    Attributes:
        masked: whether they are masked, so that no error counts them; else they are refused.
        fill: the value that an input has where it is masked; None: the mean of the channel over
            the other values of the sample.
    """

    masked: bool = False
    fill: float | None = None


REFUSED = MissingValues()


def fill_missing(
    fields: Fields, inputs: Collection[str], outputs: Collection[str], missing: MissingValues
) -> tuple[Fields, dict[str, MissingCount]]:
    """Mask values that are NaN, and fill what is masked.

    Vectors that are inputs have no other points, of which a mean could be taken: without a `fill`
    their missing values stay, and are refused.

    Args:
        fields: of a data set.
        inputs, outputs: names of the fields that are used as such.
        missing: what becomes of missing values.

    Returns:
        The fields with values and masks, (samples, channels, *grid), and what is missing; nothing
        where the missing values of no field are masked.
    """
    values, masks = dict(fields.values), dict(fields.masks)
    counts: dict[str, MissingCount] = {}
    for name in [x for x in values if x in inputs or x in outputs]:
        x, is_input = values[name], name in inputs
        fill = missing.fill if is_input else None
        if is_input and missing.fill is not None and name in masks:
            x = values[name] = filled(x, masks[name], fill)
        vector = isinstance(x, Tensor) and x.ndim == VECTOR and is_input and fill is None
        if not missing.masked or vector or not all_values(x).is_floating_point():
            continue
        valid = map_values(x, lambda y: ~y.isnan())
        number = int((~all_values(valid)).sum())
        if number:
            values[name] = filled(x, valid, fill)
        some = int(any_true(map_values(valid, torch.logical_not)).sum()) if number else 0
        counts[name] = MissingCount(number, some, len(x), _outcome(fill, is_input=is_input))
        masks[name] = _both(valid, masks[name]) if name in masks else valid
    return replace(fields, values=values, masks=masks), counts


def _outcome(fill: float | None, *, is_input: bool) -> str:
    if not is_input:
        return "left out of losses and errors"
    return "filled with " + (
        "the mean of the channel in the sample" if fill is None else f"{fill:g}"
    )


def completed(x: Values, missing: MissingValues, axes: int) -> Values:
    """Fill missing values of an input as in training, if they are masked there.

    Args:
        x: (samples, channels, *grid), with steps in time before the channels, or packed.
        missing: what becomes of missing values.
        axes: of the grid.
    """
    values = all_values(x)
    vector = values.ndim == VECTOR and missing.fill is None
    if not missing.masked or vector or not values.is_floating_point() or not values.isnan().any():
        return x
    if isinstance(x, Tensor) and x.ndim == axes + 3:
        return all_values(completed(x.flatten(0, 1), missing, axes)).reshape(x.shape)
    return filled(x, map_values(x, lambda y: ~y.isnan()), missing.fill)


def _both(first: Values, second: Values) -> Values:
    return map_values(first, lambda x: x & all_values(second))


def filled(x: Values, valid: Values, fill: float | None = None) -> Values:
    """Replace values that are not valid.

    Args:
        x: (samples, channels, *grid), or packed.
        valid: what counts, (samples, channels or 1, *grid), or packed.
        fill: the value; None: the mean of the valid values of the channel in the sample, 0 if there
            are none.
    """
    if fill is not None:
        number = fill
        return map_values(x, lambda y: torch.where(all_values(valid), y, number).to(y.dtype))
    if isinstance(x, Packed) and isinstance(valid, Packed):
        pairs = zip(x.parts, valid.parts, strict=True)
        return Packed.of(_with_means(y[None], m[None])[0] for y, m in pairs)
    dense, mask = all_values(x), all_values(valid)
    if mask.all():
        return x
    pairs = zip(torch.split(dense, CHUNK), torch.split(mask, CHUNK), strict=True)
    return torch.cat([y if m.all() else _with_means(y, m) for y, m in pairs])


def _with_means(x: Tensor, valid: Tensor) -> Tensor:
    valid = valid.expand_as(x)
    places = tuple(range(2, x.ndim))
    wide = torch.where(valid, x, 0).double()
    count = valid.sum(places, keepdim=True) if places else valid.long()
    mean = (wide.sum(places, keepdim=True) if places else wide) / count.clamp_min(1)
    return torch.where(valid, x, mean.to(x.dtype))


def missing_note(counts: Mapping[str, MissingCount], source: str) -> Iterator[Diagnostic]:
    """Yield OP0680: how many values are missing, and what becomes of them."""
    counts = {k: x for k, x in counts.items() if x.values}
    if not counts:
        return
    lines = []
    for name, x in counts.items():
        values = "1 value is" if x.values == 1 else f"{x.values} values are"
        lines.append(f"`{name}`: {values} missing in {x.samples} of {x.total} samples: {x.outcome}")
    yield Diagnostic(
        "OP0680",
        f"values are missing in {' and '.join(f'`{x}`' for x in counts)}",
        notes=tuple(lines),
        severity="warning",
        file=source,
    )


def added(
    first: Mapping[str, MissingCount], others: Mapping[str, MissingCount]
) -> dict[str, MissingCount]:
    """Add the counts of other samples of a data set."""
    return {**first, **{k: x.plus(first[k]) if k in first else x for k, x in others.items()}}


def joined_mask(parts: Sequence[Values | None], values: Sequence[Values]) -> Values | None:
    """Return the mask of fields that become channels side by side; None if no field has one.

    Args:
        parts: of each field.
        values: the fields.

    Returns:
        (samples, channels, *grid) or packed; a view where all channels share a mask.
    """
    if all(x is None for x in parts):
        return None
    pairs = zip(parts, values, strict=True)
    whole = [_whole(x, y) for x, y in pairs]
    if len(whole) == 1:
        return whole[0]
    joined = torch.cat([all_values(x) for x in whole], 1)
    first = values[0]
    return Packed(joined, first.sizes) if isinstance(first, Packed) else joined


def _whole(mask: Values | None, values: Values) -> Values:
    if mask is None:
        return map_values(values, lambda x: torch.ones((), dtype=torch.bool).expand_as(x))
    return map_values(mask, lambda x: x.expand_as(all_values(values)))


def masked_weights(weights: Mapping[str, Values], masks: Mapping[str, Values]) -> dict[str, Values]:
    """Multiply quadrature weights by masks; masks of what has no weights stay masks (bool)."""
    product = {k: _product(w, masks[k]) if k in masks else w for k, w in weights.items()}
    return {**masks, **product}


def _product(weights: Values, mask: Values) -> Values:
    return map_values(mask, lambda x: x * all_values(weights))


def empty_samples(
    masks: Mapping[str, Values], outputs: Collection[str], start: int = 0
) -> dict[str, list[int]]:
    """Return the samples in which an output has no value that counts, by its name.

    Args:
        masks: or weights, zero where a value does not count.
        outputs: names of the outputs.
        start: how many samples come before.
    """
    masked = {k: masks[k] for k in outputs if k in masks}
    empty = {k: (~any_true(x)).nonzero().flatten().tolist() for k, x in masked.items()}
    return {k: [start + i for i in x] for k, x in empty.items() if x}


def empty_warning(name: str, indices: Sequence[int], source: str) -> Diagnostic:
    """Make the warning OP0682 about the samples `indices` of an output."""
    noun = "sample" if len(indices) == 1 else "samples"
    return Diagnostic(
        "OP0682",
        f"`{name}` is masked everywhere in {len(indices)} {noun}: {first_ones(indices)}",
        notes=("such samples are left out of losses and of all errors of this output",),
        helps=(Help("leave them out of the file"),),
        severity="warning",
        file=source,
    )
