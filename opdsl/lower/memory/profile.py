"""Bytes and dependences of each unit of a schedule, measured by running the units one at a time.

No more memory is needed than for the largest unit, so what trains at all can be profiled. Profiles
of one and of two samples say what any batch takes, as bytes grow linearly with the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge, saved_tensors_hooks

from opdsl.lower.memory.allocations import Allocations
from opdsl.lower.memory.choice import PassMemory
from opdsl.lower.memory.timeline import StepEnds, StoredValue, UnitMemory
from opdsl.lower.module import OperatorModule
from opdsl.lower.plan.schedule import ScheduledStep, Unit
from opdsl.lower.recompute import RunUnit

Forward = Callable[[], tuple[Tensor, object]]


def profile_step(module: OperatorModule, forward: Forward) -> PassMemory:
    """Measure the units of a module within a training step.

    Args:
        module: in training mode.
        forward: calls the module once, and returns the loss and what stays alive behind it.
    """
    recorder = Allocations()
    profiler = _Profiler(recorder, len(module.graph.inputs), {i for _, i in module.results})
    before = module.recomputed
    module.recomputed = profiler
    try:
        with torch.enable_grad(), recorder:
            recorder.mark()
            loss, held = forward()
            ends = profiler.ends_of(loss)
            del held
    finally:
        module.recomputed = before
    outputs = tuple(i for _, i in module.results)
    return PassMemory(tuple(profiler.units), ends, outputs)


@dataclass(slots=True)
class _Profiler:
    """Cuts a schedule into units that are measured as they run.

    Attributes:
        inputs: number of inputs of the graph, which are the first values.
        outputs: numbers of the values that are outputs.
        leaves: outputs from which the gradient of the loss is taken.
        units: the measured units.
    """

    recorder: Allocations
    inputs: int
    outputs: set[int]
    leaves: list[Tensor] = field(default_factory=list)
    units: list[UnitMemory] = field(default_factory=list)
    before: int = 0

    def cut(
        self, units: Sequence[Unit], steps: Sequence[ScheduledStep], inputs: int
    ) -> Iterator[_MeasuredUnit]:
        """Yield each unit as a segment of its own."""
        self.before = self.recorder.growth
        for unit in units:
            own = {inputs + i for i in unit.steps}
            reads = {n for i in unit.steps for n in steps[i].operands} - own
            yield _MeasuredUnit(unit, tuple(sorted(reads)), inputs + unit.steps[-1], self)
        self.recorder.mark()

    def ends_of(self, loss: Tensor) -> StepEnds:
        """Measure the loss behind the units, and its gradient."""
        recorder = self.recorder
        forward, kept = recorder.rise, recorder.growth
        recorder.mark()
        if self.leaves and loss.requires_grad:
            gradients = torch.autograd.grad(loss, self.leaves, allow_unused=True)
            del gradients
        return StepEnds(self.before, forward, kept, recorder.rise, kept + recorder.growth)


@dataclass(frozen=True, slots=True)
class _MeasuredUnit:
    """One unit as a segment, which measures itself."""

    unit: Unit
    reads: tuple[int, ...]
    writes: int
    profiler: _Profiler

    def run(self, run_unit: RunUnit, values: list[Any]) -> None:
        """Run the unit with and without a gradient, and leave its result."""
        recorder, size = self.profiler.recorder, len(values)
        operands = {n: values[n].detach() for n in self.reads}
        differentiable = {n for n in self.reads if values[n].requires_grad}

        def own() -> list[Any]:
            result: list[Any] = [None] * size
            for n, x in operands.items():
                result[n] = x.detach().requires_grad_(n in differentiable)
            return result

        with torch.no_grad():
            run_unit(self.unit, own())  # fills the caches of tables, which stay
            recorder.mark()
            ran = own()
            run_unit(self.unit, ran)
            result, discarding = ran[self.writes], recorder.rise
            del ran
        memory = self._with_gradient(run_unit, operands, differentiable, size, discarding)
        self.profiler.units.append(memory)
        values[self.writes] = result.detach().requires_grad_(memory.differentiable)
        for n in self.unit.dead_after:
            values[n] = None
        if self.writes in self.profiler.outputs and memory.differentiable:
            self.profiler.leaves.append(values[self.writes])

    def _with_gradient(
        self,
        run_unit: RunUnit,
        operands: dict[int, Tensor],
        differentiable: set[int],
        size: int,
        discarding: int,
    ) -> UnitMemory:
        """Run forward and backward on copies of the operands, which the gradient may free."""
        recorder = self.profiler.recorder
        own: list[Any] = [None] * size
        for n, x in operands.items():
            own[n] = _copy(x, differentiable=n in differentiable)
        copies = [own[n] for n in self.reads]
        roots = {id(x.untyped_storage()): n for n, x in zip(self.reads, copies, strict=True)}
        edges = [(n, get_gradient_edge(own[n])) for n in self.reads if n in differentiable]
        saved: set[int] = set()  # storages

        def keep(x: Tensor) -> Tensor:
            saved.add(id(x.untyped_storage()))
            return x

        recorder.mark()
        with saved_tensors_hooks(keep, lambda x: x):
            run_unit(self.unit, own)
        y = own[self.writes]
        place = id(y.untyped_storage())
        alias = roots.get(place)
        own_size = 0 if alias is not None else y.untyped_storage().nbytes()
        memory = UnitMemory(
            reads=tuple(
                (n, x.untyped_storage().nbytes()) for n, x in zip(self.reads, copies, strict=True)
            ),
            result=StoredValue(self.writes, own_size, alias, place in saved),
            saved_values=tuple(sorted(n for k, n in roots.items() if k in saved)),
            saved=recorder.growth - own_size,
            forward=recorder.rise,
            discarding=discarding,
        )
        if not y.requires_grad:
            return memory
        gradient, edge = torch.ones_like(y), get_gradient_edge(y)
        del y, own
        recorder.mark(held=copies)
        del copies  # only the graph holds what it needs, as in a step
        return self._backward(memory, edge, gradient, edges)

    def _backward(
        self,
        memory: UnitMemory,
        edge: GradientEdge,
        gradient: Tensor,
        edges: Sequence[tuple[int, GradientEdge]],
    ) -> UnitMemory:
        """Measure the gradient of a unit from that of its result."""
        recorder = self.profiler.recorder
        weights = _weights(edge)
        targets: list[Any] = [*(x for _, x in edges), *weights]
        found = torch.autograd.grad([edge], targets, [gradient], allow_unused=True)
        gradients = []
        for (n, _), g in zip(edges, found, strict=False):
            if g is not None:
                shared = id(g.untyped_storage()) == id(gradient.untyped_storage())
                gradients.append((n, 0 if shared else g.untyped_storage().nbytes()))
        own = [g for g in found[len(edges) :] if g is not None]
        return replace(
            memory,
            differentiable=True,
            backward=recorder.rise_of_held,
            backward_alone=recorder.rise,
            gradients=tuple(gradients),
            weight_gradients=sum(g.untyped_storage().nbytes() for g in own),
        )


def _copy(x: Tensor, *, differentiable: bool) -> Tensor:
    """Copy a tensor to a storage of its own, as the result of an operation."""
    whole = x.untyped_storage().nbytes() == x.nbytes  # an expanded tensor would grow
    x = x.detach().requires_grad_(differentiable)
    return x.clone() if whole or differentiable else x


def _weights(edge: GradientEdge) -> list[Tensor]:
    """Return the leaves of a graph: the weights that it uses."""
    result: dict[int, Tensor] = {}
    stack: list[Any] = [edge.node]
    seen: set[Any] = set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None:
            result[id(variable)] = variable
        stack.extend(x for x, _ in node.next_functions)
    return [x for x in result.values() if isinstance(x, nn.Parameter)]
