"""What points stand for, for blocks that add up over them: what is asked for, and the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opdsl.ir.block import SideInput
from opdsl.ir.spaces import Domain

if TYPE_CHECKING:
    from torch import nn


def weighed(domain: Domain) -> tuple[SideInput, ...]:
    """Where the points are, if they stand for more than one over their number."""
    told = domain.scattered and domain.measure != "uniform"
    return (SideInput(domain.name, "coordinates", domain),) if told else ()


def measured(domain: Domain) -> nn.Module | None:
    """What the points stand for, as a module; None where all count the same."""
    from opdsl.nn.points import inputs

    if not weighed(domain):
        return None
    return inputs.PointWeights(domain.measure or "uniform", domain.period)
