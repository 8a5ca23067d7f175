"""W_2 sigma(W_1 x + b_1) + b_2: lifting, projection and the networks between them."""

from __future__ import annotations

from opdsl.lower.fuse.fusion import Fusion, Uses


def network(uses: Uses, end: str) -> Fusion | None:
    """Two layers at each point that end there, with an activation before them."""
    found = uses.layers(end)
    if found is None:
        return None
    before, source = uses.producing_activation(found.source)
    bent = (found.source,) if source != found.source else ()
    return Fusion(
        kind="network",
        source=source,
        nodes=(*bent, found.first, found.activation, found.second),
        roles={"first": found.first, "second": found.second},
        activations=(before, "identity", found.kind),
    )
