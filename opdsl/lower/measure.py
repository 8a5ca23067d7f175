"""What each step of a module costs in a call: milliseconds, bytes of its result, bytes kept.

What comes in: a module all of whose functions are on grids, a resolution, a batch. What goes out:
a line for each unit of the plan, a fused one as one line, and the whole call with and without its
gradient. The input is random numbers; the weights are those of the module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from opdsl.ir.spaces import Space
from opdsl.lower.torch import OperatorModule
from opdsl.lower.units import Unit

REPEATS = 5  # calls; the fastest counts, the others met something else on the machine
SEED = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One unit: a node, or the nodes that run as one operation.

    Attributes:
        path: of its last node.
        nodes: all of its nodes, by path.
        fused: whether they ran as one operation.
        milliseconds: of one forward pass with the gradient's tensors kept.
        result: bytes of what it hands on.
        saved: bytes that it keeps for the gradient, each tensor counted where it is first kept.
    """

    path: str
    nodes: tuple[str, ...]
    fused: bool
    milliseconds: float
    result: int
    saved: int


@dataclass(frozen=True, slots=True)
class Measured:
    """A call.

    Attributes:
        forward: milliseconds of a call without gradient.
        step: milliseconds of a call and the gradient of all weights.
    """

    lines: tuple[Line, ...]
    forward: float
    step: float


class _Watch:
    """The units of a module, and what happens between one and the next."""

    def __init__(self, module: OperatorModule) -> None:
        self.units = tuple(module.units)
        self.weights = {_place(x) for x in module.parameters()}
        self.seconds = [math.inf] * len(self.units)
        self.saved: list[dict[int, Tensor]] = []
        self.now: int | None = None

    def __iter__(self) -> Iterator[Unit]:
        self.saved = [{} for _ in self.units]
        for i, unit in enumerate(self.units):
            self.now = i
            _settle()
            begin = perf_counter()
            yield unit
            _settle()
            self.seconds[i] = min(self.seconds[i], perf_counter() - begin)
        self.now = None

    def keep(self, x: Tensor) -> Tensor:
        """Note a tensor that the gradient needs; weights are there anyway."""
        known = any(_place(x) in found for found in (self.weights, *self.saved))
        if self.now is not None and not known:
            self.saved[self.now][_place(x)] = x.detach()  # held, so that its place stays its own
        return x


def measure(
    module: OperatorModule, sizes: Mapping[str, tuple[int, ...]], batch: int = 1
) -> Measured:
    """The cost of each unit and of the whole call.

    Args:
        module: all of whose inputs are on grids; see `measurable`.
        sizes: points on each axis of each declared domain.
        batch: samples in the call.
    """
    inputs = random_inputs(module, sizes, batch)
    watch = _Watch(module)
    calls: tuple[Callable[[], None], ...] = (
        lambda: _forward(module, inputs),
        lambda: _step(module, inputs),
        lambda: _watched(module, inputs, watch),
    )
    for call in calls:
        call()  # plans, compiles, fills what is remembered
    # in turn, so that what else the machine does meets all of them
    rounds = [[_seconds(x) for x in calls] for _ in range(REPEATS)]
    forward, step, _ = (1e3 * min(x) for x in zip(*rounds, strict=True))
    return Measured(tuple(_lines(module, watch, sizes, batch)), forward, step)


def measurable(module: OperatorModule) -> bool:
    """Whether random numbers on a grid are all that a call needs."""
    spaces = [x.space for x in module.graph.inputs]
    return not module.graph.asks() and not any(x.domain.scattered for x in spaces)


def random_inputs(
    module: OperatorModule, sizes: Mapping[str, tuple[int, ...]], batch: int
) -> list[Tensor]:
    """Normal numbers for the inputs of a module, the same ones each time."""
    weight = next(module.parameters(), torch.zeros(()))
    random = torch.Generator().manual_seed(SEED)

    def of(space: Space) -> Tensor:
        dtype = weight.dtype.to_complex() if space.complex else weight.dtype
        shape = (batch, space.channels, *space.domain.at(sizes))
        return torch.randn(shape, generator=random, dtype=dtype).to(weight.device)

    return [of(x.space) for x in module.graph.inputs]


def _forward(module: OperatorModule, inputs: Sequence[Tensor]) -> None:
    with torch.no_grad():
        module(*inputs)


def _step(module: OperatorModule, inputs: Sequence[Tensor]) -> None:
    found = module(*inputs)
    results = found.values() if isinstance(found, dict) else (found,)
    grads = [x for x in results if isinstance(x, Tensor) and x.requires_grad]
    if grads:
        weights = [x for x in module.parameters() if x.requires_grad]
        torch.autograd.grad(grads, weights, [torch.ones_like(x) for x in grads], allow_unused=True)


def _watched(module: OperatorModule, inputs: Sequence[Tensor], watch: _Watch) -> None:
    module.units = watch
    try:
        with saved_tensors_hooks(watch.keep, lambda x: x):
            module(*inputs)
    finally:
        module.units = watch.units


def _seconds(call: Callable[[], None]) -> float:
    _settle()
    begin = perf_counter()
    call()
    _settle()
    return perf_counter() - begin


def _settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _place(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def _lines(
    module: OperatorModule, watch: _Watch, sizes: Mapping[str, tuple[int, ...]], batch: int
) -> Iterator[Line]:
    fused = module.latest.fused if module.latest else {}
    item = next((x.element_size() for x in module.parameters()), 4)
    for unit, seconds, saved in zip(watch.units, watch.seconds, watch.saved, strict=True):
        nodes = [module.steps[i].node for i in unit.steps]
        space = nodes[-1].space
        numbers = batch * space.channels * math.prod(space.domain.at(sizes))
        yield Line(
            path=nodes[-1].path,
            nodes=tuple(x.path for x in nodes),
            fused=unit.fused is not None and nodes[-1].path in fused,
            milliseconds=1e3 * seconds,
            result=item * numbers * (2 if space.complex else 1),
            saved=sum(x.untyped_storage().nbytes() for x in saved.values()),
        )
