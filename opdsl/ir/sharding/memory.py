"""The peak memory of a process in a training step of a plan, counted tensor by tensor.

The step is followed in order: a result lives until its last reader, longer if the gradient needs
it, and gradients live from the reader of a value to its producer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from opdsl.ir.graph import Port
from opdsl.ir.sharding.plan import ShardingPlan
from opdsl.ir.sharding.units import StepBytes

# copies of an output besides it and the truth: the relative L2 loss has both in one scaled tensor,
# and its backward pass makes two more as large, of which the gradient is a part of one
LOSS_COPIES, LOSS_WORKSPACE = 2, 4


@dataclass(frozen=True, slots=True)
class RankMemory:
    """Bytes of the process that has the most, at the moment at which it needs most.

    Attributes:
        weights: of the model, whole on every process.
        gradients: of the weights that are there at that moment.
        moments: of the optimizer.
        functions: results that the gradient needs, and those in use.
        intermediates: coefficients and other results inside of nodes that the gradient needs.
        whole: inputs, outputs and truth, which every process has whole.
        moment: when the peak is reached: at a node in the forward or backward pass, in the loss,
            or in the update of the weights.
    """

    weights: int
    gradients: int
    moments: int
    functions: int
    intermediates: int
    whole: int
    moment: str

    @property
    def total(self) -> int:
        """The sum of all."""
        parts = (self.weights, self.gradients, self.moments, self.functions)
        return sum(parts) + self.intermediates + self.whole


def rank_memory(
    plan: ShardingPlan, moments: int = 2, fused: Iterable[tuple[str, ...]] = ()
) -> RankMemory:
    """Predict the peak memory of the process with the largest part.

    Args:
        plan: the plan.
        moments: numbers in the state of the optimizer for each weight: 2 for Adam.
        fused: groups of nodes that run as one operation and are computed again for the gradient;
            the last one of each computes the result.
    """
    step = _Step(plan, tuple(fused))
    peak = max(step.phases(), key=lambda x: x.total)
    weights = step.weight_bytes
    return RankMemory(
        weights=weights,
        gradients=peak.gradients,
        moments=moments * weights,
        functions=peak.functions,
        intermediates=peak.intermediates,
        whole=peak.whole,
        moment=peak.moment,
    )


@dataclass(frozen=True, slots=True)
class _Phase:
    """The bytes at one moment of a step."""

    moment: str
    functions: int
    gradients: int
    intermediates: int
    whole: int

    @property
    def total(self) -> int:
        return self.functions + self.gradients + self.intermediates + self.whole


class _Step:
    """A training step of the first process, which has the largest part."""

    def __init__(self, plan: ShardingPlan, fused: tuple[tuple[str, ...], ...]) -> None:
        self.plan, self.graph = plan, plan.graph
        self.bytes_of = StepBytes(plan)
        self.units = self.bytes_of.units(fused)
        self.sizes = self.bytes_of.sizes

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        return sum(x.params for x in self.units)

    def phases(self) -> Iterator[_Phase]:
        """Yield every moment of a step, in order."""
        last = {x: i for i, unit in enumerate(self.units) for x in unit.reads}
        last |= {x.source: len(self.units) for x in self.graph.outputs}
        whole = self._whole(self.graph.inputs) + self._whole(self.graph.outputs)  # and the truth
        alive, saved, intermediates = {x.name for x in self.graph.inputs}, set[str](), 0
        for i, unit in enumerate(self.units):
            alive.add(unit.path)
            intermediates += unit.inner
            saved |= unit.saves
            held = self._sum(alive | saved) + unit.workspace[0]
            yield _Phase(f"`{unit.path}` in the forward pass", held, 0, intermediates, whole)
            alive = {x for x in alive if last.get(x, -1) > i}
        # outputs are copies: gathered parts, or the channels before the grid
        whole += self._whole(self.graph.outputs)
        copies = LOSS_COPIES * self._whole(self.graph.outputs)
        copies += LOSS_WORKSPACE * max(self._whole([x]) for x in self.graph.outputs)
        held = self._sum(saved)
        yield _Phase("the loss", held, 0, intermediates, whole + copies)
        yield from self._backward(intermediates, whole)
        # the update of one weight after the other needs one more copy of it
        largest = max((x.params for x in self.units), default=0)
        yield _Phase("the update of the weights", 0, self.weight_bytes + largest, 0, whole)

    def _backward(self, intermediates: int, whole: int) -> Iterator[_Phase]:
        waiting = Counter(x for unit in self.units for x in unit.saves)
        losses = {x.source: LOSS_COPIES * self._whole([x]) for x in self.graph.outputs}
        upstream, gradients = set(losses), 0
        for unit in reversed(self.units):
            if unit.path not in upstream:
                continue
            saved = {x for x, units in waiting.items() if units}
            # gradients of a value with several readers are added to a third tensor
            added = self._sum(unit.reads & upstream)
            upstream |= {x for x in unit.reads if x in self.plan.nodes}
            gradients += unit.params
            held = self._sum(saved) + sum(losses.get(x, self.sizes[x]) for x in upstream)
            moment = f"`{unit.path}` in the backward pass"
            yield _Phase(moment, held + added + unit.workspace[1], gradients, intermediates, whole)
            waiting.subtract(unit.saves)
            upstream.discard(unit.path)
            intermediates -= unit.inner

    def _sum(self, paths: Iterable[str]) -> int:
        return sum(self.sizes[x] for x in paths)

    def _whole(self, ports: Iterable[Port]) -> int:
        return sum(self.bytes_of.whole(x.space) for x in ports)
