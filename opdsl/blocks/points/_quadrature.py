"""Quadrature weights of points, for blocks that sum over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opdsl.ir.block import SideInput
from opdsl.ir.spaces import Domain

if TYPE_CHECKING:
    from torch import nn


def geometry_of_weights(domain: Domain) -> tuple[SideInput, ...]:
    """Return the geometry that weights need; nothing where all points weigh the same."""
    has_weights = domain.scattered and domain.measure != "uniform"
    return (SideInput(domain.name, "coordinates", domain),) if has_weights else ()


def point_weights(domain: Domain) -> nn.Module | None:
    """Return the module that computes the weights; None where all points weigh the same."""
    from opdsl.nn.points import inputs

    if not geometry_of_weights(domain):
        return None
    return inputs.PointWeights(domain.measure or "uniform", domain.period)
