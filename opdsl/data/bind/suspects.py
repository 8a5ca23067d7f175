"""Find samples that look corrupt: their values are far from those of all other samples.

Such samples are reported and never dropped.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from opdsl.data.bind.samples import Fields, Role
from opdsl.diagnostics import Diagnostic, Help
from opdsl.nn.points.batch import Values, all_values, split_samples
from opdsl.nn.points.packed import Packed

FAR = 12.0  # robust deviations; sound published sets (Darcy, Burgers) stay below 10
FEWEST = 16  # samples; fewer do not say what is usual
FLOOR = 0.02  # least deviation, in units of a sample's own size: no alarm about rounding
MAD = 1.4826  # median absolute deviation -> standard deviation, for normal data
SHOWN = 5
PIECE = 64  # samples converted to float64 at a time

SizesAndEnds = tuple[Tensor, Tensor, Tensor]


def suspects(values: Mapping[str, Values], roles: Mapping[str, Role]) -> tuple[int, ...]:
    """Indices of samples in which an output is over FAR robust deviations from the median sample.

    Three statistics of each sample count: log rms, min / rms and max / rms over all channels and
    points. The last two do not change with its scale; they detect a pressure below zero where every
    other sample keeps the maximum principle. A robust deviation is MAD times the median absolute
    deviation, and FLOOR at least.
    """
    judged = [x for n, x in values.items() if roles[n] != "input" and len(x) >= FEWEST]
    return far_samples([sizes_and_ends(x) for x in judged])


def far_samples(statistics: Iterable[SizesAndEnds]) -> tuple[int, ...]:
    """Indices of samples of which a statistic is far from those of the others.

    Args:
        statistics: of each output, all its samples together.
    """
    far = [odd for x in statistics if len(x[0]) >= FEWEST for odd in _far(*x)]
    return tuple(sorted({int(i) for odd in far for i in odd.nonzero()}))


def suspects_warning(fields: Fields) -> Diagnostic | None:
    """Return the warning OP0616 about the suspects of a data set; None if there are none."""
    indices = fields.suspects
    if not indices:
        return None
    noun = "sample looks" if len(indices) == 1 else "samples look"
    return Diagnostic(
        "OP0616",
        f"{len(indices)} {noun} corrupt: {first_ones(indices)}",
        notes=("an output lies far outside what all other samples of the set do",),
        helps=(Help("look at them; they are kept, since only you can say whether they are sound"),),
        severity="warning",
        file=fields.source,
    )


def zero_truth_warnings(
    outputs: Mapping[str, Values],
    timed: Container[str],
    fields: Fields,
    masks: Mapping[str, Values] | None = None,
) -> Iterator[Diagnostic]:
    """Yield the warnings OP0631 about samples whose truth, or a step of it, is zero everywhere.

    Args:
        outputs: the outputs for training, (samples, channels, *grid) or packed.
        timed: names of outputs with a time axis after the sample axis.
        fields: the fields of the file that the outputs are from.
        masks: output -> which of its values count, all if it is not there; what has no value that
            counts is not reported.
    """
    for name, indices in zero_truths(outputs, timed, fields.start, masks).items():
        yield zero_truth_warning(name, indices, fields.source, timed=name in timed)


def zero_truths(
    outputs: Mapping[str, Values],
    timed: Container[str],
    start: int,
    masks: Mapping[str, Values] | None = None,
) -> dict[str, list[int]]:
    """Return the samples whose truth, or a step of it, is zero everywhere, for each output.

    Args:
        outputs, timed, masks: as for `zero_truth_warnings`.
        start: how many samples come before.
    """
    zero = {}
    for name, x in outputs.items():
        axes, mask = 2 if name in timed else 1, (masks or {}).get(name)
        zero[name] = ~any_true(x, axes) if mask is None else _vanishing(x, mask, axes)
    rows = {k: [start + i for i in x.nonzero().flatten().tolist()] for k, x in zero.items()}
    return {k: x for k, x in rows.items() if x}


def zero_truth_warning(
    name: str, indices: Sequence[int], source: str, *, timed: bool
) -> Diagnostic:
    """Make the warning OP0631 about the samples `indices` of an output."""
    noun = "sample" if len(indices) == 1 else "samples"
    where = "in a step of" if timed else "in"
    return Diagnostic(
        "OP0631",
        f"`{name}` is zero everywhere {where} {len(indices)} {noun}: {first_ones(indices)}",
        notes=("relative errors need a truth that is not zero: their means leave it out",),
        helps=(Help("`zero_rmse` among the errors says how far the prediction is from zero"),),
        severity="warning",
        file=source,
    )


def any_true(x: Values, axes: int = 1) -> Tensor:
    """Whether each sample (if `axes` is 2: each of its steps) has a nonzero value; (samples,)."""
    if isinstance(x, Packed):
        return torch.stack([y.any() for y in x.parts])
    return x.flatten(axes).any(axes).reshape(len(x), -1).all(1)


def _vanishing(x: Values, mask: Values, axes: int) -> Tensor:
    """Whether the values that count, of which there are some, are zero in a sample or a step."""
    if isinstance(x, Packed):
        pairs = zip(x.parts, split_samples(mask), strict=True)
        return torch.stack([~(y != 0)[m.expand_as(y)].any() & m.any() for y, m in pairs])
    valid = all_values(mask).expand_as(x)
    some, known = ((y.flatten(axes).any(axes)) for y in ((x != 0) & valid, valid))
    return (~some & known).reshape(len(x), -1).any(1)


def first_ones(indices: Sequence[int]) -> str:
    """List the first indices of samples, for a message."""
    return ", ".join(str(i) for i in indices[:SHOWN]) + (", ..." if len(indices) > SHOWN else "")


def sizes_and_ends(x: Values) -> SizesAndEnds:
    """Root mean square, least and largest value of each sample; (samples,) each, float64."""
    if isinstance(x, Packed) and len(set(x.sizes)) == 1:
        x = x.values[0].reshape(x.channels, len(x), -1).movedim(1, 0)
    parts = split_samples(x) if isinstance(x, Packed) else torch.split(x, PIECE)
    statistics = [_size_and_ends(y[None] if isinstance(x, Packed) else y) for y in parts]
    size, low, high = (torch.cat(y) for y in zip(*statistics, strict=True))
    return size, low, high


def _far(size: Tensor, low: Tensor, high: Tensor) -> list[Tensor]:
    """Whether each of the three statistics of a sample is far from the median; (samples,) bool."""
    # a value that is not finite is reported as an error where the field is used
    sound = size.isfinite()
    numbers = (size.log(), low / size, high / size)
    return [(_deviation(s).abs() > FAR) & sound for s in numbers]


def _size_and_ends(x: Tensor) -> SizesAndEnds:
    flat = x.flatten(1).to(torch.float64)
    size = flat.square().mean(1).sqrt().clamp_min(torch.finfo(torch.float64).tiny)
    low, high = flat.aminmax(dim=1)
    return size, low, high


def _deviation(s: Tensor) -> Tensor:
    centre = s.nanmedian()
    spread = MAD * (s - centre).abs().nanmedian()
    return (s - centre) / spread.clamp_min(FLOOR)
