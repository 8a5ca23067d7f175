"""Parameters, operations and memory of every node, exactly and for every resolution.

Rows are in the order of the program and contain equal iterations of a repeat once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from opdsl.ir.block import Cost
from opdsl.ir.certificate import Certificate, certify
from opdsl.ir.dims import Poly
from opdsl.ir.display import telling
from opdsl.ir.graph import Graph, Node
from opdsl.ir.outline import Group, outline


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """A node, or a group with its contents.

    Attributes:
        path: path of the node or group.
        title: keyword of the block, or name of the group.
        details: parameters that differ from their defaults.
        level: depth of nesting.
        group: whether the following rows of a deeper level are its parts.
        times: number of equal groups that the row represents; its numbers are their sums.
        space: space of the result, as in the program.
        params: trained real numbers.
        complex_params: trained complex numbers, each of which is two of `params`.
        flops: additions and multiplications of one forward pass of one sample.
        bytes: bytes of the results in float32, for one sample.
    """

    path: str
    title: str
    details: tuple[str, ...]
    level: int
    group: bool
    times: int
    space: str
    params: int
    complex_params: int
    flops: Poly
    bytes: Poly


@dataclass(frozen=True, slots=True)
class Summary:
    """Parameters, cost and certificate of a model.

    Attributes:
        model: name.
        doc: text of the program about it.
        inputs, outputs: ports with their spaces.
        rows: nodes and groups.
        params: trained real numbers.
        complex_params: trained complex numbers, each of which is two of `params`.
        flops: flops of one forward pass of one sample, a formula in the sizes.
        bytes: bytes of all results in float32, for one sample.
        certificate: promises of the model.
        at: the resolution of each declared domain, if the caller chose one.
        sizes: the value of each size in the formulas there.
    """

    model: str
    doc: str | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    rows: tuple[SummaryRow, ...]
    params: int
    complex_params: int
    flops: Poly
    bytes: Poly
    certificate: Certificate
    at: Mapping[str, tuple[int, ...]] | None = None
    sizes: Mapping[str, int] | None = None

    def number(self, formula: Poly) -> int | None:
        """Return the value of a formula at the resolution, or None without one."""
        return None if self.sizes is None else round(formula.at(self.sizes))


def summarise(graph: Graph, at: Mapping[str, tuple[int, ...]] | None = None) -> Summary:
    """Summarise a graph.

    Args:
        graph: the model.
        at: the resolution of each declared domain, as `parse_at` returns it.
    """
    costs = {x.path: _cost(x, graph) for x in graph.nodes}
    rows = (y for x in outline(graph).children for y in _rows(x, graph, costs, 0))
    return Summary(
        model=graph.name,
        doc=graph.doc,
        inputs=tuple(f"{x.name} : {x.space}" for x in graph.inputs),
        outputs=tuple(f"{x.name} : {x.space}" for x in graph.outputs),
        rows=tuple(rows),
        params=sum(x.params for x in costs.values()),
        complex_params=sum(_complex(x, graph) for x in graph.nodes),
        flops=sum((x.flops for x in costs.values()), Poly()),
        bytes=sum((x.bytes for x in costs.values()), Poly()),
        certificate=certify(graph),
        at=at,
        sizes=None if at is None else graph.sizes(at),
    )


def _cost(node: Node, graph: Graph) -> Cost:
    """Return the cost of a node; shared weights belong to another node."""
    cost = node.block.cost(*graph.arguments(node))
    return replace(cost, params=0) if node.shares else cost


_Costs = Mapping[str, Cost]


def _rows(item: Group | Node, graph: Graph, costs: _Costs, level: int) -> Iterator[SummaryRow]:
    if isinstance(item, Node):
        yield _node_row(item, graph, costs[item.path], level)
        return
    inside = [list(_rows(x, graph, costs, level + 1)) for x in item.children]
    yield _group_row(item, [x[0] for x in inside], level)
    for rows in inside:
        yield from rows


def _node_row(node: Node, graph: Graph, cost: Cost, level: int) -> SummaryRow:
    return SummaryRow(
        path=node.path,
        title=node.keyword,
        details=telling(node, graph.arguments(node)),
        level=level,
        group=False,
        times=1,
        space=str(node.space),
        params=cost.params,
        complex_params=_complex(node, graph),
        flops=cost.flops,
        bytes=cost.bytes,
    )


def _group_row(group: Group, parts: list[SummaryRow], level: int) -> SummaryRow:
    return SummaryRow(
        path=group.scope.path,
        title=group.title,
        details=(),
        level=level,
        group=True,
        times=group.times,
        space=parts[-1].space,
        params=group.copies * sum(x.params for x in parts),
        complex_params=group.copies * sum(x.complex_params for x in parts),
        flops=sum((x.flops for x in parts), Poly()) * group.times,
        bytes=sum((x.bytes for x in parts), Poly()) * group.times,
    )


def _complex(node: Node, graph: Graph) -> int:
    """Count the complex numbers that the node trains."""
    return 0 if node.shares else node.block.complex_weights(*graph.arguments(node))
