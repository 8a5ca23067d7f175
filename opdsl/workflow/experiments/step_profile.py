"""The time and memory of a training step by node of the graph."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from opdsl.lower.module import OperatorModule
from opdsl.workflow.training.own_loop import PreparedTraining

REPEATS = 5  # runs of each node, of which the median counts


@dataclass(frozen=True, slots=True)
class NodeCost:
    """The cost of a node in a training step.

    Attributes:
        path: of the node, or a word in brackets.
        block: the keyword of its block.
        calls: how often it runs in a step.
        forward, backward: seconds of all calls.
        saved: bytes that are kept for the gradient, besides weights.
        weights: bytes of its weights.
    """

    path: str
    block: str
    calls: int
    forward: float
    backward: float
    saved: int
    weights: int

    @property
    def seconds(self) -> float:
        """Forward and backward."""
        return self.forward + self.backward


@dataclass(frozen=True, slots=True)
class StepProfile:
    """The cost of a training step.

    Attributes:
        seconds: the median time of a whole step.
        nodes: the cost of each node, the slowest first.
        fused: subgraphs that run as one operation in the whole step, but not node by node.
        peak: bytes on a CUDA device at most; None elsewhere.
        batch: samples in the step.
    """

    seconds: float
    nodes: tuple[NodeCost, ...]
    fused: int
    peak: int | None
    batch: int

    @property
    def rest(self) -> float:
        """Seconds of the step outside the nodes; zero where fusion makes the step faster."""
        return max(0.0, self.seconds - sum(x.seconds for x in self.nodes))

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        nodes = [{k: getattr(x, k) for k in NodeCost.__dataclass_fields__} for x in self.nodes]
        names = ("seconds", "rest", "fused", "peak", "batch")
        return {k: getattr(self, k) for k in names} | {"nodes": nodes}


def profile_step(training: PreparedTraining) -> StepProfile:
    """Measure a step as a whole, then each node by itself on the arguments of its calls.

    The first step, in which caches are filled, is not measured. On a CUDA device each measurement
    waits for the device.
    """
    step, device = training.step, training.step.policy.device
    module = step.module
    assert isinstance(module, OperatorModule)  # it is lowered from a program
    batch = next(training.batches(0))
    step.begin()
    step.learn(batch, 0.0)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = median(_timed(lambda: step.learn(batch, 0.0), device) for _ in range(REPEATS))
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    fused = len(list(module.fused_now()))  # type: ignore[call-overload]  # a set or a tuple
    calls = _calls(module, lambda: step.learn(batch, 0.0))
    names = {id(x.module): (x.node.path, x.node.block.keyword()) for x in reversed(module.steps)}
    with step.policy.arithmetic(), step.policy.autocast():
        nodes = [_cost(*names[key], *call, device) for key, call in calls.items()]
    size = len(next(iter(batch.truth.values())))
    nodes.sort(key=lambda x: -x.seconds)
    return StepProfile(seconds, tuple(nodes), fused, peak, size)


Calls = dict[int, tuple[nn.Module, list[tuple[tuple[Any, ...], dict[str, Any]]]]]


def _calls(module: OperatorModule, learn: Callable[[], object]) -> Calls:
    """Return the arguments of every call of each node in a step that fuses nothing."""
    calls: Calls = {}

    def record(node: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        copies = tuple(_copy(x) for x in args), {k: _copy(x) for k, x in kwargs.items()}
        calls.setdefault(id(node), (node, []))[1].append(copies)

    nodes = {id(x.module): x.module for x in module.steps}.values()
    handles = [x.register_forward_pre_hook(record, with_kwargs=True) for x in nodes]
    try:
        with _unfused(module):
            learn()
    finally:
        for handle in handles:
            handle.remove()
    return calls


@contextmanager
def _unfused(module: OperatorModule) -> Iterator[None]:
    before, module.fuse = module.fuse, False
    try:
        yield
    finally:
        module.fuse = before


def _copy(value: Any) -> Any:
    """Return a leaf of its own for a tensor that a gradient flows through."""
    if not isinstance(value, Tensor):
        return value
    flows = value.requires_grad and (value.is_floating_point() or value.is_complex())
    return value.detach().requires_grad_(flows)


def _cost(
    path: str,
    block: str,
    node: nn.Module,
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]],
    device: torch.device,
) -> NodeCost:
    forward = backward = 0.0
    saved = 0
    for args, kwargs in calls:
        runs = [_run(node, args, kwargs, device) for _ in range(REPEATS)]
        forward += median(x[0] for x in runs)
        backward += median(x[1] for x in runs)
        saved += runs[-1][2]
    weights = sum(p.numel() * p.element_size() for p in node.parameters())
    return NodeCost(path, block, len(calls), forward, backward, saved, weights)


def _run(
    node: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], device: torch.device
) -> tuple[float, float, int]:
    """Run a node forward and backward; return both times, and the bytes kept in between."""
    weights = {p.data_ptr() for p in node.parameters()}
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    results: list[Any] = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        forward = _timed(lambda: results.append(node(*args, **kwargs)), device)
    output = results[0]
    if not isinstance(output, Tensor) or not output.requires_grad:
        return forward, 0.0, sum(kept.values())
    leaves = [x for x in (*args, *kwargs.values(), *node.parameters()) if _learns(x)]
    ones = torch.ones_like(output)
    backward = _timed(lambda: torch.autograd.grad(output, leaves, ones, allow_unused=True), device)
    return forward, backward, sum(kept.values())


def _learns(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _timed(call: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of a call."""
    _wait(device)
    started = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
