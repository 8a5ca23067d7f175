"""Errors between functions on one domain, one number for each sample.

Functions are (batch, channels, *grid) or packed, weights are quadrature weights as in
`opdsl.train.metrics.norms`. Means are over channels and points, norms are those of a domain of
measure 1: ||e||_p^p is the mean over the domain of the sum over channels of |e|^p.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, pi, sqrt
from typing import Any

import torch
from torch import Tensor

from opdsl.nn.points.batch import Values, all_values, map_values
from opdsl.nn.points.packed import Packed
from opdsl.train.losses.h1 import derivative, rel_h1
from opdsl.train.losses.h1_spectral import rel_h1_spectral
from opdsl.train.losses.l2 import rel_l2
from opdsl.train.metrics.norms import (
    GridAxes,
    l2_norm,
    max_abs,
    mean_over_points,
    per_sample,
    power_of_two,
    quotient,
    sqrt_weights,
    weighted,
    wide,
    wide_pair,
    without_masked,
)
from opdsl.train.metrics.pinball import pinball
from opdsl.train.physics.calculus import Calculus
from opdsl.train.physics.sphere import SphereCalculus

VARIANCE_FLOOR = 1e-7  # of The Well's VRMSE


@dataclass(frozen=True, slots=True)
class ErrorInputs:
    """Two functions, and what an error of them may need.

    Attributes:
        pred, true: (batch, channels, *grid) or packed; zero is a function of zeros.
        weights: quadrature weights of the points; None where all count alike.
        grid: the axes of a regular grid; none elsewhere.
        calculus: the derivatives of the domain, where an error needs them.
        options: of the error.
        functions: options that are functions on the domain.
    """

    pred: Values
    true: Values
    weights: Values | None = None
    grid: GridAxes = field(default_factory=lambda: GridAxes((), ()))
    calculus: Calculus | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    functions: Mapping[str, Values] = field(default_factory=dict)

    @property
    def difference(self) -> Values:
        """The difference pred - true, in float32 or better; zero where values do not count."""
        pred, true = wide_pair(self.pred, self.true)
        # before any function of it, whose gradient would not be finite at masked values
        return without_masked(map_values(pred, lambda x: x - all_values(true)), self.weights)

    @property
    def dense(self) -> tuple[Tensor, Tensor]:
        """Both functions in float32 or better, where they are on a grid."""
        return wide(all_values(self.pred)), wide(all_values(self.true))


ErrorMeasure = Callable[[ErrorInputs], Tensor]


# ------------------------------------------------------------------------------ norms and means


def mean_norm(u: Values, weights: Values | None, p: float = 2.0) -> Tensor:
    """Return (mean over channels and points of |u|^p)^(1/p), (batch,); the maximum for p = inf.

    Its gradient where u vanishes is zero. NaN where no point of a function has a weight.
    """
    if p == inf:
        return per_sample(without_masked(u, weights), lambda x: x.flatten(1).abs().amax(1))
    if weights is None:
        return per_sample(u, lambda x: _p_norm(x, p) / (x[0].numel() ** (1 / p)))
    factors = sqrt_weights(weights)
    powers = map_values(factors, lambda x: x ** (2 / p))
    ones = map_values(u, torch.ones_like)
    sizes = per_sample(weighted(ones, powers), lambda x: _p_norm(x, p))
    return quotient(per_sample(weighted(u, powers), lambda x: _p_norm(x, p)), sizes)


def lp_norm(u: Values, weights: Values | None, p: float) -> Tensor:
    """Return the L^p norm on a domain of measure 1, with a sum over channels, (batch,)."""
    channels = all_values(u).shape[1]
    return mean_norm(u, weights, p) * (1.0 if p == inf else channels ** (1 / p))


def _p_norm(u: Tensor, p: float) -> Tensor:
    """Return (sum of |u|^p)^(1/p), (batch,), scaled so that no power overflows."""
    if p == 2:
        return l2_norm(u)
    unit = power_of_two(max_abs(u))
    rescaled = u.flatten(1) * (1 / unit)[:, None]
    norms: Tensor = torch.linalg.vector_norm(rescaled, ord=p, dim=1) * unit
    return norms


def _mean(u: Values, weights: Values | None) -> Tensor:
    return mean_over_points(without_masked(u, weights), weights)


def _l2(x: ErrorInputs) -> Tensor:
    return lp_norm(x.difference, x.weights, 2.0)


def _rel_l2(x: ErrorInputs) -> Tensor:
    return rel_l2(x.pred, x.true, x.weights)


def _lp(x: ErrorInputs) -> Tensor:
    return lp_norm(x.difference, x.weights, x.options["p"])


def _rel_lp(x: ErrorInputs) -> Tensor:
    size = lp_norm(map_values(x.true, wide), x.weights, x.options["p"])
    return quotient(_lp(x), size)


def _mse(x: ErrorInputs) -> Tensor:
    return _mean(map_values(x.difference, torch.square), x.weights)


def _rmse(x: ErrorInputs) -> Tensor:
    return mean_norm(x.difference, x.weights)


def _mae(x: ErrorInputs) -> Tensor:
    return _mean(map_values(x.difference, torch.abs), x.weights)


def _max_error(x: ErrorInputs) -> Tensor:
    return mean_norm(x.difference, x.weights, inf)


def _huber(x: ErrorInputs) -> Tensor:
    delta = x.options.get("delta", 1.0)

    def loss(e: Tensor) -> Tensor:
        size = e.abs()
        return torch.where(size <= delta, e.square() / 2, delta * (size - delta / 2))

    return _mean(map_values(x.difference, loss), x.weights)


def _quantile(x: ErrorInputs) -> Tensor:
    return pinball(x.pred, x.true, x.options["q"], x.weights)


def _nrmse(x: ErrorInputs) -> Tensor:
    return quotient(_rmse(x), mean_norm(map_values(x.true, wide), x.weights))


def _vrmse(x: ErrorInputs) -> Tensor:
    true = map_values(x.true, wide)
    centre = _mean(true, x.weights)
    if isinstance(true, Packed):
        spread: Values = Packed.of(p - m for p, m in zip(true.parts, centre.unbind(0), strict=True))
    else:
        spread = true - centre.reshape(-1, *[1] * (true.dim() - 1))
    variance = _mean(map_values(spread, torch.square), x.weights)
    return mean_norm(x.difference, x.weights) / (variance + VARIANCE_FLOOR).sqrt()


def _crps(x: ErrorInputs) -> Tensor:
    """Score members, or a normal distribution if a deviation is given.

    Source: Gneiting and Raftery 2007, doi:10.1198/016214506000001437, eq. (20) and (21); `fair`
    divides by m (m - 1) instead of m^2, Ferro 2014, doi:10.1002/qj.2270.
    """
    pred, true = wide_pair(x.pred, x.true)
    if "deviation" in x.functions:
        sigma = all_values(map_values(x.functions["deviation"], wide)).abs().clamp_min(1e-12)
        score = _normal_crps(all_values(pred), all_values(true), sigma)
        return _mean(map_values(true, lambda _: score), x.weights)
    fair = bool(x.options.get("fair"))
    scores = _member_crps(all_values(pred), all_values(true), fair=fair)
    return _mean(map_values(true, lambda _: scores), x.weights)


def _normal_crps(mean: Tensor, true: Tensor, sigma: Tensor) -> Tensor:
    z = (true - mean) / sigma
    density = torch.exp(-z.square() / 2) / sqrt(2 * pi)
    return sigma * (z * torch.erf(z / sqrt(2)) + 2 * density - 1 / sqrt(pi))


def _member_crps(members: Tensor, true: Tensor, *, fair: bool) -> Tensor:
    """Return the score at each point, shaped as `true`; members of a channel are adjacent."""
    channels = true.shape[1]
    x = members.reshape(len(members), channels, -1, *members.shape[2:])
    m = x.shape[2]
    first = (x - true.unsqueeze(2)).abs().mean(2)
    # sum over pairs of |x_i - x_j| from the sorted members, in m log m instead of m^2
    order = torch.arange(1, m + 1, device=x.device, dtype=x.dtype)
    factors = (2 * order - m - 1).reshape(1, 1, m, *[1] * (x.dim() - 3))
    pairs = 2 * (x.sort(2).values * factors).sum(2)
    scores: Tensor = first - pairs / (2 * m * (m - 1 if fair and m > 1 else m))
    return scores


# ------------------------------------------------------------------------------ derivatives


def _h1(x: ErrorInputs) -> Tensor:
    return _sobolev(all_values(x.difference), x)


def _sobolev(u: Tensor, x: ErrorInputs) -> Tensor:
    axes = zip(x.grid.periodic, x.grid.lengths, x.grid.points, strict=True)
    parts = [
        derivative(u, axis + 2, periodic=periodic, length=length, sampling=sampling)
        for axis, (periodic, length, sampling) in enumerate(axes)
    ]
    return _root_of_squares([u, *parts], x)


def _rel_h1(x: ErrorInputs) -> Tensor:
    return rel_h1(*x.dense, x.grid)


def _h1_spectral(x: ErrorInputs) -> Tensor:
    return _spectral_sobolev(all_values(x.difference), x)


def _spectral_sobolev(u: Tensor, x: ErrorInputs) -> Tensor:
    if x.grid.periodic:
        from opdsl.train.losses.h1_spectral import spectral_derivatives

        return _root_of_squares([u, *spectral_derivatives(u, x.grid)], x)
    assert x.calculus is not None
    return _root_of_squares([u, x.calculus.grad(u)], x)


def _rel_h1_spectral(x: ErrorInputs) -> Tensor:
    if x.grid.periodic:
        return rel_h1_spectral(*x.dense, x.grid)
    return quotient(_h1_spectral(x), _spectral_sobolev(x.dense[1], x))


def _h_div(x: ErrorInputs) -> Tensor:
    return _div_norm(all_values(x.difference), x)


def _div_norm(u: Tensor, x: ErrorInputs) -> Tensor:
    assert x.calculus is not None
    return _root_of_squares([u, x.calculus.div(u)], x)


def _rel_h_div(x: ErrorInputs) -> Tensor:
    return quotient(_h_div(x), _div_norm(x.dense[1], x))


def _root_of_squares(parts: list[Tensor], x: ErrorInputs) -> Tensor:
    return l2_norm(torch.stack([lp_norm(u, x.weights, 2.0) for u in parts], 1))


# ------------------------------------------------------------------------------ spectral bands


def band_rms(u: Tensor, low: int, high: float) -> Tensor:
    """Return the root mean square of the part of u with low <= |k| < high, (batch,).

    Args:
        u: (batch, channels, *grid).
        low, high: bounds of |k|, the Euclidean length of the vector of wave numbers (periods on the
            length of each axis). All bands together have the root mean square of u, by Parseval.
    """
    sizes = u.shape[2:]
    spectrum = torch.fft.fftn(u, dim=tuple(range(2, u.dim())), norm="forward")
    square = torch.zeros(sizes, dtype=u.dtype, device=u.device)
    for axis, n in enumerate(sizes):
        k = torch.fft.fftfreq(n, 1 / n, dtype=u.dtype, device=u.device)
        square = square + k.square().reshape([-1 if a == axis else 1 for a in range(len(sizes))])
    inside = (square >= low**2) & (square < high**2)
    chosen = spectrum[:, :, inside]
    return l2_norm(torch.view_as_real(chosen)) / sqrt(u.shape[1])


def _bands(x: ErrorInputs) -> Tensor:
    return _band_rms(all_values(x.difference), x)


def _rel_bands(x: ErrorInputs) -> Tensor:
    return quotient(_bands(x), _band_rms(x.dense[1], x))


def _band_rms(u: Tensor, x: ErrorInputs) -> Tensor:
    low, high = _bounds(x)
    if isinstance(x.calculus, SphereCalculus):
        return x.calculus.band_rms(u, low, high)
    return band_rms(u, low, high)


def _bounds(x: ErrorInputs) -> tuple[int, float]:
    return int(x.options.get("low", 0)), x.options.get("high", inf)


# ------------------------------------------------------------------------------ ends of axes


def faces(u: Tensor, x: ErrorInputs) -> Tensor:
    """Return the values at the ends of the axes, (batch, channels, points).

    Corners belong to every axis of which they are an end, as in PDEBench.
    """
    sides = {"lower": (0,), "upper": (-1,)}.get(x.options.get("side", ""), (0, -1))
    chosen = x.options.get("axis")
    return torch.cat(
        [
            u.select(axis + 2, side).flatten(2)
            for axis, (periodic, points) in enumerate(
                zip(x.grid.periodic, x.grid.points, strict=True)
            )
            if not periodic and chosen in (None, axis)
            for side in sides
            if points in ("both", {0: "lower", -1: "upper"}[side])
        ],
        2,
    )


def _boundary(x: ErrorInputs) -> Tensor:
    error, weights = _at_ends(x)
    return _mean(error.square(), weights)


def _brmse(x: ErrorInputs) -> Tensor:
    error, weights = _at_ends(x)
    return mean_norm(error, weights)


def _at_ends(x: ErrorInputs) -> tuple[Tensor, Tensor | None]:
    error = faces(all_values(x.difference), x)
    if x.weights is None:
        return error, None
    shape = (-1, -1, *all_values(x.pred).shape[2:])
    return error, faces(all_values(x.weights).expand(shape), x)


MEASURES: dict[str, ErrorMeasure] = {
    "l2": _l2,
    "rel_l2": _rel_l2,
    "lp": _lp,
    "rel_lp": _rel_lp,
    "mse": _mse,
    "rmse": _rmse,
    "mae": _mae,
    "huber": _huber,
    "quantile": _quantile,
    "crps": _crps,
    "h1": _h1,
    "rel_h1": _rel_h1,
    "h1_spectral": _h1_spectral,
    "rel_h1_spectral": _rel_h1_spectral,
    "h_div": _h_div,
    "rel_h_div": _rel_h_div,
    "bands": _bands,
    "rel_bands": _rel_bands,
    "nrmse": _nrmse,
    "vrmse": _vrmse,
    "max_error": _max_error,
    "boundary": _boundary,
    "brmse": _brmse,
}
