"""The plan of a graph over processes that share a sample: layouts, rules and exchanges.

Every function gets a layout from its domain, every node the rule of its block; what a rule reads
from other parts becomes exchanges, with the bytes that each process sends. Torch is never imported
here: `opdsl summary --plan --nproc` prints plans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from opdsl.diagnostics import OpError
from opdsl.ir.block import GridSizes
from opdsl.ir.graph import Graph, Node
from opdsl.ir.live import live
from opdsl.ir.sharding.choice import sharded_axes
from opdsl.ir.sharding.exchanges import Exchange
from opdsl.ir.sharding.layout import FunctionLayout, ShardedAxis
from opdsl.ir.sharding.node_exchanges import (
    CallSetting,
    NodeCall,
    NodeEnd,
    exchanges_of,
    gather_output,
)
from opdsl.ir.sharding.refusals import no_rule, too_many_ranks
from opdsl.ir.sharding.rules import LOCAL, REPLICATED, SOURCE, Rule
from opdsl.parallel.parts import parts

Sizes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class ShardedNode:
    """A node of a plan.

    Attributes:
        path: its path in the graph.
        rule: how it is computed.
        layout: of its result.
        inputs: the layouts of its inputs.
        exchanges: what it exchanges, in order.
    """

    path: str
    rule: Rule
    layout: FunctionLayout
    inputs: tuple[FunctionLayout, ...]
    exchanges: tuple[Exchange, ...]


@dataclass(frozen=True)
class ShardingPlan:
    """A graph whose samples are divided among `ranks` processes along an axis.

    Attributes:
        graph: the model.
        ranks: processes that share a sample.
        axis: the axis of which each has a part.
        sizes: points on each axis of each declared domain.
        batch: samples of a call.
        dtype: name of the number format of values and weights.
        nodes: the live nodes, by path, in the order of the graph.
        inputs: the layouts of the inputs, which every process gets whole and cuts.
        outputs: for each output its layout, and the exchange that makes it whole.
    """

    graph: Graph
    ranks: int
    axis: ShardedAxis
    sizes: Sizes
    batch: int
    dtype: str
    nodes: Mapping[str, ShardedNode]
    inputs: Mapping[str, FunctionLayout]
    outputs: Mapping[str, tuple[FunctionLayout, Exchange | None]]

    @cached_property
    def exchanges(self) -> tuple[Exchange, ...]:
        """All exchanges of a call, in the order in which they happen."""
        of_nodes = [y for x in self.nodes.values() for y in x.exchanges]
        return (*of_nodes, *(y for _, y in self.outputs.values() if y))

    def sent(self, *, backward: bool = True) -> tuple[int, ...]:
        """Return the bytes that each process sends in a call, and in its gradient if `backward`."""
        totals = [0] * self.ranks
        for x in self.exchanges:
            for r in range(self.ranks):
                totals[r] += x.sent[r] + (x.sent_backward[r] if backward else 0)
        return tuple(totals)

    def layout(self, path: str) -> FunctionLayout:
        """Return the layout of a node or an input."""
        return self.nodes[path].layout if path in self.nodes else self.inputs[path]

    def type_of(self, path: str) -> str:
        """Write the type of a node or an input: `D -> R^c @ x`."""
        return self.layout(path).type_of(self.graph.spaces[path])

    def parts(self, path: str) -> tuple[range, ...]:
        """Return the points that each process has of a sharded node or input."""
        layout = self.layout(path)
        assert layout.axis is not None, f"{path} is replicated"
        n = self.graph.spaces[path].domain.at(self.sizes)[layout.axis]
        return parts(n, self.ranks)


def plan_sharding(
    graph: Graph,
    ranks: int,
    axis: str,
    sizes: Sizes,
    batch: int = 1,
    dtype: str = "float32",
) -> ShardingPlan:
    """Plan a call of a graph whose samples are divided among processes.

    Args:
        graph: the model.
        ranks: processes that share a sample.
        axis: `x` of all domains that have it, `D.x`, or `auto`: that with the fewest bytes.
        sizes: points on each axis of each declared domain.
        batch: samples of a call.
        dtype: name of the number format: `float32`.

    Raises:
        OpError: OP0820, a block cannot be computed on parts of the axis; OP0821, there are more
            processes than points; OP0822, there is no such axis.
    """
    candidates = sharded_axes(graph, axis)
    setting = CallSetting(ranks, batch, dtype)
    plans, errors = [], []
    for candidate in candidates:
        try:
            plans.append(_plan(graph, candidate, sizes, setting))
        except OpError as error:
            errors.append(error)
    if not plans:
        raise errors[0]
    return min(plans, key=lambda x: max(x.sent()))


def _plan(graph: Graph, axis: ShardedAxis, sizes: Sizes, setting: CallSetting) -> ShardingPlan:
    layouts = {path: axis.layout(x.domain) for path, x in graph.spaces.items()}
    trained = _trained(graph)

    def side(path: str) -> NodeEnd:
        space = graph.spaces[path]
        return NodeEnd(space, layouts[path], space.domain.at(sizes), path in trained)

    _check_points(graph, axis, sizes, setting.ranks)
    nodes = {}
    for node in live(graph):
        rule = _rule(graph, node, axis, layouts, sizes)
        inputs = tuple(side(x) for x in node.inputs)
        call = NodeCall(node.path, rule, inputs, side(node.path), setting)
        rule, exchanges = exchanges_of(call)
        of_inputs = tuple(x.layout for x in inputs)
        nodes[node.path] = ShardedNode(node.path, rule, layouts[node.path], of_inputs, exchanges)
    return ShardingPlan(
        graph=graph,
        ranks=setting.ranks,
        axis=axis,
        sizes=dict(sizes),
        batch=setting.batch,
        dtype=setting.dtype,
        nodes=nodes,
        inputs={x.name: layouts[x.name] for x in graph.inputs},
        outputs={
            x.name: (layouts[x.source], gather_output(x.name, side(x.source), setting))
            for x in graph.outputs
        },
    )


def _trained(graph: Graph) -> frozenset[str]:
    """Return the paths of the nodes whose results depend on weights."""
    result = set[str]()
    for node in graph.nodes:
        if result.intersection(node.inputs) or node.block.cost(*graph.arguments(node)).params:
            result.add(node.path)
    return frozenset(result)


def _check_points(graph: Graph, axis: ShardedAxis, sizes: Sizes, ranks: int) -> None:
    spaces = (*(x.space for x in graph.inputs), *(x.space for x in live(graph)))
    for domain in dict.fromkeys(x.domain for x in spaces):
        place = axis.layout(domain).axis
        if place is not None and (n := domain.at(sizes)[place]) < ranks:
            raise too_many_ranks(graph, domain, axis, n, ranks)


def _rule(
    graph: Graph, node: Node, axis: ShardedAxis, layouts: Mapping[str, FunctionLayout], sizes: Sizes
) -> Rule:
    """Return the rule of a node.

    Raises:
        OpError: OP0820, its block has none.
    """
    result, inputs = layouts[node.path], [layouts[x] for x in node.inputs]
    places = [x.axis for x in (*inputs, result) if x.axis is not None]
    if not places:
        return REPLICATED
    if not inputs:
        return SOURCE
    spaces = graph.arguments(node)
    grids: GridSizes = tuple(x.domain.at(sizes) for x in (*spaces, node.space))
    rule = node.block.sharding(places[0], grids, *spaces)
    if rule is not None:
        return rule
    field = node.block.receptive_field(grids, *spaces)
    if field is None or result.axis is None or any(x.domain.scattered for x in spaces):
        raise no_rule(graph, node, axis)
    points = field[result.axis]
    return Rule("halo", points=points) if points else LOCAL
