"""The pattern W_2 sigma(W_1 x + b_1) + b_2: lifting, projection and networks between them."""

from __future__ import annotations

from opdsl.lower.fuse.fusion import Fusion, Uses


def network(uses: Uses, end: str) -> Fusion | None:
    """Match a pointwise network that ends at a node, with an activation before it."""
    result = uses.layers(end)
    if result is None:
        return None
    act_in, source = uses.producing_activation(result.source)
    activation_nodes = (result.source,) if source != result.source else ()
    return Fusion(
        kind="network",
        source=source,
        nodes=(*activation_nodes, result.first, result.activation, result.second),
        roles={"first": result.first, "second": result.second},
        activations=(act_in, "identity", result.kind),
    )
