"""Darcy data of PhysicsNeMo: `Kcoeff` and `sol`, channels first.

Source: the Darcy example of NVIDIA's PhysicsNeMo.
"""

from opdsl.data.arrays.axes import CHANNEL, SAMPLE
from opdsl.data.arrays.presets import GRID, ArrayInfos, Preset, Proposal


def propose(arrays: ArrayInfos) -> Proposal | None:
    """Recognise `Kcoeff` and `sol` (samples, 1, x, y)."""
    if not {"Kcoeff", "sol"} <= arrays.keys() or len(arrays["sol"].shape) != 4:
        return None
    axes = (SAMPLE, CHANNEL, *GRID[:2])
    return Proposal(("Kcoeff",), ("sol",), {"Kcoeff": axes, "sol": axes})


PRESET = Preset("the Darcy data of PhysicsNeMo", propose, "`Kcoeff` and `sol` (sample, 1, x, y)")
