"""The nodes of a graph as steps of a module: their operands and the values that die behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from opdsl.ir.graph import Graph, Node
from opdsl.ir.live import live
from opdsl.lower.call_arguments import PackedSizes
from opdsl.lower.per_sample import run_per_sample


@dataclass(frozen=True, slots=True)
class NodeStep:
    """A node as it runs. Values are numbered, the inputs first, then the nodes in order.

    Attributes:
        operands: numbers of its inputs.
        dead_after: numbers of the values that no later step reads.
        source: whether it has no inputs; `like` then gives it dtype and device.
        side_inputs: numbers of what it needs beside the inputs.
        domains: names of the domains of its inputs and last of its result.
    """

    node: Node
    module: nn.Module
    operands: tuple[int, ...]
    dead_after: tuple[int, ...]
    source: bool
    side_inputs: tuple[int, ...] = ()
    domains: tuple[str, ...] = ()

    def ragged(self, packed: PackedSizes) -> tuple[tuple[int, ...] | None, ...]:
        """Return the points per sample of each input and last the result; None: not packed."""
        return tuple(packed.get(x) for x in self.domains)

    def run(self, inputs: Sequence[Tensor], packed: PackedSizes, more: Mapping[str, Any]) -> Tensor:
        """Compute the node's result, whether samples are packed or not."""
        ragged = self.ragged(packed) if packed else ()
        if self.node.block.ragged == "each" and any(ragged):
            return run_per_sample(self.module, inputs, ragged, more)
        result: Tensor = self.module(*inputs, **more)
        return result


def value_number(graph: Graph, path: str) -> int:
    """Return the number of a value: inputs count first, then the nodes that run."""
    names = [x.name for x in graph.inputs] + [x.path for x in live(graph)]
    return names.index(path)


def steps_of(graph: Graph) -> Iterator[NodeStep]:
    """Yield a step for each node that the outputs need, in the order of the graph.

    Nodes that share weights share one module.
    """
    nodes = live(graph)
    number = {name: i for i, name in enumerate([x.name for x in graph.inputs])}
    for node in nodes:
        number[node.path] = len(number)
    argument_index = {x.name: i for i, x in enumerate(graph.side_inputs())}
    modules: dict[str, nn.Module] = {}
    last = {x: node.path for node in nodes for x in node.inputs}  # later ones overwrite
    graph_outputs = {x.source for x in graph.outputs}
    for node in nodes:
        shared = modules.get(node.shares or "")
        modules[node.path] = shared or node.block.lower(*graph.arguments(node))
        dead_after = {
            number[x] for x in node.inputs if last[x] == node.path and x not in graph_outputs
        }
        yield NodeStep(
            node=node,
            module=modules[node.path],
            operands=tuple(number[x] for x in node.inputs),
            dead_after=tuple(sorted(dead_after)),
            source=not node.inputs,
            side_inputs=tuple(
                argument_index[x.name] for x in node.block.side_inputs(*graph.arguments(node))
            ),
            domains=tuple(x.domain.name for x in (*graph.arguments(node), node.space)),
        )


def own_weights(module: nn.Module) -> dict[str, Tensor | None]:
    """Return the module's own weights; `getattr` might find a child of that name."""
    result: dict[str, Tensor | None] = vars(module)["_parameters"]
    return result


def float_weights(root: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Yield module and name of each floating-point weight."""
    for module in root.modules():
        for name, weight in own_weights(module).items():
            if weight is not None and weight.is_floating_point():
                yield module, name
