"""Factorised weights: a tensor (in, out, *frequencies) as a product of small ones.

A separable weight has the shape (channels, *frequencies). Factors can be applied to a spectrum
without making the whole tensor: R_k = A C_k B with A and B common to all modes.

The tensor is complex, and each factor a parameter of pairs (re, im); or it is real (`real`), and
the shapes below lack the last axis. The names and shapes are those of tensorly-torch, whose
published weights therefore fit; its vector `weights` of a CP tensor is a factor's columns.

Source: Kolda and Bader 2009, doi:10.1137/07070111X; Oseledets 2011, doi:10.1137/090752286; for
operators Kossaifi et al. 2023, arXiv:2310.00120.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce

import torch
from torch import Tensor, nn

from opdsl.nn.shapes import Size
from opdsl.nn.spectral.tucker import core_matrices, rank_space_product


class CP(nn.Module):
    """R[i, j, ...] = sum_r U_1[i, r] U_2[j, r] ...: a sum of `rank` products of vectors.

    Attributes:
        factors: U_n, (size of the axis, rank, 2).
        cut: the axes on the left of the product of two matrices that makes R.
    """

    def __init__(self, shape: Size, ranks: Size, *, real: bool = False) -> None:
        super().__init__()
        self.real = real
        (self.rank,) = ranks
        self.shape = shape
        orders = range(1, len(shape))
        self.cut = min(orders, key=lambda i: math.prod(shape[:i]) + math.prod(shape[i:]))
        self.factors = parameters(((n, self.rank) for n in shape), real=real)

    def reset_parameters(self, variance: float) -> None:
        """Draw normal factors for which E|R|^2 is `variance`."""
        variance_of_each = (variance / self.rank) ** (1 / len(self.shape))
        init_normal(self.factors, variance_of_each, real=self.real)

    def full(self, dtype: torch.dtype) -> Tensor:
        """Compute R, of `shape`, by one product of two matrices of small inner size."""
        factors = [numbers(x, dtype, real=self.real) for x in self.factors]
        left, right = factors[: self.cut], factors[self.cut :]
        return (khatri_rao(left) @ khatri_rao(right).T).reshape(self.shape)

    def mix(self, u: Tensor, dtype: torch.dtype) -> Tensor:
        """Map (batch, modes, in) -> (batch, modes, out) by U_1, a number for each mode, and U_2."""
        in_factor, out_factor, *rest = (numbers(x, dtype, real=self.real) for x in self.factors)
        return (u @ in_factor * khatri_rao(rest)) @ out_factor.T


class Tucker(nn.Module):
    """R = core x_1 U_1 x_2 U_2 ...: a small tensor with a matrix on each axis.

    Attributes:
        core: (*ranks, 2).
        factors: U_n, (size of the axis, its rank, 2).
    """

    def __init__(self, shape: Size, ranks: Size, *, real: bool = False) -> None:
        super().__init__()
        self.real = real
        self.shape, self.ranks = shape, ranks
        self.core = nn.Parameter(torch.empty(*ranks, *(() if real else (2,))))
        self.factors = parameters(zip(shape, ranks, strict=True), real=real)

    def reset_parameters(self, variance: float) -> None:
        """Draw normal core and factors for which E|R|^2 is `variance`."""
        factor_variance = (variance / math.prod(self.ranks)) ** (1 / (len(self.shape) + 1))
        init_normal((self.core, *self.factors), factor_variance, real=self.real)

    def full(self, dtype: torch.dtype) -> Tensor:
        """Compute R, of `shape`."""
        return multi_mode_product(
            numbers(self.core, dtype, real=self.real),
            [numbers(x, dtype, real=self.real) for x in self.factors],
        )

    def mix(self, u: Tensor, dtype: torch.dtype) -> Tensor:
        """Map (batch, modes, in) -> (batch, modes, out) by U_1, a matrix for each mode, and U_2."""
        in_factor, out_factor, *rest = (numbers(x, dtype, real=self.real) for x in self.factors)
        cores = (
            multi_mode_product(numbers(self.core, dtype, real=self.real), rest, skip=2)
            .flatten(2)
            .permute(2, 0, 1)
        )
        return (torch.bmm((u @ in_factor).transpose(0, 1), cores) @ out_factor.T).transpose(0, 1)

    def mix_parts(self, x: Tensor) -> Tensor:
        """Apply `mix` by parts: (batch, 2, modes, in) -> (batch, 2, modes, out)."""
        in_factor, out_factor, *rest = (y.to(x.dtype) for y in self.factors)
        cores = core_matrices(self.core.to(x.dtype), rest)
        return rank_space_product(x, in_factor, cores, out_factor)


class TT(nn.Module):
    """R[i, j, ...] = G_1[i] G_2[j] ...: a matrix for each index of each axis, multiplied.

    Attributes:
        factors: G_n, (rank before, size of the axis, rank behind, 2); the outermost ranks are 1.
    """

    def __init__(self, shape: Size, ranks: Size, *, real: bool = False) -> None:
        super().__init__()
        self.real = real
        self.shape, self.ranks = shape, ranks
        self.factors = parameters(zip((1, *ranks), shape, (*ranks, 1), strict=True), real=real)

    def reset_parameters(self, variance: float) -> None:
        """Draw normal factors for which E|R|^2 is `variance`."""
        variance_of_each = (variance / math.prod(self.ranks)) ** (1 / len(self.shape))
        init_normal(self.factors, variance_of_each, real=self.real)

    def full(self, dtype: torch.dtype) -> Tensor:
        """Compute R, of `shape`."""
        return tensor_train([numbers(x, dtype, real=self.real) for x in self.factors]).reshape(
            self.shape
        )

    def mix(self, u: Tensor, dtype: torch.dtype) -> Tensor:
        """Map (batch, modes, in) -> (batch, modes, out) by G_1, then each mode's other factors."""
        in_factor, out_factor, *rest = (numbers(x, dtype, real=self.real) for x in self.factors)
        tail = tensor_train(rest).flatten(1)  # (rank, modes)
        cores = torch.tensordot(out_factor, tail, 1).permute(2, 0, 1)
        return torch.bmm((u @ in_factor[0]).transpose(0, 1), cores).transpose(0, 1)


Factored = CP | Tucker | TT
FACTORS: dict[str, type[CP | Tucker | TT]] = {"cp": CP, "tucker": Tucker, "tt": TT}


# --- parts ------------------------------------------------------------------------------------


def parameters(shapes: Iterable[Size], *, real: bool) -> nn.ParameterList:
    """Make uninitialised parameters of these shapes, of real numbers or of pairs (re, im)."""
    pair = () if real else (2,)
    return nn.ParameterList(nn.Parameter(torch.empty(*shape, *pair)) for shape in shapes)


def init_normal(factors: Iterable[Tensor], variance: float, *, real: bool) -> None:
    """Fill with normal numbers z, E|z|^2 = `variance`."""
    for x in factors:
        nn.init.normal_(x, std=math.sqrt(variance if real else variance / 2))


def numbers(x: Tensor, dtype: torch.dtype, *, real: bool) -> Tensor:
    """Convert real numbers to `dtype`, or view pairs as complex numbers whose parts have it."""
    return x.to(dtype) if real else torch.view_as_complex(x.to(dtype))


def khatri_rao(factors: list[Tensor]) -> Tensor:
    """Compute the column-wise Kronecker product: (n_i, r) each -> (n_1 n_2 ..., r)."""
    return reduce(lambda a, b: (a[:, None] * b).flatten(0, 1), factors)


def multi_mode_product(core: Tensor, factors: list[Tensor], skip: int = 0) -> Tensor:
    """Multiply each axis of `core` but the first `skip` by a matrix of (n_i, r_i)."""
    for x in factors:
        # tensordot appends the new axis, so `skip` is then the next one to multiply
        core = torch.tensordot(core, x, ([skip], [1]))
    return core


def tensor_train(factors: list[Tensor]) -> Tensor:
    """Contract a tensor train: (r_0, n_1, r_1), (r_1, n_2, r_2), ... -> (r_0, n_1, ..., r_last)."""
    return reduce(lambda a, b: torch.tensordot(a, b, 1), factors)
