"""Subgraphs that run as one operation.

Nodes keep their paths, and so their weights; only execution changes. Torch is never imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from opdsl.ir.graph import Graph
from opdsl.ir.live import live
from opdsl.lower.fuse.fourier_layer import fourier_layer
from opdsl.lower.fuse.fusion import Fusion, Uses
from opdsl.lower.fuse.network import network

Pattern = Callable[[Uses, str], Fusion | None]

# a pattern finds the greatest subgraph that ends with a node; the earlier one wins
PATTERNS: tuple[Pattern, ...] = (fourier_layer, network)


def fusions(graph: Graph) -> tuple[Fusion, ...]:
    """Find disjoint subgraphs that match a pattern, in the order of their end nodes."""
    uses, used, result = Uses(graph), set[str](), dict[str, Fusion]()
    for fusion in _candidates(uses, graph):
        if not used.intersection(fusion.nodes):
            used.update(fusion.nodes)
            result[fusion.end] = fusion
    return tuple(result[x.path] for x in live(graph) if x.path in result)


def _candidates(uses: Uses, graph: Graph) -> Iterator[Fusion]:
    # from the outputs on, so that a part of a subgraph is not taken before the whole
    for pattern in PATTERNS:
        for node in reversed(live(graph)):
            fusion = pattern(uses, node.path)
            if fusion is not None:
                yield fusion
