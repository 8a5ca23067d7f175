"""Ranks of a factorised weight: their notation in a program, and their cost.

The tensors are in `opdsl.nn.spectral.factors`.

A fraction is the approximate part of the dense tensor's numbers that the factors have; the
proportions of the ranks are those of tensorly (`validate_cp_rank`, `validate_tucker_rank`,
`validate_tt_rank`), whose trains may also have ranks above the full one, numbers without effect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from opdsl.ir.block import Refusal
from opdsl.ir.dims import Dim
from opdsl.ir.spaces import Space

Factor = Literal["cp", "tucker", "tt"]
Rank = int | float | tuple[int, ...]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes of a tensor with their names: `in 64, out 64, x 33, y 17`."""

    names: tuple[str, ...]
    shape: Shape


def find_ranks(factor: Factor, axes: Axes, rank: Rank) -> Shape:
    """Return the ranks: one for `cp`, one for each axis of `tucker`, one between axes of `tt`.

    Raises:
        Refusal: OP0208, the rank does not fit the tensor.
    """
    if isinstance(rank, float):
        if not 0 < rank <= 1:
            raise _no_fraction(rank, factor)
        return _of_fraction(factor, axes.shape, rank)
    greatest = GREATEST[factor](axes.shape)
    ranks = (rank,) * len(greatest) if isinstance(rank, int) else rank
    if len(ranks) != len(greatest):
        raise _wrong_length(factor, axes, len(ranks))
    if min(ranks) < 1:
        raise _refused(f"a rank of {min(ranks)}", "a rank is 1 or more")
    if any(r > top for r, top in zip(ranks, greatest, strict=True)):
        raise _too_large(factor, axes, ranks, greatest)
    return ranks


def ranks_of(factor: Factor | Literal["dense"], axes: Axes, rank: Rank) -> Shape:
    """Return the ranks of a weight; a dense weight has none.

    Raises:
        Refusal: OP0208, the rank does not fit the weight.
    """
    if factor != "dense":
        return find_ranks(factor, axes, rank)
    if rank == 1.0:
        return ()
    raise Refusal(
        "OP0208",
        "a dense weight has no rank",
        "this would change nothing",
        at="rank",
        helps=("choose factors: `factor = tucker`", "or leave `rank` out"),
    )


def own_channels(x: Space, out: Dim | None) -> None:
    """Check that a separable convolution keeps the number of channels.

    Raises:
        Refusal: OP0303, `out` is another number.
    """
    if out in (None, x.channels):
        return
    raise Refusal(
        "OP0303",
        f"a separable convolution keeps {x.channels} channels, not {out}",
        "each channel meets itself only",
        at="out",
        helps=(f"change the channels by `linear(out = {out})`",),
    )


def count_numbers(factor: Factor, shape: Shape, ranks: Shape) -> int:
    """Count the complex numbers in all factors."""
    return int(_numbers(factor, shape, ranks))


def _numbers(factor: Factor, shape: Shape, ranks: Sequence[float]) -> float:
    if factor == "cp":
        return sum(shape) * ranks[0]
    if factor == "tucker":
        return math.prod(ranks) + sum(n * r for n, r in zip(shape, ranks, strict=True))
    return sum(a * n * b for a, n, b in zip((1, *ranks), shape, (*ranks, 1), strict=True))


def whole_products(factor: Factor, shape: Shape, ranks: Shape) -> int:
    """Count the complex products that multiply the factors out to the dense tensor."""
    if factor == "cp":
        return math.prod(shape) * ranks[0]
    if factor == "tucker":
        return _expansion(math.prod(ranks), shape, ranks)
    return _chain((1, *ranks, 1), shape)


def rank_products(factor: Factor, shape: Shape, ranks: Shape) -> tuple[int, int]:
    """Count the complex products of contractions in rank space: per call, and per sample.

    The tensor is (in, out, *frequencies); each mode has a small matrix between two common ones.
    """
    inward, outward, *rest = shape
    modes = math.prod(rest)
    if factor == "cp":
        return modes * ranks[0], modes * ranks[0] * (inward + 1 + outward)
    if factor == "tucker":
        first, second, *others = ranks
        small = _expansion(math.prod(ranks), tuple(rest), tuple(others))
        return small, modes * (inward * first + first * second + second * outward)
    first, second = ranks[:2]
    tail = _chain((*ranks[1:], 1), tuple(rest)) + first * outward * second * modes
    return tail, modes * (inward * first + first * outward)


def _expansion(numbers: int, shape: Shape, ranks: Shape) -> int:
    total = 0
    for n, r in zip(shape, ranks, strict=True):
        total += numbers * n
        numbers = numbers // r * n
    return total


def _chain(ranks: Shape, shape: Shape) -> int:
    """Count the products of multiplying cores (r_i, n_i, r_(i+1)) from the left."""
    numbers, total = ranks[0] * shape[0] * ranks[1], 0
    for n, (before, behind) in list(zip(shape, pairwise(ranks), strict=True))[1:]:
        total += numbers * n * behind
        numbers = numbers // before * n * behind
    return total


# --- ranks of a fraction ----------------------------------------------------------------------


def _of_fraction(factor: Factor, shape: Shape, fraction: float) -> Shape:
    """Find ranks in fixed proportions, none above full rank, for a fraction of all numbers."""
    greatest, parts = GREATEST[factor](shape), PROPORTIONS[factor](shape)
    target = fraction * math.prod(shape)

    def ranks(scale: float) -> list[float]:
        return [min(scale * p, top) for p, top in zip(parts, greatest, strict=True)]

    low, high = 0.0, max(top / p for p, top in zip(parts, greatest, strict=True))
    for _ in range(100):
        middle = (low + high) / 2
        few = _numbers(factor, shape, ranks(middle)) < target
        low, high = (middle, high) if few else (low, middle)
    return tuple(max(1, round(r)) for r in ranks(high))


PROPORTIONS: dict[Factor, Callable[[Shape], Sequence[float]]] = {
    "cp": lambda _: (1,),
    "tucker": lambda shape: shape,
    "tt": lambda shape: [(a + b) / 2 for a, b in pairwise(shape)],
}


# --- greatest ranks ---------------------------------------------------------------------------


def _cp_greatest(shape: Shape) -> Shape:
    """Multiply all axes but the longest: unit vectors on those make up any tensor."""
    return (math.prod(shape) // max(shape),)


def _tt_greatest(shape: Shape) -> Shape:
    """Bound each rank by the smaller side of the tensor as a matrix, cut between two axes."""
    return tuple(min(math.prod(shape[:i]), math.prod(shape[i:])) for i in range(1, len(shape)))


GREATEST: dict[Factor, Callable[[Shape], Shape]] = {
    "cp": _cp_greatest,
    "tucker": lambda shape: shape,
    "tt": _tt_greatest,
}


# --- messages ---------------------------------------------------------------------------------


def _no_fraction(rank: float, factor: Factor) -> Refusal:
    cure = "rank = 8" if factor == "cp" else "rank = (8, 8, ...)"
    return _refused(
        f"a rank of {rank:g} is no part of a whole",
        "a fraction is above 0 and at most 1",
        notes=("a fraction says how many numbers the factors have, as a part of the dense weight",),
        helps=(
            "write `rank = 0.1` for a tenth of the numbers",
            f"`spectral_conv` takes the ranks themselves too, whole numbers: `{cure}`",
        ),
    )


def _wrong_length(factor: Factor, axes: Axes, count: int) -> Refusal:
    expected, label = _wanted(factor, axes)
    return _refused(
        f"{count} rank{'' if count == 1 else 's'} for a weight that has {expected}",
        label,
        notes=(f"the axes of the weight are {_list_axes(axes.names, axes.shape)}",),
        helps=("one fraction stands for all of them: `rank = 0.1`",),
    )


def _wanted(factor: Factor, axes: Axes) -> tuple[int, str]:
    if factor == "cp":
        return 1, "`cp` has one rank"
    if factor == "tucker":
        return len(axes.names), f"`tucker` has one for each of {', '.join(axes.names)}"
    between = ", ".join(f"{a} and {b}" for a, b in pairwise(axes.names))
    return len(axes.names) - 1, f"`tt` has one between {between}"


def _too_large(factor: Factor, axes: Axes, ranks: Shape, greatest: Shape) -> Refusal:
    where = next(i for i, (r, top) in enumerate(zip(ranks, greatest, strict=True)) if r > top)
    fits = tuple(min(r, top) for r, top in zip(ranks, greatest, strict=True))
    return _refused(
        f"a rank of {ranks[where]} is above the full rank, {greatest[where]}",
        f"{_place(factor, axes, where)}{greatest[where]} hold every tensor of this size",
        notes=(f"the axes of the weight are {_list_axes(axes.names, axes.shape)}",),
        helps=(f"`rank = {fits[0] if len(fits) == 1 else fits}`",),
    )


def _place(factor: Factor, axes: Axes, where: int) -> str:
    if factor == "cp":
        return ""
    if factor == "tucker":
        return f"on {axes.names[where]}, "
    return f"between {axes.names[where]} and {axes.names[where + 1]}, "


def _list_axes(names: Sequence[str], shape: Shape) -> str:
    return ", ".join(f"{name} {n}" for name, n in zip(names, shape, strict=True))


def _refused(
    message: str, label: str, notes: tuple[str, ...] = (), helps: tuple[str, ...] = ()
) -> Refusal:
    return Refusal("OP0208", message, label, at="rank", notes=notes, helps=helps)
