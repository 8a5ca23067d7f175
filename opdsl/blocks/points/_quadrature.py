"""What points stand for, for blocks that add up over them: what is asked for, and the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opdsl.ir.block import SideInput
from opdsl.ir.spaces import Domain

if TYPE_CHECKING:
    from torch import nn


def weighed(domain: Domain) -> tuple[SideInput, ...]:
    """Return the geometry that weights need; nothing where all points weigh the same."""
    told = domain.scattered and domain.measure != "uniform"
    return (SideInput(domain.name, "coordinates", domain),) if told else ()


def measured(domain: Domain) -> nn.Module | None:
    """Return the module that computes the weights; None where all points weigh the same."""
    from opdsl.nn.points import inputs

    if not weighed(domain):
        return None
    return inputs.PointWeights(domain.measure or "uniform", domain.period)
