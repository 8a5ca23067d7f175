"""Measured costs of each step of a module in a call: milliseconds, bytes of results, bytes saved.

Alternatives that the plan did not choose are measured too, and the whole call with and without its
gradient. Inputs are random numbers; all functions of the module must be on grids.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from opdsl.ir.dims import decided
from opdsl.ir.spaces import Space
from opdsl.lower.module import OperatorModule
from opdsl.lower.plan.schedule import Unit
from opdsl.lower.plan.tuning_case import FUSED, PLAIN
from opdsl.nn.kernels.fourier_layer import kernels_available

REPEATS = 5  # calls; the fastest counts, as other load on the machine only slows
SEED = 0


@dataclass(frozen=True, slots=True)
class AlternativeCost:
    """The cost of a unit in a way that the plan did not choose; see `UnitCost`."""

    milliseconds: float
    saved: int


@dataclass(frozen=True, slots=True)
class UnitCost:
    """The cost of one unit: a node, or the nodes that run as one operation.

    Attributes:
        path: path of the unit's last node.
        nodes: paths of all nodes of the unit.
        fused: whether they ran as one operation.
        milliseconds: time of one forward pass that saves tensors for the gradient.
        result: bytes of the unit's result.
        saved: bytes saved for the gradient, each tensor counted where it is first saved.
        others: the ways that the plan did not choose: a kernel, with which the nodes run one by
            one, `plain` for nodes one by one without kernels, `fused` for nodes as one.
    """

    path: str
    nodes: tuple[str, ...]
    fused: bool
    milliseconds: float
    result: int
    saved: int
    others: Mapping[str, AlternativeCost]


@dataclass(frozen=True, slots=True)
class CallCost:
    """The cost of a call.

    Attributes:
        forward: milliseconds of a call without gradient.
        step: milliseconds of a call and the gradient of all weights.
    """

    lines: tuple[UnitCost, ...]
    forward: float
    step: float


class _Watch:
    """Iterable over the units of a module that records time and saved tensors of each."""

    def __init__(self, module: OperatorModule) -> None:
        self.units = tuple(module.units)
        self.weights = {_storage_address(x) for x in module.parameters()}
        self.seconds = [math.inf] * len(self.units)
        self.saved: list[dict[int, Tensor]] = []
        self.now: int | None = None

    def __iter__(self) -> Iterator[Unit]:
        self.saved = [{} for _ in self.units]
        for i, unit in enumerate(self.units):
            self.now = i
            _synchronize()
            begin = perf_counter()
            yield unit
            _synchronize()
            self.seconds[i] = min(self.seconds[i], perf_counter() - begin)
        self.now = None

    def keep(self, x: Tensor) -> Tensor:
        """Record a tensor that the gradient needs, unless it is a weight or recorded already."""
        counted = any(_storage_address(x) in result for result in (self.weights, *self.saved))
        if self.now is not None and not counted:
            self.saved[self.now][_storage_address(x)] = (
                x.detach()
            )  # held, so that its place stays its own
        return x


def measure(
    module: OperatorModule, sizes: Mapping[str, tuple[int, ...]], batch: int = 1
) -> CallCost:
    """Measure each unit and the whole call.

    Args:
        module: all of whose inputs are on grids; see `measurable`.
        sizes: points on each axis of each declared domain.
        batch: samples in the call.
    """
    inputs = random_inputs(module, sizes, batch)
    chosen = _Watch(module)
    alternatives = {way: _Watch(module) for way in _ways(module)}
    calls: list[Callable[[], None]] = [
        *(partial(_watched, module, inputs, watch, way) for way, watch in alternatives.items()),
        partial(_forward, module, inputs),
        partial(_step, module, inputs),
        partial(_watched, module, inputs, chosen),  # the last: its plan is the module's latest
    ]
    for call in calls:
        call()  # a warm-up, which plans, compiles and fills caches
    # in turn, so that other load on the machine hits all of them alike
    rounds = [[_seconds(x) for x in calls] for _ in range(REPEATS)]
    *_, forward, step, _ = (1e3 * min(x) for x in zip(*rounds, strict=True))
    return CallCost(tuple(_unit_costs(module, chosen, alternatives, sizes, batch)), forward, step)


def measurable(module: OperatorModule) -> bool:
    """Return whether all inputs are functions on grids, so that random numbers can be passed."""
    spaces = [x.space for x in module.graph.inputs]
    return not module.graph.side_inputs() and not any(x.domain.scattered for x in spaces)


def random_inputs(
    module: OperatorModule, sizes: Mapping[str, tuple[int, ...]], batch: int
) -> list[Tensor]:
    """Draw reproducible normal numbers for the inputs of a module."""
    weight = next(module.parameters(), torch.zeros(()))
    random = torch.Generator().manual_seed(SEED)

    def of(space: Space) -> Tensor:
        dtype = weight.dtype.to_complex() if space.complex else weight.dtype
        shape = (batch, decided(space.channels), *space.domain.at(sizes))
        return torch.randn(shape, generator=random, dtype=dtype).to(weight.device)

    return [of(x.space) for x in module.graph.inputs]


def _forward(module: OperatorModule, inputs: Sequence[Tensor]) -> None:
    with torch.no_grad():
        module(*inputs)


def _step(module: OperatorModule, inputs: Sequence[Tensor]) -> None:
    result = module(*inputs)
    results = result.values() if isinstance(result, dict) else (result,)
    grads = [x for x in results if isinstance(x, Tensor) and x.requires_grad]
    if grads:
        weights = [x for x in module.parameters() if x.requires_grad]
        torch.autograd.grad(grads, weights, [torch.ones_like(x) for x in grads], allow_unused=True)


def _ways(module: OperatorModule) -> list[str]:
    """List the ways to run a module: each kernel for all nodes that have it, and all fusions."""
    kernels = dict.fromkeys(k for x in module.steps for k in x.node.block.kernels)
    return [*(kernels or {PLAIN: None}), *([FUSED] if module.ends and kernels_available() else [])]


def _watched(
    module: OperatorModule, inputs: Sequence[Tensor], watch: _Watch, way: str | None = None
) -> None:
    with _run_by(module, way), saved_tensors_hooks(watch.keep, lambda x: x):
        module.units = watch
        try:
            module(*inputs)
        finally:
            module.units = watch.units


@contextmanager
def _run_by(module: OperatorModule, way: str | None) -> Iterator[None]:
    """Force one way on all nodes within the context; None leaves the plan."""
    previous = module.force_kernel, module.fuse
    if way is not None:
        module.fuse = way == FUSED
        module.force_kernel = None if way in {FUSED, PLAIN} else way
    try:
        yield
    finally:
        module.force_kernel, module.fuse = previous


def _seconds(call: Callable[[], None]) -> float:
    _synchronize()
    begin = perf_counter()
    call()
    _synchronize()
    return perf_counter() - begin


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _storage_address(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def _unit_costs(
    module: OperatorModule,
    chosen: _Watch,
    others: Mapping[str, _Watch],
    sizes: Mapping[str, tuple[int, ...]],
    batch: int,
) -> Iterator[UnitCost]:
    # where all nodes run by one kernel, a node without kernels runs plainly
    ways = {PLAIN: next(iter(others.values()))} | dict(others)
    item = next((x.element_size() for x in module.parameters()), 4)
    for i, unit in enumerate(chosen.units):
        nodes = [module.steps[n].node for n in unit.steps]
        space = nodes[-1].space
        numbers = batch * space.channels * math.prod(space.domain.at(sizes))
        way = _way(module, unit)
        yield UnitCost(
            path=nodes[-1].path,
            nodes=tuple(x.path for x in nodes),
            fused=way == FUSED,
            milliseconds=1e3 * chosen.seconds[i],
            result=decided(item * numbers * (2 if space.complex else 1)),
            saved=_bytes(chosen.saved[i]),
            others={
                name: AlternativeCost(1e3 * watch.seconds[i], _bytes(watch.saved[i]))
                for name, watch in ways.items()
                if name in _possible(module, unit) and name != way
            },
        )


def _possible(module: OperatorModule, unit: Unit) -> set[str]:
    """List the ways in which a unit can run."""
    kernels = {k for i in unit.steps for k in module.steps[i].node.block.kernels}
    return kernels | ({FUSED} | (set() if kernels else {PLAIN}) if unit.fused else set())


def _way(module: OperatorModule, unit: Unit) -> str:
    """Return the way in which a unit runs by the latest plan."""
    nodes = [module.steps[i].node for i in unit.steps]
    if unit.fused is not None and nodes[-1].path in module.fused_now():
        return FUSED
    choices = module.latest.choices if module.latest else {}
    kernels = [module.force_kernel or choices[x.path].kernel for x in nodes if x.path in choices]
    return kernels[0] if kernels else PLAIN


def _bytes(saved: Mapping[int, Tensor]) -> int:
    return sum(x.untyped_storage().nbytes() for x in saved.values())
