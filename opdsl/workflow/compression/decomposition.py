"""Decompose tensors by tensorly-torch: Tucker by HOOI from the HOSVD, CP by ALS, trains by TT-SVD.

Decompositions are computed in double precision, whatever the dtype of the tensor.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from opdsl.nn.spectral.factors import CP, TT, Factored, Tucker

WORK = 4e11  # real operations of an ALS, which bound the number of its iterations
MOST_ITERATIONS, LEAST_ITERATIONS = 200, 5


def decompose_into(target: Factored, tensor: Tensor) -> float:
    """Fill a factorised tensor by the decomposition of a dense one.

    Args:
        target: of the shape of `tensor`; its ranks are those of the decomposition.
        tensor: R, (in, out, *frequencies), complex unless `target` is real.

    Returns:
        ||R - decomposition|| / ||R||, 0 for R = 0.

    Source: De Lathauwer et al. 2000, doi:10.1137/S0895479896305696 (HOSVD) and
        doi:10.1137/S0895479898346995 (HOOI); Oseledets 2011, doi:10.1137/090752286 (TT-SVD);
        Kolda and Bader 2009, doi:10.1137/07070111X (ALS).
    """
    wide = tensor.detach().cpu().to(torch.complex128 if tensor.is_complex() else torch.float64)
    with torch.no_grad():
        if not wide.any():
            for x in target.parameters():
                x.zero_()
            return 0.0
        match target:
            case Tucker():
                _fill_tucker(target, wide)
            case CP():
                _fill_cp(target, wide)
            case TT():
                _fill_train(target, wide)
        approximation = target.full(torch.float64)
        return float((approximation - wide).norm() / wide.norm())


def _decomposed(target: Factored, tensor: Tensor, rank: Any, **options: Any) -> Any:
    """Make the tensor of tensorly-torch and decompose `tensor` into it."""
    import tensorly
    from tltorch import FactorizedTensor

    names = {Tucker: "Tucker", CP: "CP", TT: "TT"}
    name = f"{'' if target.real else 'Complex'}{names[type(target)]}"
    shape = tuple(tensor.shape)
    empty = FactorizedTensor.new(shape, rank=rank, factorization=name, dtype=tensor.dtype)
    # it warns of ranks above the size of an axis, which are meant
    with tensorly.backend_context("pytorch"), warnings.catch_warnings(action="ignore"):
        return empty.init_from_tensor(tensor, **options)


def _fill_tucker(target: Tucker, tensor: Tensor) -> None:
    result = _decomposed(target, tensor, target.ranks, init="svd")
    _assign(target.core, result.core)
    for x, factor in zip(target.factors, result.factors, strict=True):
        _assign(x, factor)


def _fill_cp(target: CP, tensor: Tensor) -> None:
    options: dict[str, Any] = {
        "init": "svd",
        "random_state": 0,  # of the columns beyond the size of an axis
        "l2_reg": 0,
        "tol": 1e-8,
        "n_iter_max": _iterations(tensor, target.rank),
    }
    result = _decomposed(target, tensor, target.rank, **options)
    factors = [x.clone() for x in result.factors]
    factors[0] *= result.weights
    # columns of equal size in all factors: one learning rate then suits each of them
    sizes = torch.stack([x.norm(dim=0) for x in factors])
    common = sizes.log().mean(0).exp()
    for x, factor, size in zip(target.factors, factors, sizes, strict=True):
        _assign(x, torch.where(size > 0, factor * (common / size.clamp_min(1e-300)), factor))


def _iterations(tensor: Tensor, rank: int) -> int:
    """Return how many iterations of an ALS are affordable."""
    parts = 8 if tensor.is_complex() else 2
    work = parts * math.prod(tensor.shape) * rank * tensor.ndim
    return int(min(MOST_ITERATIONS, max(LEAST_ITERATIONS, WORK / work)))


def _fill_train(target: TT, tensor: Tensor) -> None:
    result = _decomposed(target, tensor, (1, *target.ranks, 1))
    for x, factor in zip(target.factors, result.factors, strict=True):
        # a singular value decomposition can have a lower rank than the target: the rest is zero
        x.zero_()
        part = x[tuple(slice(n) for n in factor.shape)]
        _assign(part, factor)


def _assign(parameter: Tensor, values: Tensor) -> None:
    """Copy complex values into pairs (re, im), and real ones as they are."""
    parameter.copy_(torch.view_as_real(values.resolve_conj()) if values.is_complex() else values)
