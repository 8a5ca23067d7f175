"""A permutation test of whether samples have a declared symmetry.

Let G be the group of a symmetry. If the distribution of a sample z does not change under G, then z
and B z are exchangeable, where B is drawn from a set of elements that contains their inverses. The
difference of any feature, d = phi(z) - phi(B z), then has a distribution symmetric about zero, and
random signs of the d of independent samples give the exact distribution of any statistic of them.

Source: Good 2005, "Permutation, parametric and bootstrap tests of hypotheses", chapter 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from opdsl.nn.points.batch import all_values
from opdsl.train.config.symmetries import Symmetry
from opdsl.train.engine.forward.symmetries import choices, transformed
from opdsl.train.engine.loader import FieldValues

LEVEL = 1e-3  # largest probability of a false alarm for one symmetry
SIGNS = 3999  # random sign vectors of the null distribution
EFFECT = 1e-3  # least difference of means, relative to the size of the feature, that is reported
SAMPLES = 200
NUMBERS = 4_000_000  # values of all functions that are looked at, unless 32 samples have more
FINEST = {1: 256, 2: 32}  # points on each axis, by the number of axes; 16 on grids of more axes
CELLS = {1: 8, 2: 4}  # coarse cells on each axis, by the number of axes; 2 on grids of more axes
LAGS = (16, 4)  # products are also taken at distances of a sixteenth and a quarter of an axis
MOST = 6  # channels of the inputs, and of the outputs, in products
STEPS = 4  # steps in time that are looked at

Quantity = Literal["mean", "mean square", "product"]


@dataclass(frozen=True, slots=True)
class Asymmetry:
    """The feature of the samples that contradicts a symmetry most.

    Attributes:
        names: the input or output, or the two whose product changes, each with its channel.
        quantity: the feature of them.
        effect: |mean change of the feature| relative to its root mean square size.
        errors: that change in standard errors.
        probability: of a change as large in samples that have the symmetry.
        samples: how many were looked at.
    """

    names: tuple[tuple[str, int], ...]
    quantity: Quantity
    effect: float
    errors: float
    probability: float
    samples: int


@dataclass(frozen=True, slots=True)
class _Features:
    """Features with equal labels: (samples, features) and their typical size."""

    names: tuple[tuple[str, int], ...]
    quantity: Quantity
    values: Tensor
    size: float


def asymmetry(
    symmetry: Symmetry, inputs: FieldValues, outputs: FieldValues, seed: int = 0
) -> Asymmetry | None:
    """Return what contradicts a symmetry at the level `LEVEL`; None if nothing does.

    Args:
        symmetry: the generator; its powers are tested with it.
        inputs, outputs: (samples, channels, *grid), or with steps in time before the channels.
        seed: of the random elements and signs.

    Features are averages over coarse cells of each channel, of its square, and of products of an
    input and an output, at equal points and at points that lie apart along an axis. The products
    detect an operator that lacks the symmetry where each function alone has it.
    """
    fields = _some(inputs | outputs, symmetry)
    count = len(next(iter(fields.values())))
    powers = choices(symmetry, fields)
    if count < 2 or powers < 2:
        return None
    random = torch.Generator().manual_seed(seed)
    chosen = _powers(symmetry, powers, torch.rand(count, generator=random))
    turned = _transformed(symmetry, fields, chosen)
    before, after = (list(_features(symmetry, x, inputs, outputs)) for x in (fields, turned))
    differences = torch.cat([x.values - y.values for x, y in zip(before, after, strict=True)], 1)
    sizes = torch.cat([torch.full((x.values.shape[1],), x.size) for x in before]).to(differences)
    effects = differences.mean(0).abs() / sizes.clamp_min(torch.finfo(sizes.dtype).tiny)
    scores, largest = _scores(differences, random)
    scores = torch.where(effects >= EFFECT, scores, 0)
    best = int(scores.argmax())
    probability = (1 + int((largest >= scores[best]).sum())) / (SIGNS + 1)
    if scores[best] == 0 or probability > LEVEL:
        return None
    owner = [x for x in before for _ in range(x.values.shape[1])][best]
    effect, errors = float(effects[best]), float(scores[best])
    return Asymmetry(owner.names, owner.quantity, effect, errors, probability, count)


def _powers(symmetry: Symmetry, count: int, uniform: Tensor) -> Tensor:
    """Return a random power for each sample, in [1, count).

    A generator of finite order and its inverse show every asymmetry most clearly; a shift by one
    point changes little, so any shift is drawn. Both sets contain the inverse of each element.
    """
    if symmetry.order is None:
        return 1 + (uniform * (count - 1)).long()
    return torch.where(uniform < 0.5, 1, count - 1)


def _some(fields: FieldValues, symmetry: Symmetry) -> dict[str, Tensor]:
    """Return evenly spaced samples of functions, (samples, steps, channels, *grid)."""
    tensors = {k: all_values(x) for k, x in fields.items()}
    total = min(len(x) for x in tensors.values())
    numbers = sum(x[0].numel() for x in tensors.values())
    count = min(total, SAMPLES, max(32, NUMBERS // max(1, numbers)))
    rows = torch.linspace(0, total - 1, count).round().long()
    return {k: _with_steps(x[rows], _dims(symmetry, k)) for k, x in tensors.items()}


def _dims(symmetry: Symmetry, name: str) -> int:
    grid = symmetry.maps.get(name)
    return grid.dims if grid else 0


def _with_steps(x: Tensor, dims: int) -> Tensor:
    """Add an axis of one step where there is none, and leave out all but a few steps."""
    if x.dim() == dims + 2:
        x = x[:, None]
    if x.shape[1] > STEPS:
        x = x[:, torch.linspace(0, x.shape[1] - 1, STEPS).round().long()]
    return x


def _coarse(x: Tensor, dims: int) -> Tensor:
    """Average over blocks of points where a grid is fine, in float64; a remainder is left out."""
    for axis in range(x.dim() - dims, x.dim()):
        size = x.shape[axis] // FINEST.get(dims, 16)
        if size > 1:
            count = x.shape[axis] // size
            blocks = (*x.shape[:axis], count, size, *x.shape[axis + 1 :])
            x = x.narrow(axis, 0, count * size).reshape(blocks).mean(axis + 1)
    return x.to(torch.complex128 if x.is_complex() else torch.float64)


def _transformed(
    symmetry: Symmetry, fields: Mapping[str, Tensor], powers: Tensor
) -> dict[str, Tensor]:
    """Apply another power of a symmetry to each sample."""
    result = {k: x.clone() for k, x in fields.items()}
    for power in sorted(set(powers.tolist())):
        rows = (powers == power).nonzero().flatten()
        some: FieldValues = {k: x[rows] for k, x in fields.items()}
        for k, x in transformed(symmetry, some, power).items():
            result[k][rows] = all_values(x)
    return result


def _scores(differences: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return |mean| in standard errors, and the largest of them for each vector of random signs.

    The standard errors do not depend on the signs.
    """
    errors = differences.square().sum(0).sqrt()
    scaled = differences / torch.where(errors > 0, errors, 1)
    signs = torch.randint(0, 2, (SIGNS, len(scaled)), generator=random).to(scaled) * 2 - 1
    return scaled.sum(0).abs(), (signs @ scaled).abs().amax(1)


# --------------------------------------------------------------------------------- features


def _features(
    symmetry: Symmetry,
    fields: Mapping[str, Tensor],
    inputs: FieldValues,
    outputs: FieldValues,
) -> Iterator[_Features]:
    """Yield the features of samples, in the same order for all samples of a set."""
    coarse = {k: _coarse(x, _dims(symmetry, k)) for k, x in fields.items()}
    channels = {k: list(_channels(k, x)) for k, x in coarse.items()}
    for name, of_name in channels.items():
        dims = _dims(symmetry, name)
        for label, x in of_name:
            size = float(x.square().mean().sqrt())
            yield _Features((label,), "mean", _averages(x, dims), size)
            yield _Features((label,), "mean square", _averages(x.square(), dims), size**2)
    sources = [x for k in inputs for x in channels[k]][:MOST]
    results = [x for k in outputs for x in channels[k]][:MOST]
    pairs = [(x, y) for x in sources for y in results]
    pairs += [(x, y) for i, x in enumerate(results) for y in results[:i]]
    for (a, x), (b, y) in pairs:
        dims = _dims(symmetry, a[0])
        same_steps = x.shape[1] == y.shape[1] or 1 in (x.shape[1], y.shape[1])
        if same_steps and x.shape[2:] == y.shape[2:] and dims == _dims(symmetry, b[0]):
            size = float(x.square().mean().sqrt() * y.square().mean().sqrt())
            yield _Features((a, b), "product", _averages(x * y, dims), size)
            yield _Features((a, b), "product", _lagged(x, y, dims), size)


def _channels(name: str, x: Tensor) -> Iterator[tuple[tuple[str, int], Tensor]]:
    """Yield each channel of a function, (samples, steps, *grid), with its label.

    A complex channel is its real and its imaginary part.
    """
    for i in range(x.shape[2]):
        for part in (x.real, x.imag) if x.is_complex() else (x,):
            yield (name, i), part[:, :, i]


def _averages(x: Tensor, dims: int) -> Tensor:
    """Average over all points and over coarse cells, and over time: (samples, 1 + cells)."""
    x = x.mean(1)
    count = CELLS.get(dims, 2)
    cells = x
    for axis in range(1, dims + 1):
        parts = cells.tensor_split(min(count, cells.shape[axis]), axis)
        cells = torch.stack([y.mean(axis) for y in parts], axis)
    flat = x.reshape(len(x), -1)
    return torch.cat([flat.mean(1, keepdim=True), cells.reshape(len(x), -1)], 1)


def _lagged(x: Tensor, y: Tensor, dims: int) -> Tensor:
    """Average x(p) y(p + lag) over points and time, for lags along each axis."""
    products = [
        x.narrow(axis, 0, n - lag) * y.narrow(axis, lag, n - lag)
        for axis, n in zip(range(x.dim() - dims, x.dim()), x.shape[x.dim() - dims :], strict=True)
        for lag in _lags(n)
    ]
    means = [z.flatten(1).mean(1) for z in products]
    return torch.stack(means, 1) if means else x.new_zeros(len(x), 0)


def _lags(n: int) -> Sequence[int]:
    return sorted({max(1, n // part) for part in LAGS}) if n > 1 else ()
