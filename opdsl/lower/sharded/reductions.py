"""Sums over the grid of which each process adds up its part: norms, integrals and attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from opdsl.lower.sharded.site import NodeSite, StepArguments, of_class, own_forward
from opdsl.nn.layers.attention import Attention
from opdsl.nn.layers.codomain_attention import CodomainAttention
from opdsl.nn.layers.integral import GridIntegral, SphereIntegral
from opdsl.nn.layers.modulate import Flatten
from opdsl.nn.layers.norm import EPS, BatchNorm, GroupNorm, InstanceNorm
from opdsl.nn.layers.pool import GlobalMax, SphereMean
from opdsl.nn.layers.slice_attention import SHARE_EPSILON, SliceAttention
from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.sphere.sampling import latitudes
from opdsl.parallel.exchanges import SpaceGroup, all_gather, all_reduce


def reduce(
    site: NodeSite, module: nn.Module, inputs: Sequence[Tensor], _more: StepArguments
) -> Tensor:
    """Run a block that needs sums over the whole grid, a key of `REDUCTIONS`."""
    return of_class(REDUCTIONS, module)(site, module, *inputs)


def gather(
    site: NodeSite, module: nn.Module, inputs: Sequence[Tensor], _more: StepArguments
) -> Tensor:
    """Run a block that looks at all points of some inputs, which are gathered: of the last one.

    Attention compares the own points with these.
    """
    last = max(site.rule.whole)
    whole = _whole(site, last, inputs[last])
    own = inputs[:1] if of_class(OWN_POINTS_TOO, module) else ()
    return own_forward(module, *own, whole)


def _whole(site: NodeSite, index: int, x: Tensor) -> Tensor:
    axis = site.axes[index]
    return x if axis is None else all_gather(x, site.space, axis + 1, site.grids[index][axis])


# --- norms ---------------------------------------------------------------------------------------


def _standardised(z: Tensor, axes: tuple[int, ...], count: int, space: SpaceGroup) -> Tensor:
    """Subtract the mean over `count` numbers on all processes and divide by the deviation."""
    mean, var = _moments(z, axes, count, space)
    return (z - mean) * torch.rsqrt(var + EPS)


def _moments(
    z: Tensor, axes: tuple[int, ...], count: int, space: SpaceGroup
) -> tuple[Tensor, Tensor]:
    mean = all_reduce(z.sum(axes, keepdim=True), space) / count
    return mean, all_reduce((z - mean).square().sum(axes, keepdim=True), space) / count


def _instance_norm(site: NodeSite, _module: InstanceNorm, x: Tensor) -> Tensor:
    with no_autocast(x):
        axes, count = tuple(range(1, x.ndim - 1)), math.prod(site.grids[0])
        return _standardised(x.to(wide(x)), axes, count, site.space).to(x.dtype)


def _group_norm(site: NodeSite, module: GroupNorm, x: Tensor) -> Tensor:
    with no_autocast(x):
        z = x.to(wide(x)).reshape(*x.shape[:-1], module.groups, -1)
        axes, count = (*range(1, x.ndim - 1), x.ndim), math.prod(site.grids[0]) * z.shape[-1]
        z = _standardised(z, axes, count, site.space).flatten(-2)
        return torch.addcmul(module.bias.to(z), z, module.weight.to(z)).to(x.dtype)


def _batch_norm(site: NodeSite, module: BatchNorm, x: Tensor) -> Tensor:
    if not module.training:
        return own_forward(module, x)
    with no_autocast(x):
        z = x.to(wide(x))
        axes, count = tuple(range(x.ndim - 1)), len(x) * math.prod(site.grids[0])
        mean, var = _moments(z, axes, count, site.space)
        with torch.no_grad():
            unbiased = var * (count / max(1, count - 1))
            for running, new in ((module.running_mean, mean), (module.running_var, unbiased)):
                running.lerp_(new.flatten().to(running.dtype), module.MOMENTUM)
        z = (z - mean) * torch.rsqrt(var + EPS)
        return torch.addcmul(module.bias.to(z), z, module.weight.to(z)).to(x.dtype)


# --- integrals -----------------------------------------------------------------------------------


def _grid_integral(site: NodeSite, module: GridIntegral, x: Tensor) -> Tensor:
    """Sum the own points of the sharded axis with their weights, all other axes by the module."""
    a, n = site.axis, site.points
    rules = list(zip(module.lengths, module.periodic, module.samplings, strict=True))
    units = torch.eye(n, dtype=torch.float64, device=x.device)[..., None]
    own = site.space.own(n)
    weights = _integral_of([rules[a]])(units)[own.start : own.stop, 0].to(x.dtype.to_real())
    along = (x.movedim(a + 1, -1) @ weights.to(x.dtype)) if x.numel() else x.sum(a + 1)
    others = rules[:a] + rules[a + 1 :]
    return all_reduce(_integral_of(others)(along) if others else along, site.space)


def _integral_of(rules: Sequence[tuple[float, bool, Any]]) -> GridIntegral:
    lengths, periodic, samplings = zip(*rules, strict=True)
    return GridIntegral(lengths, periodic, samplings)


def _sphere_integral(site: NodeSite, module: SphereIntegral, x: Tensor) -> Tensor:
    nlat, nlon = site.grids[0]
    weights = latitudes(nlat, module.sampling)[1].to(x)
    if site.axis == 0:
        own = site.space.own(nlat)
        weights = weights[own.start : own.stop]
    around = x.sum(2) * (2 * torch.pi / nlon)
    return all_reduce(torch.einsum("blc,l->bc", around, weights), site.space)


def _sphere_mean(site: NodeSite, module: SphereMean, x: Tensor) -> Tensor:
    return _sphere_integral(site, module, x) / (4 * torch.pi)


def _maximum(site: NodeSite, _module: GlobalMax, x: Tensor) -> Tensor:
    greatest = x.flatten(1, -2).amax(1)
    return all_gather(greatest[None], site.space, 0, site.space.count).amax(0)


# --- attention -----------------------------------------------------------------------------------


def _slice_attention(site: NodeSite, module: SliceAttention, x: Tensor) -> Tensor:
    """Sum the slices over all points, which all processes then have; see `SliceAttention`."""
    count = math.prod(site.grids[0])
    points = x.reshape(len(x), -1, x.shape[-1])
    parts = module._parts(points)  # noqa: SLF001  the shares of points in slices
    carried = module._heads(module.carried(points))  # noqa: SLF001  split into heads
    sums = torch.einsum("bnhs,bnhc->bhsc", parts, carried)
    share = parts.sum(1)[..., None].to(sums.dtype)
    total = all_reduce(torch.cat((sums, share), -1), site.space) / count
    z = total[..., :-1] / (total[..., -1:] + SHARE_EPSILON)
    q, k, v = module.query(z), module.key(z), module.value(z)
    z = functional.scaled_dot_product_attention(q, k, v)
    w = torch.einsum("bnhs,bhsc->bnhc", parts, z)
    result: Tensor = module.out(w.flatten(2).reshape(x.shape))
    return result


def _attention(site: NodeSite, module: Attention, x: Tensor) -> Tensor:
    """Attend without a softmax: sums over the points of products of keys and values."""
    count = math.prod(site.grids[0])
    q, k, v = (module._split(f(x)) for f in (module.query, module.key, module.value))  # noqa: SLF001  heads
    k, v = module.norm_key(k), module.norm_value(v)
    linear = isinstance(module.norm_key, nn.Identity)
    if linear:
        q, k = functional.elu(q) + 1, functional.elu(k) + 1
    sums = k.transpose(-1, -2) @ v
    if linear:  # the sum of keys is one more column
        sums = torch.cat((sums, k.sum(-2)[..., None]), -1)
    sums = all_reduce(sums, site.space) / count
    w = q @ sums
    w = w[..., :-1] / w[..., -1:] if linear else w
    result: Tensor = module.out(w.transpose(1, 2).reshape(x.shape))
    return result


def _codomain_attention(
    site: NodeSite, module: CodomainAttention, q: Tensor, k: Tensor, v: Tensor
) -> Tensor:
    batch, grid, a = max(x.shape[0] for x in (q, k, v)), site.grids[0], site.axes[0]
    functions = module._functions  # noqa: SLF001  variables of each head
    with no_autocast(v):
        queries = q.to(wide(q))
        for axis, n in enumerate(grid):
            weights = _mean_weights(module, axis, n)
            if axis == a:
                own = site.space.own(n)
                weights = weights[own.start : own.stop]
            queries = queries * weights.to(queries).reshape(-1, *(1,) * (q.ndim - 2 - axis))
        keys = functions(k.to(wide(k)), batch)
        scores = functions(queries, batch) @ keys.transpose(-1, -2)
        scores = scores if a is None else all_reduce(scores, site.space)
        d = q.shape[-1] // (module.variables * module.heads)
        scale = math.sqrt((math.prod(grid) if module.adds else 1) / d) / module.temperature
        result = torch.softmax(scores * scale, -1) @ functions(v.to(wide(v)), batch)
        return module._channels(result, v).to(v.dtype)  # noqa: SLF001  undoes `functions`


def _mean_weights(module: CodomainAttention, axis: int, n: int) -> Tensor:
    latitude = module.sampling is not None and axis == 0
    return module._latitudes(n) if latitude else module._weights(n, axis)  # noqa: SLF001  of a mean


# whether a block that gathers an input reads the own points of the first one, too
OWN_POINTS_TOO: dict[type[nn.Module], bool] = {Attention: True, Flatten: False}
REDUCTIONS: dict[type[nn.Module], Callable[..., Tensor]] = {
    Attention: _attention,
    BatchNorm: _batch_norm,
    CodomainAttention: _codomain_attention,
    GlobalMax: _maximum,
    GridIntegral: _grid_integral,
    GroupNorm: _group_norm,
    InstanceNorm: _instance_norm,
    SliceAttention: _slice_attention,
    SphereIntegral: _sphere_integral,
    SphereMean: _sphere_mean,
}
