"""The bytes that the nodes of a plan need in a training step: results, weights, what they save.

A unit is a node, or several that run as one operation.
"""

from __future__ import annotations

import math
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

# of the larger end of a node: what exchanges need while they run
WORKSPACE = {"halo": 1, "channels": 1, "shift": 2}
# the gradient of torch's `rfft` is a transform of complex numbers on the whole axis: two such
# functions, the coefficients with zeros and the result
REAL_FFT_GRADIENT = 4
KERNEL_AXES = 2  # that the kernels of a fused Fourier layer transform at most


@dataclass(frozen=True, slots=True)
class Unit:
    """A node, or nodes that run as one operation.

    Attributes:
        path: of the result.
        reads: the values that it reads.
        saves: those of them that the gradient needs.
        params: bytes of its weights.
        inner: bytes of other results that the gradient needs.
        workspace: bytes that it needs while it runs, in the forward and in the backward pass.
    """

    path: str
    reads: frozenset[str]
    saves: frozenset[str]
    params: int
    inner: int
    workspace: tuple[int, int]


class StepBytes:
    """Bytes of values and nodes of a plan, in the first process, which has the largest part.

    Attributes:
        plan: of the processes.
        sizes: bytes of each value that the process has.
    """

    def __init__(self, plan: ShardingPlan) -> None:
        self.plan, self.graph = plan, plan.graph
        self._alone = constants(plan.graph)
        self._width = BYTES.get(plan.dtype, BYTES["float32"])
        self.sizes = {path: self._bytes(path) for path in plan.graph.spaces}

    def units(self, fused: tuple[tuple[str, ...], ...]) -> tuple[Unit, ...]:
        """Return the units of a step, in their order.

        Args:
            fused: groups of nodes that run as one operation; the last one of each computes the
                result.
        """
        groups = {x[-1]: x for x in fused}
        inside = {path for x in fused for path in x[:-1]}
        return tuple(
            self._fused(groups[x.path]) if x.path in groups else self._plain(x)
            for x in live(self.graph)
            if x.path not in inside
        )

    def whole(self, space: Space) -> int:
        """Return the bytes of a function on the whole grid, of all samples."""
        numbers = decided(space.channels) * space.width * math.prod(self._grid(space))
        return self.plan.batch * numbers * self._width

    # --- units ------------------------------------------------------------------------------

    def _plain(self, node: Node) -> Unit:
        """Return the unit of one node."""
        larger = max(self.sizes[x] for x in (node.path, *node.inputs))
        forward, backward = self._workspace(node)
        return Unit(
            path=node.path,
            reads=frozenset(node.inputs),
            saves=self._saved(node),
            params=self._params(node),
            inner=self._intermediates(node),
            workspace=(forward * larger, backward * larger),
        )

    def _workspace(self, node: Node) -> tuple[int, int]:
        """Return how often a node needs its larger end while it runs, forward and backward."""
        rule = self._rule(node)
        if rule.kind == "spectral":  # coefficients before they are cut, real or complex
            backward = REAL_FFT_GRADIENT if self._by_real_fft(node) else rule.width
            return rule.width, backward
        copies = WORKSPACE.get(rule.kind, 0) if self.plan.ranks > 1 else 0
        return copies, copies

    def _fused(self, paths: tuple[str, ...]) -> Unit:
        """Return the unit of nodes that save what they read, and the coefficients.

        All between is computed again, a few points at a time.
        """
        nodes = [self.graph.by_path[x] for x in paths]
        reads = frozenset(y for x in nodes for y in x.inputs) - set(paths)
        stages = [self._stage(x) for x in nodes if self._rule(x).kind == "spectral"]
        spectra = sum(map(self._coefficients, nodes))
        # gradients of the coefficients, before and behind the product with the weights
        workspace = 2 * (sum(stages) + spectra)
        return Unit(
            path=paths[-1],
            reads=reads,
            saves=reads,
            params=sum(map(self._params, nodes)),
            inner=spectra + sum(stages) * (1 if self.plan.ranks == 1 else 2),
            workspace=(workspace, workspace),
        )

    def _stage(self, node: Node) -> int:
        """Return the bytes of the coefficients between the kernels, which transform the last axes.

        All axes before those count as points. A sphere has no such stage.
        """
        x, counts = self.graph.arguments(node)[0], self._rule(node).counts
        if not x.domain.regular:
            return 0
        axis, ranks = self._axis(node), self.plan.ranks
        inner = min(KERNEL_AXES, len(counts) if ranks == 1 else len(counts) - 1 - axis)
        grid = list(self._grid(x))
        grid[axis] = len(parts(grid[axis], ranks)[0])
        lines = math.prod(grid[: len(grid) - inner]) * math.prod(counts[len(counts) - inner :])
        rule = self._rule(node)
        numbers = lines * rule.terms * rule.width * decided(node.space.channels)
        return self.plan.batch * numbers * max(self._width, BYTES["float32"])

    # --- bytes ------------------------------------------------------------------------------

    def _rule(self, node: Node) -> Rule:
        return self.plan.nodes[node.path].rule

    def _axis(self, node: Node) -> int:
        axis = self.plan.nodes[node.path].inputs[0].axis
        assert axis is not None, "the first input is sharded"
        return axis

    def _bytes(self, path: str) -> int:
        space = self.graph.spaces[path]
        numbers = decided(space.channels) * space.width
        if path in self.plan.inputs and self.plan.ranks == numbers == 1:
            return 0  # moving one channel behind the grid copies nothing
        return self._points(path) * numbers * self._width

    def _points(self, path: str) -> int:
        """Return the points of a value that the process has, of all samples."""
        space, layout = self.graph.spaces[path], self._layout(path)
        grid = self._grid(space)
        count = math.prod(grid)
        if layout.axis is not None:
            n = grid[layout.axis]
            count = count // n * len(parts(n, self.plan.ranks)[0])
        return count if path in self._alone else count * self.plan.batch

    def _layout(self, path: str) -> FunctionLayout:
        known = path in self.plan.nodes or path in self.plan.inputs
        return self.plan.layout(path) if known else FunctionLayout()

    def _grid(self, space: Space) -> tuple[int, ...]:
        return space.domain.at(self.plan.sizes)

    def _params(self, node: Node) -> int:
        if node.shares:
            return 0
        return self._width * node.block.cost(*self.graph.arguments(node)).params

    def _saved(self, node: Node) -> frozenset[str]:
        """Return the values that the gradient of a node needs."""
        rule = self._rule(node)
        if rule.kind == "halo" and self.plan.ranks > 1:
            return frozenset()  # the gradient needs the points with their halo
        needed = rule.kind == "reduce" or self._saves_inputs(node) or self._by_real_fft(node)
        result = node.block.saves_result(*self.graph.arguments(node))
        return frozenset((*(node.inputs if needed else ()), *([node.path] if result else ())))

    def _by_real_fft(self, node: Node) -> bool:
        """Return whether a node on parts transforms by torch's `rfft`, which saves its input.

        The last axis is transformed so, unless it is the divided one.
        """
        rule = self._rule(node)
        if rule.kind != "spectral" or self.plan.ranks == 1:
            return False
        exponentials = rule.width == 2 and rule.terms == 1
        real = not self.graph.arguments(node)[0].complex
        return exponentials and real and self._axis(node) < len(rule.counts) - 1

    def _saves_inputs(self, node: Node) -> bool:
        return node.block.saves_inputs(*self.graph.arguments(node))

    def _intermediates(self, node: Node) -> int:
        """Return the bytes that a node saves besides its inputs."""
        spaces = self.graph.arguments(node)
        rule, points = self._rule(node), self._points(node.path)
        numbers = node.block.saved_per_point(*spaces)
        if rule.kind == "halo" and self.plan.ranks > 1:
            if self._saves_inputs(node):
                numbers += sum(decided(x.channels) * x.width for x in spaces)
            points = round(points * self._window(node, rule))
        return numbers * points * self._width + self._coefficients(node)

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
        rule = self._rule(node)
        if rule.kind != "spectral":
            return 0
        x, axis = self.graph.arguments(node)[0], self._axis(node)
        count = math.prod(rule.counts)
        cut = count // rule.counts[axis] if rule.strategy == "transpose" else count
        own = count // cut * len(parts(cut, self.plan.ranks)[0])
        wide = rule.terms * max(self._width, BYTES["float32"])
        saved = own * self.plan.batch * decided(x.channels) * rule.width
        if own < count and (rule.weights != "stored" or rule.strategy == "transpose"):
            saved += (own + count * (rule.weights == "all")) * rule.matrix
        return saved * wide
