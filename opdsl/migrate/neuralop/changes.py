"""Linear, differentiable maps from weights of neuraloperator to ours."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

MOST_FACTORS = 6  # in, out and four axes
MOST_FUNCTIONS = 256  # of a local kernel
MOST_CHANNELS = 4096  # input channels of a kernel
MOST_NUMBERS = 64  # components of the vector of an adaptive norm
WAVES = ("transformer", "nerf")
POSITIONS = 10000  # ratio of the fastest and the slowest wave of a transformer embedding


def numbers(x: Tensor) -> Tensor:
    """Convert pairs (..., 2) to complex numbers; some classes of neuraloperator store pairs."""
    return x if x.is_complex() else torch.view_as_complex(x)


def same(x: Tensor) -> Tensor:
    """Return the weight unchanged."""
    return x


def flat(x: Tensor) -> Tensor:
    """Flatten (1, c, 1, ...) or (c, 1, ...) -> (c,)."""
    return x.flatten()


def matrix(x: Tensor) -> Tensor:
    """Convert a convolution over one point to a matrix: (out, in, 1) -> (out, in)."""
    return x.flatten(1)


def stencil(x: Tensor) -> Tensor:
    """Permute a convolution kernel: (out, in, *kernel) -> (*kernel, in, out)."""
    return x.movedim((1, 0), (-2, -1))


def spectral(x: Tensor) -> Tensor:
    """Permute a spectral weight: complex (in, out, *frequencies) -> (*frequencies, in, out, 2)."""
    return torch.view_as_real(numbers(x).movedim((0, 1), (-2, -1)).resolve_conj())


def separable(x: Tensor) -> Tensor:
    """Permute a separable spectral weight: complex (in, *frequencies) -> (*frequencies, in, 2)."""
    return torch.view_as_real(numbers(x).movedim(0, -1))


def series(x: Tensor) -> Tensor:
    """Permute Fourier coefficients: complex (1, c, *frequencies) -> (*frequencies, c, 2)."""
    return separable(x[0])


def first_half(x: Tensor) -> Tensor:
    """Select the first half of the input channels: (out, in, 1) -> (out, in / 2)."""
    return matrix(x)[:, : x.shape[1] // 2]


def second_half(x: Tensor) -> Tensor:
    """Select the second half of the input channels: (out, in, 1) -> (out, in / 2)."""
    return matrix(x)[:, x.shape[1] // 2 :]


def upper(x: Tensor) -> Tensor:
    """Select the first half of the rows."""
    return x[: len(x) // 2]


def lower(x: Tensor) -> Tensor:
    """Select the second half of the rows."""
    return x[len(x) // 2 :]


def upper_less_one(x: Tensor) -> Tensor:
    """Select the first half of the rows and subtract 1: a scale a as the b of 1 + b."""
    return upper(x) - 1


def apart(x: Tensor) -> Tensor:
    """Reorder columns: alternating sines and cosines -> all sines, then all cosines."""
    return torch.cat((x[:, 0::2], x[:, 1::2]), 1)


def waves(kind: str, numbers: int, weight: Tensor) -> Tensor:
    """Frequencies of the waves of each number; the weight (out, in) only tells their count.

    Returns:
        (numbers, numbers * frequencies), block diagonal, with a row of frequencies for each number.
    """
    count = weight.shape[1] // (2 * numbers)
    steps = torch.arange(count, dtype=torch.float64, device=weight.device)
    rates = 2**steps * math.pi if kind == "nerf" else POSITIONS ** (-2 * steps / count)
    return torch.kron(_unit(numbers, like=rates), rates[None]).to(weight.dtype)


def swapped(seen: int, weight: Tensor) -> Tensor:
    """Reorder columns: y, x and the `seen` channels at y -> x, y and the channels."""
    half = (weight.shape[1] - seen) // 2
    return torch.cat((weight[:, half : 2 * half], weight[:, :half], weight[:, 2 * half :]), 1)


def pairs(x: Tensor) -> Tensor:
    """Convert complex numbers to pairs (..., 2)."""
    return torch.view_as_real(numbers(x))


def weighted(weights: Tensor, factor: Tensor) -> Tensor:
    """Multiply the first factor of a CP tensor by the weights of its terms -> pairs."""
    return torch.view_as_real(numbers(factor) * numbers(weights))


def train(index: int, *factors: Tensor) -> Tensor:
    """Factor `index` of a tensor train (rank before, size, rank behind) -> pairs.

    Where a rank is above the full one, a factor is multiplied into its neighbour and replaced by
    the identity, which lowers the rank and leaves the product of all factors unchanged.
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
    """Select the first `count` functions: (out, in, functions) -> (count, in, out)."""
    return weight[..., :count].permute(2, 1, 0)


def sampled(table: Tensor, weight: Tensor) -> Tensor:
    """Combine tabulated functions (functions, p, q) with their weights (out, in, functions).

    The values of a function sum to 1 / cell, with the area of a cell. The kernel is applied
    transposed and reflected.

    Returns:
        (p, q, in, out), a stencil.
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
