"""Linear maps from a weight of neuraloperator to one of ours, through which gradients pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

MOST_FACTORS = 6  # in and out, and four axes
MOST_FUNCTIONS = 256  # of a local kernel
MOST_CHANNELS = 4096  # that a kernel sees
MOST_NUMBERS = 64  # that a norm is told
WAVES = ("transformer", "nerf")
POSITIONS = 10000  # the slowest wave of a transformer is slower by this


def numbers(x: Tensor) -> Tensor:
    """Complex numbers, which some classes there keep as pairs, as we do."""
    return x if x.is_complex() else torch.view_as_complex(x)


def same(x: Tensor) -> Tensor:
    """As it is."""
    return x


def flat(x: Tensor) -> Tensor:
    """(1, c, 1, ...) or (c, 1, ...) -> (c,)."""
    return x.flatten()


def matrix(x: Tensor) -> Tensor:
    """A convolution over one point, (out, in, 1) -> (out, in)."""
    return x.flatten(1)


def stencil(x: Tensor) -> Tensor:
    """(out, in, *kernel) -> (*kernel, in, out)."""
    return x.movedim((1, 0), (-2, -1))


def spectral(x: Tensor) -> Tensor:
    """Complex (in, out, *frequencies) -> pairs (*frequencies, in, out, 2)."""
    return torch.view_as_real(numbers(x).movedim((0, 1), (-2, -1)).resolve_conj())


def separable(x: Tensor) -> Tensor:
    """Complex (in, *frequencies) -> pairs (*frequencies, in, 2)."""
    return torch.view_as_real(numbers(x).movedim(0, -1))


def series(x: Tensor) -> Tensor:
    """Complex (1, c, *frequencies) -> pairs (*frequencies, c, 2)."""
    return separable(x[0])


def first_half(x: Tensor) -> Tensor:
    """Of a convolution over one point, what it does with the first half of its channels."""
    return matrix(x)[:, : x.shape[1] // 2]


def second_half(x: Tensor) -> Tensor:
    """The second half of a weight, as `first_half` takes the first."""
    return matrix(x)[:, x.shape[1] // 2 :]


def upper(x: Tensor) -> Tensor:
    """The first half of its rows."""
    return x[: len(x) // 2]


def lower(x: Tensor) -> Tensor:
    """The other half."""
    return x[len(x) // 2 :]


def upper_less_one(x: Tensor) -> Tensor:
    """A scale a, as the b of 1 + b."""
    return upper(x) - 1


def apart(x: Tensor) -> Tensor:
    """Columns for sines and cosines in turns -> those for sines, then those for cosines."""
    return torch.cat((x[:, 0::2], x[:, 1::2]), 1)


def waves(kind: str, numbers: int, weight: Tensor) -> Tensor:
    """The frequencies of waves of each number, of which only the count is in a weight (out, in).

    Returns:
        (numbers, numbers * frequencies), zero but for a row of frequencies for each number.
    """
    count = weight.shape[1] // (2 * numbers)
    steps = torch.arange(count, dtype=torch.float64, device=weight.device)
    rates = 2**steps * math.pi if kind == "nerf" else POSITIONS ** (-2 * steps / count)
    return torch.kron(_unit(numbers, like=rates), rates[None]).to(weight.dtype)


def swapped(seen: int, weight: Tensor) -> Tensor:
    """Columns for y, x and the `seen` channels at y -> those for x, y and the channels."""
    half = (weight.shape[1] - seen) // 2
    return torch.cat((weight[:, half : 2 * half], weight[:, :half], weight[:, 2 * half :]), 1)


def pairs(x: Tensor) -> Tensor:
    """Complex numbers -> pairs."""
    return torch.view_as_real(numbers(x))


def weighted(weights: Tensor, factor: Tensor) -> Tensor:
    """The first factor of a CP tensor, which takes the weights of its terms -> pairs."""
    return torch.view_as_real(numbers(factor) * numbers(weights))


def train(index: int, *factors: Tensor) -> Tensor:
    """The factor `index` of a train (rank before, size, rank behind) -> pairs.

    Where a rank is above the full one, the next factor is multiplied into this one, or this one
    into the next: the product of all stays what it is, and the rest of the factor changes nothing.
    """
    parts = [numbers(x) for x in factors]
    for i in range(len(parts) - 1, 0, -1):
        rows = parts[i].flatten(1)
        if rows.shape[0] > rows.shape[1]:
            parts[i - 1] = torch.tensordot(parts[i - 1], rows, 1)
            parts[i] = _unit(rows.shape[1], like=rows).reshape(-1, *parts[i].shape[1:])
    for i in range(len(parts) - 1):
        columns = parts[i].flatten(0, 1)
        if columns.shape[1] > columns.shape[0]:
            parts[i + 1] = torch.tensordot(columns, parts[i + 1], 1)
            parts[i] = _unit(columns.shape[0], like=columns).reshape(*parts[i].shape[:2], -1)
    return torch.view_as_real(parts[index])


def _unit(n: int, like: Tensor) -> Tensor:
    return torch.eye(n, dtype=like.dtype, device=like.device)


def functions(count: int, weight: Tensor) -> Tensor:
    """(out, in, functions) -> (count, in, out), without weights of functions that are zero."""
    return weight[..., :count].permute(2, 1, 0)


def sampled(table: Tensor, weight: Tensor) -> Tensor:
    """Functions at the points of a stencil, and their weights (out, in, functions) -> a stencil.

    A table holds values for which the sum over the points, times a cell, is one; it is applied
    transposed and turned round.
    """
    cell = 1 / table[0].sum()
    values = (table * cell).permute(0, 2, 1).flip(1, 2)
    return torch.einsum("fpq,oif->pqio", values, weight)


CHANGES: dict[str, Callable[..., Tensor]] = (
    {
        x.__name__: x
        for x in (
            same,
            flat,
            matrix,
            stencil,
            spectral,
            separable,
            series,
            first_half,
            second_half,
            upper,
            lower,
            upper_less_one,
            apart,
            pairs,
            weighted,
            sampled,
        )
    }
    | {f"train_{i}": partial(train, i) for i in range(MOST_FACTORS)}
    | {f"functions_{n}": partial(functions, n) for n in range(1, MOST_FUNCTIONS)}
    | {f"swapped_{n}": partial(swapped, n) for n in range(MOST_CHANNELS)}
    | {f"waves_{x}_{n}": partial(waves, x, n) for x in WAVES for n in range(1, MOST_NUMBERS)}
)
