"""Tuning cases: one node with several kernels, or nodes that may run as one operation.

The description of a case is plain data without paths and weights, so that the equal layers of a
network are one case. Torch is never imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from opdsl.ir.graph import Graph, Node
from opdsl.ir.live import live
from opdsl.lower.fuse.fusion import Fusion

PLAIN, FUSED = "plain", "fused"

Times = Mapping[str, float]  # milliseconds of forward and gradient, by way


@dataclass(frozen=True, slots=True)
class Workload:
    """The conditions under which a case is computed.

    Attributes:
        roots: points on each axis of each declared domain.
        batch: samples in one call.
        device: kind of device: `cpu`, `cuda`.
        threads: cores of a CPU that work together.
        dtype: name of the number format: `float32`.
    """

    roots: Mapping[str, tuple[int, ...]]
    batch: int = 1
    device: str = "cpu"
    threads: int = 1
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class TuningCase:
    """Nodes that can be computed in several ways.

    Attributes:
        nodes: in the order in which they run; one, or those of the fusion.
        kernels: by path, for the nodes of a fusion where they run one by one.
    """

    graph: Graph
    nodes: tuple[Node, ...]
    setting: Workload
    fusion: Fusion | None = None
    kernels: Mapping[str, str] = field(default_factory=dict)

    @property
    def ways(self) -> tuple[str, ...]:
        """Names of the ways to compute the case: kernels, or `FUSED` and `PLAIN`."""
        return self.nodes[0].block.kernels if self.fusion is None else (PLAIN, FUSED)

    def description(self) -> dict[str, Any]:
        """Plain data with everything that times depend on, except the machine and its software."""
        place = {x.path: i for i, x in enumerate(self.nodes)}
        return {
            "ways": list(self.ways),
            "nodes": [self._node_description(x, place) for x in self.nodes],
            "batch": self.setting.batch,
            "threads": self.setting.threads,
            "dtype": self.setting.dtype,
        }

    def _node_description(self, node: Node, place: Mapping[str, int]) -> dict[str, Any]:
        spaces = (*self.graph.arguments(node), node.space)
        return {
            "block": node.block.keyword(),
            "parameters": node.block.model_dump(mode="json"),
            "takes": [place.get(x) for x in node.inputs],  # None: from outside
            "spaces": [x.model_dump(mode="json") for x in spaces],
            "sizes": [list(x.domain.at(self.setting.roots)) for x in spaces],
            "kernel": self.kernels.get(node.path),
        }


Timer = Callable[[TuningCase], Times | None]  # None: not known


def node_case(graph: Graph, node: Node, setting: Workload) -> TuningCase | None:
    """Make the case of one node; None if it has no choice of kernels or cannot run on its own."""
    if len(node.block.kernels) < 2 or node.block.side_inputs(*graph.arguments(node)):
        return None
    return TuningCase(graph, (node,), setting)


def fused_case(
    graph: Graph, fusion: Fusion, setting: Workload, kernels: Mapping[str, str]
) -> TuningCase:
    """Make the case of a fusion: its nodes one by one with these kernels, or one operation."""
    nodes = tuple(x for x in live(graph) if x.path in fusion.nodes)
    own = {x.path: kernels[x.path] for x in nodes if x.path in kernels}
    return TuningCase(graph, nodes, setting, fusion, own)
