"""Predicted costs of nodes, one by one or fused: work of a forward pass, bytes for the gradient.

One by one, each layer saves its input. Fused, the subgraph saves its input and the modes between
its transforms; the rest is computed again backward. An activation costs what it reads and writes.
Torch is never imported here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from opdsl.ir.block import BYTES, Work
from opdsl.ir.dims import decided
from opdsl.ir.graph import Graph, Node
from opdsl.lower.fuse.fusion import Fusion
from opdsl.lower.plan.tuning_case import Workload

SPECTRA = 2  # spectra of the kept modes that are saved: before mixing, and after


@dataclass(frozen=True, slots=True)
class Load:
    """Work of a forward pass of the whole batch, and bytes saved for the gradient."""

    work: Work
    saved_bytes: float


def plain_load(
    graph: Graph, nodes: Iterable[Node], kernels: Mapping[str, str], setting: Workload
) -> Load:
    """Estimate the load of nodes that run one by one, each writing its result to memory."""
    works, saved, spectra = [], set[str](), 0.0
    for node in nodes:
        works.append(_work(graph, node, kernels.get(node.path), setting))
        if node.block.saves_inputs(*graph.arguments(node)):
            saved.update(node.inputs)
        if node.block.saves_result(*graph.arguments(node)):
            saved.add(node.path)
        spectra += _spectra(graph, node, setting)
    # a value that several nodes save is one tensor
    numbers = sum(_value_count(graph, x, setting) for x in saved) + spectra
    return Load(_scale_work(_sum_work(works), setting.batch), BYTES * setting.batch * numbers)


def fused_load(graph: Graph, fusion: Fusion, setting: Workload) -> Load:
    """Estimate the load of a fusion, which reads its input from memory and writes its result."""
    nodes = [graph.by_path[x] for x in fusion.nodes]
    inner = [_work(graph, x, "dft" if x.block.kernels else None, setting) for x in nodes]
    ends = _value_count(graph, fusion.source, setting) + _value_count(graph, fusion.end, setting)
    work = Work(gemm=_sum_work(inner).gemm, moved=BYTES * ends)
    numbers = _value_count(graph, fusion.source, setting) + sum(
        _spectra(graph, x, setting) for x in nodes
    )
    return Load(_scale_work(work, setting.batch), BYTES * setting.batch * numbers)


def _work(graph: Graph, node: Node, kernel: str | None, setting: Workload) -> Work:
    """Count the work of a node for one sample; `kernel` is None where there is no choice."""
    inputs = graph.arguments(node)
    if kernel is not None:
        sizes = tuple(x.domain.at(setting.roots) for x in (*inputs, node.space))
        return node.block.work(kernel, sizes, *inputs)
    bytes_moved = BYTES * sum(_value_count(graph, x, setting) for x in (*node.inputs, node.path))
    cost = node.block.cost(*inputs)
    gemm = cost.flops.at(graph.sizes(setting.roots)) if cost.params else 0.0
    return Work(gemm=gemm, moved=bytes_moved)


def _spectra(graph: Graph, node: Node, setting: Workload) -> float:
    """Count the real numbers of the modes that a convolution saves, for one sample."""
    inputs = graph.arguments(node)
    if not node.block.kernels:
        return 0.0
    sizes = tuple(x.domain.at(setting.roots) for x in (*inputs, node.space))
    return SPECTRA * 2.0 * node.block.saved_modes(sizes, *inputs) * decided(inputs[0].channels)


def _value_count(graph: Graph, path: str, setting: Workload) -> float:
    """Count the numbers of one sample of a function; a complex number counts twice."""
    space = graph.spaces[path]
    count = decided(space.channels) * math.prod(space.domain.at(setting.roots))
    return float(count * (2 if space.complex else 1))


def _sum_work(works: Iterable[Work]) -> Work:
    result = tuple(works)
    return Work(*(sum(getattr(x, k) for x in result) for k in ("gemm", "fft", "moved")))


def _scale_work(work: Work, batch: int) -> Work:
    return Work(batch * work.gemm, batch * work.fft, batch * work.moved)
