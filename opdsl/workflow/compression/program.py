"""The program of a compressed model, and its weights from those of the trained one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opdsl.compiler import check
from opdsl.diagnostics import OpError, Source, did_you_mean, fault
from opdsl.export import to_program
from opdsl.ir.block import Refusal
from opdsl.ir.graph import Graph, Node
from opdsl.ir.live import live
from opdsl.ir.ranks import GREATEST, Factor, Rank, count_numbers, find_ranks
from opdsl.ir.ranks import Axes as NamedAxes
from opdsl.lower.module import OperatorModule
from opdsl.nn.module_tree import module_at
from opdsl.train.config.paths import matches
from opdsl.workflow.compression.decomposition import decompose_into
from opdsl.workflow.compression.layers import dense_weights, factored_weights, layer_of
from opdsl.workflow.folder.reading import PROGRAM
from opdsl.workflow.programs.program import Program

MOST_PATHS = 5  # that a message lists
FIELDS = {"factor", "rank"}  # parameters of the blocks whose weights have factors


@dataclass(frozen=True, slots=True)
class CompressedLayer:
    """A layer whose weight is decomposed.

    Attributes:
        path: of its node in the trained model.
        shape: of the dense weight, (in, out, *frequencies).
        ranks: of the factors.
        numbers: of the dense weight and of the factors, complex ones count once.
        error: ||R - decomposition|| / ||R||, the largest of its terms.
    """

    path: str
    shape: tuple[int, ...]
    ranks: tuple[int, ...]
    numbers: tuple[int, int]
    error: float = math.nan


@dataclass(frozen=True, slots=True)
class Plan:
    """The layers that are decomposed.

    Attributes:
        factor: the decomposition.
        layers: those that are decomposed, by path.
        dense: those that stay dense, with the reason.
    """

    factor: Factor
    layers: dict[str, CompressedLayer]
    dense: dict[str, str]


def plan(
    graph: Graph, module: OperatorModule, factor: Factor, rank: Rank, only: Sequence[str]
) -> Plan:
    """Choose the layers to decompose, and their ranks.

    Args:
        graph: the trained model.
        module: its module.
        factor: the decomposition.
        rank: a fraction of the numbers of a dense weight, or whole numbers; one above the full rank
            of a layer is the full rank there.
        only: paths of nodes or of parts of the model, as in settings; all layers if there are none.

    Raises:
        OpError: OP0762, no layer can be decomposed; OP0763, the rank does not fit.
    """
    nodes = [x for x in live(graph) if type(x.block).model_fields.keys() >= FIELDS]
    _refuse_unmatched(graph, nodes, only)
    layers, dense = {}, {}
    for node in nodes:
        if node.shares is not None or not _matches(node.path, only):
            continue
        if getattr(node.block, "factor", "dense") != "dense":
            dense[node.path] = "its weight has factors already"
            continue
        result = _planned(graph, node, module, factor, rank)
        if isinstance(result, str):
            dense[node.path] = result
        else:
            layers[node.path] = result
    if not layers:
        notes = tuple(f"`{k}` stays dense: {x}" for k, x in dense.items())
        message = "the model has no dense spectral weight that could be decomposed"
        helps = ("blocks with the parameters `factor` and `rank` have such weights",)
        raise fault("OP0762", message, notes=notes, helps=helps, file=graph.name)
    return Plan(factor, layers, dense)


def _planned(
    graph: Graph, node: Node, module: OperatorModule, factor: Factor, rank: Rank
) -> CompressedLayer | str:
    """Return the ranks of a layer, or why it stays dense."""
    weights = dense_weights(layer_of(module_at(module, node.path)))
    shape = tuple(weights[0].shape)
    if len(shape) < 2:
        return "its weight is a vector"
    ranks = _ranks(node, factor, rank, shape)
    try:
        _changed(node, factor, ranks).block.infer(*graph.arguments(node))
    except Refusal as refusal:
        return refusal.message
    numbers = math.prod(shape), count_numbers(factor, shape, ranks)
    if numbers[1] >= numbers[0]:
        return f"the factors would have {numbers[1]} numbers, the dense weight has {numbers[0]}"
    return CompressedLayer(node.path, shape, ranks, numbers)


def _ranks(node: Node, factor: Factor, rank: Rank, shape: tuple[int, ...]) -> tuple[int, ...]:
    greatest = GREATEST[factor](shape)
    wanted = rank
    if isinstance(rank, int) and rank >= 1:
        wanted = tuple(min(rank, top) for top in greatest)
    elif isinstance(rank, tuple) and len(rank) == len(greatest) and min(rank) >= 1:
        wanted = tuple(min(r, top) for r, top in zip(rank, greatest, strict=True))
    try:
        return find_ranks(factor, NamedAxes(_names(node, len(shape)), shape), wanted)
    except Refusal as refusal:
        raise _bad_rank(node, refusal) from None


def _names(node: Node, count: int) -> tuple[str, ...]:
    """Name the axes of a weight, the last ones by those of the grid."""
    axes = tuple(x.name for x in node.space.domain.axes)
    before = ("in", "out", *(f"axis {i}" for i in range(3, count + 1)))
    return (*before[: max(0, count - len(axes))], *axes)[:count]


def _changed(node: Node, factor: Factor, ranks: tuple[int, ...]) -> Node:
    rank: Any = ranks[0] if len(ranks) == 1 else ranks
    block = node.block.model_copy(update={"factor": factor, "rank": rank})
    return node.model_copy(update={"block": block})


def compressed_program(graph: Graph, plan: Plan) -> Program:
    """Write the program of the compressed model, one call for each node, and check it.

    Raises:
        OpError: OP0107, no program can express the graph.
    """
    nodes = tuple(
        _changed(x, plan.factor, layer.ranks)
        if (layer := plan.layers.get(x.shares or x.path))
        else x
        for x in graph.nodes
    )
    # `model_copy` would copy cached properties, which are of the old nodes
    fields = {k: getattr(graph, k) for k in Graph.model_fields}
    source = Source(PROGRAM, to_program(Graph(**(fields | {"nodes": nodes}))))
    checked = check(source, model=graph.name)
    checked.sound()
    return Program(source, Path(), checked, {})


def fill(module: OperatorModule, trained: OperatorModule, plan: Plan) -> list[CompressedLayer]:
    """Copy and decompose the weights of the trained model into those of the compressed one.

    Args:
        module: of the compressed program, with any weights.
        trained: of the trained model.
        plan: the layers that are decomposed.

    Returns:
        The layers with the errors of their decompositions.
    """
    layers = []
    # a flat program has the nodes of the graph in their order
    for old, new in zip(trained.steps, module.steps, strict=True):
        assert old.node.keyword == new.node.keyword
        if old.node.shares is not None:
            continue
        layer = plan.layers.get(old.node.path)
        state = own_state(trained, old.node.path)
        target = own_state(module, new.node.path)
        if layer is None:
            _copy(state, target)
            continue
        _copy(*({k: x for k, x in y.items() if "weight" not in k} for y in (state, target)))
        tensors = dense_weights(layer_of(old.module))
        factors = factored_weights(layer_of(new.module))
        errors = [decompose_into(f, R) for f, R in zip(factors, tensors, strict=True)]
        layers.append(replace(layer, error=max(errors)))
    return layers


def own_state(module: OperatorModule, path: str) -> dict[str, Tensor]:
    """Return the weights of a node without those of nodes whose paths begin with its own."""
    start = f"{path}."
    below = tuple(
        f"{x.node.path.removeprefix(start)}." for x in module.steps if x.node.path.startswith(start)
    )
    state = module_at(module, path).state_dict()
    return {k: x for k, x in state.items() if not k.startswith(below)}


def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    assert source.keys() == target.keys()
    with torch.no_grad():
        for name, x in target.items():
            x.copy_(source[name])


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(matches(x, path) for x in patterns)


def _refuse_unmatched(graph: Graph, nodes: Sequence[Node], patterns: Sequence[str]) -> None:
    """Refuse a pattern that no layer has.

    Raises:
        OpError: OP0762.
    """
    paths = [x.path for x in nodes]
    for pattern in patterns:
        if not any(matches(pattern, x) for x in paths):
            message = f"no layer with a spectral weight has a path like `{pattern}`"
            listed = ", ".join(f"`{x}`" for x in paths[:MOST_PATHS])
            notes = (f"such layers are {listed}" if paths else "the model has no such layer",)
            helps = did_you_mean(pattern, paths)
            raise fault("OP0762", message, notes=notes, helps=helps, file=graph.name)


def _bad_rank(node: Node, refusal: Refusal) -> OpError:
    message = f"`{node.path}`: {refusal.message}"
    notes = ((refusal.label,) if refusal.label else ()) + refusal.notes
    helps = ("write a fraction, `--rank 0.1`, or whole numbers, `--rank 8` or `--rank 8,8,4,4`",)
    return fault("OP0763", message, notes=notes, helps=helps, file="--rank")
