"""K v + W v, alone or with a network at each point and a gate behind it.

K multiplies the functions of a basis on a grid, or degrees of harmonics on a sphere.
"""

from __future__ import annotations

from dataclasses import dataclass

from opdsl.blocks.pointwise.add import Add
from opdsl.blocks.pointwise.skip import Skip
from opdsl.blocks.spectral.spectral_conv import SpectralConv
from opdsl.blocks.sphere.spherical_conv import SphericalConv
from opdsl.ir.block import Block
from opdsl.ir.expansion import expansion
from opdsl.ir.graph import Node
from opdsl.ir.spaces import Space
from opdsl.lower.fuse.fusion import Fusion, Layers, Uses


@dataclass(frozen=True, slots=True)
class Sum:
    """K v + W v: its input, its two terms, and the node of the sum."""

    source: str
    conv: str
    matrix: str
    end: str


def fourier_layer(uses: Uses, end: str) -> Fusion | None:
    """Match W_2 sigma_1(W_1 sigma(K v + W v) + b_1) + b_2 + g v, or K v + W v alone.

    g is a number for each channel, or a matrix. An activation before v is included if no other node
    reads its result.
    """
    return _gated(uses, end) or _with_network(uses, end, None) or _alone(uses, end)


def _gated(uses: Uses, end: str) -> Fusion | None:
    for inner, other in _terms(uses, end):
        node = uses.node(other)
        if node is None or not isinstance(node.block, Skip) or not uses.once(other):
            continue
        gates = node.block.kind in ("soft", "linear") and uses.plain(node.space)
        if gates and node.block.copies == 1 and uses.once(inner):
            result = _with_network(uses, inner, node)
            if result is not None:
                nodes = (*result.nodes, other, end)
                roles = {**result.roles, "gate": other}
                return Fusion(result.kind, result.source, nodes, roles, result.activations)
    return None


def _with_network(uses: Uses, end: str, gate: Node | None) -> Fusion | None:
    layers = uses.layers(end)
    if layers is None:
        return None
    middle, path = uses.producing_activation(layers.source)
    result = _sum(uses, path)
    if result is None or not uses.once(path):
        return None
    if uses.graph.spaces[end].channels != uses.graph.spaces[path].channels:
        return None
    if gate is not None and gate.inputs[0] != result.source:
        return None
    return _fusion(uses, result, layers, middle, takers=2 if gate is None else 3)


def _alone(uses: Uses, end: str) -> Fusion | None:
    result = _sum(uses, end)
    return None if result is None else _fusion(uses, result, None, "identity", takers=2)


def _fusion(uses: Uses, found: Sum, layers: Layers | None, middle: str, takers: int) -> Fusion:
    act_in, source = uses.producing_activation(found.source, takers)
    nodes = [found.source] if source != found.source else []
    nodes += [found.conv, found.matrix, found.end]
    roles = {"conv": found.conv, "matrix": found.matrix}
    if layers is not None:
        nodes += [layers.source] if layers.source != found.end else []
        nodes += [layers.first, layers.activation, layers.second]
        roles |= {"first": layers.first, "second": layers.second}
    hidden = "identity" if layers is None else layers.kind
    return Fusion("fourier_layer", source, tuple(nodes), roles, (act_in, middle, hidden))


def _sum(uses: Uses, end: str) -> Sum | None:
    for conv, other in _terms(uses, end):
        node, matrix = uses.node(conv), uses.matrix(other)
        if node is None or matrix is None or node.inputs != matrix.inputs:
            continue
        if _suits(uses, node) and uses.once(conv) and uses.once(other):
            return Sum(node.inputs[0], conv, other, end)
    return None


def _suits(uses: Uses, node: Node) -> bool:
    """Return whether a node is a convolution on one domain with a matrix per mode or degree."""
    space = uses.graph.spaces[node.inputs[0]]
    same = space.domain == node.space.domain and uses.plain(space) and uses.plain(node.space)
    return same and (_by_mode(node.block, space) or _by_degree(node.block))


def _by_mode(block: Block, space: Space) -> bool:
    if not isinstance(block, SpectralConv):
        return False
    functions = expansion(block.basis, block.modes, space)
    # the kernels know exponentials on all axes, or half-waves on all axes
    known = functions is None or functions.real_weights
    return known and not block.separable and block.copies == 1 and block.faults == "none"


def _by_degree(block: Block) -> bool:
    if not isinstance(block, SphericalConv):
        return False
    return block.by == "degree" and block.factor == "dense" and not block.separable


def _terms(uses: Uses, end: str) -> tuple[tuple[str, str], ...]:
    """Yield the terms of a sum in both orders; nothing if the node is no sum of two."""
    node = uses.node(end)
    if node is None or not isinstance(node.block, Add):
        return ()
    a, b = node.inputs
    return ((a, b), (b, a))
