"""The peak memory of a process in a training step of a plan, counted tensor by tensor.

The step is followed in order: a result lives until its last reader, longer if the gradient needs
it, and gradients live from the reader of a value to its producer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from opdsl.ir.dims import decided
from opdsl.ir.graph import Node
from opdsl.ir.live import constants, live
from opdsl.ir.sharding.layout import Layout, parts
from opdsl.ir.sharding.plan import ShardingPlan
from opdsl.ir.sharding.rules import Rule
from opdsl.ir.spaces import Space
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


def rank_memory(plan: ShardingPlan, moments: int = 2) -> RankMemory:
    """Predict the peak memory of the process with the largest part.

    Args:
        plan: the plan.
        moments: numbers in the state of the optimizer for each weight: 2 for Adam.
    """
    step = _Step(plan)
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


class _Step:
    """A training step of the first process, which has the largest part."""

    def __init__(self, plan: ShardingPlan) -> None:
        self.plan, self.graph = plan, plan.graph
        self.nodes = live(plan.graph)
        self.alone = constants(plan.graph)
        self.width = BYTES.get(plan.dtype, BYTES["float32"])
        self.sizes = {path: self._bytes(path) for path in plan.graph.spaces}
        self.params = {x.path: self._params(x) for x in self.nodes}
        self.saves = {x.path: self._saved(x) for x in self.nodes}
        self.inner = {x.path: self._intermediates(x) for x in self.nodes}

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        return sum(self.params.values())

    def whole_bytes(self) -> int:
        """Bytes of what every process has whole: inputs, outputs, and copies for the loss."""
        return sum(self._whole(x.space) for x in self.graph.inputs) + sum(
            (1 + LOSS_COPIES) * self._whole(x.space) for x in self.graph.outputs
        )

    def phases(self) -> Iterator[_Phase]:
        """Yield every moment of a step, in order."""
        last = {x: i for i, node in enumerate(self.nodes) for x in node.inputs}
        last |= {x.source: len(self.nodes) for x in self.graph.outputs}
        alive = {x.name for x in self.graph.inputs if self.plan.inputs[x.name].sharded}
        saved = set[str]()
        intermediates = 0
        for i, node in enumerate(self.nodes):
            alive.add(node.path)
            intermediates += self.inner[node.path]
            saved |= self.saves[node.path]
            held = self._sum(alive | saved) + self._workspace(node)
            yield _Phase(f"`{node.path}` in the forward pass", held, 0, intermediates)
            alive = {x for x in alive if last.get(x, -1) > i}
        yield from self._backward(intermediates)
        # the update of one weight after the other needs one more copy of it
        largest = max(self.params.values(), default=0)
        yield _Phase("the update of the weights", 0, self.weight_bytes + largest, 0)

    def _backward(self, intermediates: int) -> Iterator[_Phase]:
        readers = {path: [y for y in self.saves if path in self.saves[y]] for path in self.sizes}
        done, gradients = set[str](), 0
        upstream = {x.source for x in self.graph.outputs}
        for node in reversed(self.nodes):
            if node.path not in upstream:
                continue
            saved = {x for x, users in readers.items() if set(users) - done}
            # gradients of a value with several readers are added to a third tensor
            added = sum(self.sizes[x] for x in set(node.inputs) & upstream)
            upstream |= {x for x in node.inputs if x in self.plan.nodes}
            gradients += self.params[node.path]
            held = self._sum(saved) + self._sum(upstream) + added + self._workspace(node)
            moment = f"`{node.path}` in the backward pass"
            yield _Phase(moment, held, gradients, intermediates)
            done.add(node.path)
            upstream.discard(node.path)
            intermediates -= self.inner[node.path]

    # --- bytes --------------------------------------------------------------------------------

    def _sum(self, paths: set[str]) -> int:
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

    def _layout(self, path: str) -> Layout:
        known = path in self.plan.nodes or path in self.plan.inputs
        return self.plan.layout(path) if known else Layout()

    def _grid(self, space: Space) -> tuple[int, ...]:
        return space.domain.at(self.plan.sizes)

    def _whole(self, space: Space) -> int:
        numbers = decided(space.channels) * space.width * math.prod(self._grid(space))
        return self.plan.batch * numbers * self.width

    def _params(self, node: Node) -> int:
        if node.shares:
            return 0
        return self.width * node.block.cost(*self.graph.arguments(node)).params

    def _saved(self, node: Node) -> set[str]:
        """Return the values that the gradient of a node needs."""
        rule = self.plan.nodes[node.path].rule
        if rule.kind == "halo" and self.plan.ranks > 1:
            return set()  # the gradient needs the points with their halo
        needed = rule.kind == "reduce" or node.block.saves_inputs(*self.graph.arguments(node))
        return set(node.inputs) if needed else set()

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

    def _workspace(self, node: Node) -> int:
        """Return the bytes that a node needs while it runs."""
        larger = max(self.sizes[x] for x in (node.path, *node.inputs))
        return WORKSPACE.get(self.plan.nodes[node.path].rule.kind, 0) * larger
