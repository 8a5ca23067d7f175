"""The peak memory of a process in a training step of a plan, counted tensor by tensor.

The step is followed in order: a result lives until its last reader, longer if the gradient needs
it, and gradients live from the reader of a value to its producer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from opdsl.ir.dims import decided
from opdsl.ir.graph import Node
from opdsl.ir.live import constants, live
from opdsl.ir.sharding.layout import FunctionLayout
from opdsl.ir.sharding.plan import ShardingPlan
from opdsl.ir.sharding.rules import Rule
from opdsl.ir.spaces import Space
from opdsl.parallel.parts import parts
from opdsl.precisions import BYTES

# of the larger end of a node: what transforms and exchanges need while they run
WORKSPACE = {"halo": 1, "channels": 1, "shift": 1, "spectral": 2}
LOSS_COPIES = 3  # of the outputs: the truth, their difference, and its square or gradient


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
        moment: when the peak is reached: at a node, in the forward or backward pass, or in the
            update of the weights.
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
    peak = max(step.phases(), key=lambda x: x.functions + x.gradients + x.intermediates)
    weights = step.weight_bytes
    return RankMemory(
        weights=weights,
        gradients=peak.gradients,
        moments=moments * weights,
        functions=peak.functions,
        intermediates=peak.intermediates,
        whole=step.whole_bytes(),
        moment=peak.moment,
    )


@dataclass(frozen=True, slots=True)
class _Phase:
    """The bytes at one moment of a step."""

    moment: str
    functions: int
    gradients: int
    intermediates: int


@dataclass(frozen=True, slots=True)
class _Unit:
    """A node, or nodes that run as one operation.

    Attributes:
        path: of the result.
        reads: the values that it reads.
        saves: those of them that the gradient needs.
        params: bytes of its weights.
        inner: bytes of other results that the gradient needs.
        workspace: bytes that it needs while it runs.
    """

    path: str
    reads: frozenset[str]
    saves: frozenset[str]
    params: int
    inner: int
    workspace: int


class _Step:
    """A training step of the first process, which has the largest part."""

    def __init__(self, plan: ShardingPlan, fused: tuple[tuple[str, ...], ...]) -> None:
        self.plan, self.graph = plan, plan.graph
        self.alone = constants(plan.graph)
        self.width = BYTES.get(plan.dtype, BYTES["float32"])
        self.sizes = {path: self._bytes(path) for path in plan.graph.spaces}
        groups = {x[-1]: x for x in fused}
        inside = {path for x in fused for path in x[:-1]}
        self.units = tuple(
            self._fused(groups[x.path]) if x.path in groups else self._plain(x)
            for x in live(plan.graph)
            if x.path not in inside
        )

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        return sum(x.params for x in self.units)

    def whole_bytes(self) -> int:
        """Bytes of what every process has whole: inputs, outputs, and copies for the loss."""
        return sum(self._whole(x.space) for x in self.graph.inputs) + sum(
            (1 + LOSS_COPIES) * self._whole(x.space) for x in self.graph.outputs
        )

    def phases(self) -> Iterator[_Phase]:
        """Yield every moment of a step, in order."""
        last = {x: i for i, unit in enumerate(self.units) for x in unit.reads}
        last |= {x.source: len(self.units) for x in self.graph.outputs}
        alive = {x.name for x in self.graph.inputs if self.plan.inputs[x.name].sharded}
        saved = set[str]()
        intermediates = 0
        for i, unit in enumerate(self.units):
            alive.add(unit.path)
            intermediates += unit.inner
            saved |= unit.saves
            held = self._sum(alive | saved) + unit.workspace
            yield _Phase(f"`{unit.path}` in the forward pass", held, 0, intermediates)
            alive = {x for x in alive if last.get(x, -1) > i}
        yield from self._backward(intermediates)
        # the update of one weight after the other needs one more copy of it
        largest = max((x.params for x in self.units), default=0)
        yield _Phase("the update of the weights", 0, self.weight_bytes + largest, 0)

    def _backward(self, intermediates: int) -> Iterator[_Phase]:
        waiting = Counter(x for unit in self.units for x in unit.saves)
        upstream, gradients = {x.source for x in self.graph.outputs}, 0
        for unit in reversed(self.units):
            if unit.path not in upstream:
                continue
            saved = {x for x, units in waiting.items() if units}
            # gradients of a value with several readers are added to a third tensor
            added = self._sum(unit.reads & upstream)
            upstream |= {x for x in unit.reads if x in self.plan.nodes}
            gradients += unit.params
            held = self._sum(saved) + self._sum(upstream) + added + unit.workspace
            moment = f"`{unit.path}` in the backward pass"
            yield _Phase(moment, held, gradients, intermediates)
            waiting.subtract(unit.saves)
            upstream.discard(unit.path)
            intermediates -= unit.inner

    # --- units --------------------------------------------------------------------------------

    def _plain(self, node: Node) -> _Unit:
        """Return the unit of one node."""
        larger = max(self.sizes[x] for x in (node.path, *node.inputs))
        return _Unit(
            path=node.path,
            reads=frozenset(node.inputs),
            saves=self._saved(node),
            params=self._params(node),
            inner=self._intermediates(node),
            workspace=WORKSPACE.get(self.plan.nodes[node.path].rule.kind, 0) * larger,
        )

    def _fused(self, paths: tuple[str, ...]) -> _Unit:
        """Return the unit of nodes that save what they read and the coefficients."""
        nodes = [self.graph.by_path[x] for x in paths]
        reads = frozenset(y for x in nodes for y in x.inputs) - set(paths)
        return _Unit(
            path=paths[-1],
            reads=reads,
            saves=reads,
            params=sum(self._params(x) for x in nodes),
            inner=sum(self._coefficients(x) for x in nodes),
            workspace=sum(self.sizes[x] for x in reads),
        )

    # --- bytes --------------------------------------------------------------------------------

    def _sum(self, paths: Iterable[str]) -> int:
        return sum(self.sizes[x] for x in paths)

    def _bytes(self, path: str) -> int:
        space = self.graph.spaces[path]
        return self._points(path) * decided(space.channels) * space.width * self.width

    def _points(self, path: str) -> int:
        """Return the points of a value that the process has, of all samples."""
        space, layout = self.graph.spaces[path], self._layout(path)
        grid = self._grid(space)
        count = math.prod(grid)
        if layout.axis is not None:
            n = grid[layout.axis]
            count = count // n * len(parts(n, self.plan.ranks)[0])
        return count if path in self.alone else count * self.plan.batch

    def _layout(self, path: str) -> FunctionLayout:
        known = path in self.plan.nodes or path in self.plan.inputs
        return self.plan.layout(path) if known else FunctionLayout()

    def _grid(self, space: Space) -> tuple[int, ...]:
        return space.domain.at(self.plan.sizes)

    def _whole(self, space: Space) -> int:
        numbers = decided(space.channels) * space.width * math.prod(self._grid(space))
        return self.plan.batch * numbers * self.width

    def _params(self, node: Node) -> int:
        if node.shares:
            return 0
        return self.width * node.block.cost(*self.graph.arguments(node)).params

    def _saved(self, node: Node) -> frozenset[str]:
        """Return the values that the gradient of a node needs."""
        rule = self.plan.nodes[node.path].rule
        if rule.kind == "halo" and self.plan.ranks > 1:
            return frozenset()  # the gradient needs the points with their halo
        needed = rule.kind == "reduce" or node.block.saves_inputs(*self.graph.arguments(node))
        return frozenset(node.inputs if needed else ())

    def _intermediates(self, node: Node) -> int:
        """Return the bytes that a node saves besides its inputs."""
        spaces = self.graph.arguments(node)
        rule, points = self.plan.nodes[node.path].rule, self._points(node.path)
        numbers = node.block.saved_per_point(*spaces)
        if rule.kind == "halo" and self.plan.ranks > 1:
            numbers += sum(decided(x.channels) * x.width for x in spaces)
            points = round(points * self._window(node, rule))
        return numbers * points * self.width + self._coefficients(node)

    def _window(self, node: Node, rule: Rule) -> float:
        """Return how many times the own points those with a halo are."""
        axis = self.plan.nodes[node.path].layout.axis
        assert axis is not None, "a halo is on a sharded axis"
        n = self._grid(node.space)[axis]
        own = len(parts(n, self.plan.ranks)[0])
        return min(n, own + 2 * rule.points) / own

    def _coefficients(self, node: Node) -> int:
        """Return the bytes of coefficients that a node saves, and of copies of its weights.

        The weights of some coefficients are a copy unless they follow each other in memory.
        """
        rule = self.plan.nodes[node.path].rule
        if rule.kind != "spectral":
            return 0
        x = self.graph.arguments(node)[0]
        axis, count = self.plan.nodes[node.path].inputs[0].axis, math.prod(rule.counts)
        assert axis is not None
        cut = count // rule.counts[axis] if rule.strategy == "transpose" else count
        own = count // cut * len(parts(cut, self.plan.ranks)[0])
        wide = rule.terms * max(self.width, BYTES["float32"])
        saved = own * self.plan.batch * decided(x.channels) * rule.width
        if own < count and (rule.weights != "stored" or rule.strategy == "transpose"):
            saved += (own + count * (rule.weights == "all")) * rule.matrix
        return saved * wide
