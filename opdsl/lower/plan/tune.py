"""Measurement of a tuning case: each way forward and backward, the least time of several rounds.

Modules are fresh ones of the case's blocks and inputs random numbers; the caller's random state,
weights and gradients are not touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from opdsl.ir.dims import decided
from opdsl.ir.graph import Node
from opdsl.ir.spaces import Space
from opdsl.lower.fuse.running import Fused
from opdsl.lower.plan.timings import Timings
from opdsl.lower.plan.tuning_case import FUSED, PLAIN, Times, TuningCase
from opdsl.nn.kernels.fourier_layer import kernels_available

ROUNDS = 5
SLOWER = 2.0  # a way that takes this many times the least is measured no further
ENOUGH = 3.0  # seconds for one case, after which its measurement stops
SEED = 0

_Call = Callable[[], object]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Tuner:
    """The times of each case: cached, or else measured and cached."""

    timings: Timings
    clock: Clock = perf_counter

    def __call__(self, case: TuningCase) -> Times | None:
        """Return the milliseconds of each way; None if one of the ways cannot run here."""
        cached = self.timings(case)
        if cached is not None or not _runs(case):
            return cached
        result = race(calls(case), self.clock)
        self.timings.keep(case, result)
        return result


def race(runs: Mapping[str, _Call], clock: Clock = perf_counter) -> dict[str, float]:
    """Time functions: least milliseconds each, called in turn so that other load hits all alike."""
    for run in runs.values():
        run()  # a warm-up, which compiles and fills caches
    best = dict.fromkeys(runs, math.inf)
    begin, left = clock(), list(runs)
    for _ in range(ROUNDS):
        for name in left:
            best[name] = min(best[name], _seconds(runs[name], clock))
        left = [x for x in left if best[x] < SLOWER * min(best.values())]
        if len(left) < 2 or clock() - begin > ENOUGH:
            break
    return {name: 1e3 * t for name, t in best.items()}


def calls(case: TuningCase) -> dict[str, _Call]:
    """Return a function for each way of a case that runs one forward and backward pass."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        modules = {x.path: _module(case, x) for x in case.nodes}
        inputs = {x: _input(case, case.graph.spaces[x]) for x in _outside(case)}
    return {way: _forward_and_backward(case, way, modules, inputs) for way in case.ways}


def _runs(case: TuningCase) -> bool:
    device = case.setting.device
    available = device == "cpu" or (device == "cuda" and torch.cuda.is_available())
    return available and (case.fusion is None or kernels_available())


def _outside(case: TuningCase) -> list[str]:
    """List the values that the nodes of a case read from outside of it."""
    own = {x.path for x in case.nodes}
    return list(dict.fromkeys(x for node in case.nodes for x in node.inputs if x not in own))


def _module(case: TuningCase, node: Node) -> nn.Module:
    dtype = getattr(torch, case.setting.dtype)
    return node.block.lower(*case.graph.arguments(node)).to(case.setting.device, dtype)


def _input(case: TuningCase, space: Space) -> Tensor:
    setting = case.setting
    dtype = getattr(torch, setting.dtype)
    shape = (setting.batch, *space.domain.at(setting.roots), decided(space.channels))
    x = torch.randn(shape, dtype=dtype.to_complex() if space.complex else dtype)
    return x.to(setting.device).requires_grad_()


def _forward_and_backward(
    case: TuningCase, way: str, modules: Mapping[str, nn.Module], inputs: Mapping[str, Tensor]
) -> _Call:
    forward = _forward(case, way, modules, inputs)
    leaves = [*inputs.values(), *(p for m in modules.values() for p in m.parameters())]

    def run() -> None:
        # the caller may be inside of no_grad, inference_mode or autocast
        plain = torch.autocast(case.setting.device, enabled=False)
        with torch.inference_mode(mode=False), torch.enable_grad(), plain:
            y = forward()
            torch.autograd.grad(y, leaves, torch.ones_like(y), allow_unused=True)

    return run


def _forward(
    case: TuningCase, way: str, modules: Mapping[str, nn.Module], inputs: Mapping[str, Tensor]
) -> Callable[[], Tensor]:
    if way == FUSED and case.fusion is not None:
        roles = {role: modules[path] for role, path in case.fusion.roles.items()}
        fused, u = Fused(case.fusion, roles, 0, 0), inputs[case.fusion.source]
        return lambda: fused(u)
    kernels = case.kernels if way == PLAIN else {case.nodes[0].path: way}
    return lambda: _one_by_one(case, modules, inputs, kernels)


def _one_by_one(
    case: TuningCase,
    modules: Mapping[str, nn.Module],
    inputs: Mapping[str, Tensor],
    kernels: Mapping[str, str],
) -> Tensor:
    values = dict(inputs)
    for node in case.nodes:
        extra: dict[str, Any] = {}
        if node.block.sized:
            extra["size"] = node.space.domain.at(case.setting.roots)
        if node.block.kernels:
            extra["kernel"] = kernels.get(node.path, node.block.kernels[0])
        values[node.path] = modules[node.path](*(values[x] for x in node.inputs), **extra)
    return values[case.nodes[-1].path]


def _seconds(call: _Call, clock: Clock) -> float:
    _synchronize()
    begin = clock()
    call()
    _synchronize()
    return clock() - begin


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
