"""The spectral weights of single layers, as tensors (in, out, *frequencies)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from opdsl.nn.layers.grouped import GroupedLayer
from opdsl.nn.spectral.conv import SpectralConv
from opdsl.nn.spectral.factors import Factored
from opdsl.nn.spectral.half_waves.conv import BasisConv
from opdsl.nn.sphere.harmonics import SphericalConv

SpectralLayer = SpectralConv | BasisConv | SphericalConv


def layer_of(module: nn.Module) -> SpectralLayer:
    """Return the layer of a node, without the groups of channels around it."""
    layer = module.each if isinstance(module, GroupedLayer) else module
    assert isinstance(
        layer, SpectralLayer
    )  # every block with `factor` and `rank` lowers to one of these
    return layer


def dense_weights(layer: SpectralLayer) -> list[Tensor]:
    """Return R of each term of a layer with dense weights: (in, out, *frequencies).

    R of a separable layer is (channels, *frequencies).
    """
    assert isinstance(layer.weight, Tensor)
    weight = layer.weight.detach()
    real = layer.real_weights if isinstance(layer, BasisConv) else _has_real_weights(layer)
    R = weight if real else torch.view_as_complex(weight.contiguous())
    terms = list(R) if isinstance(layer, BasisConv) else [R]
    trailing = 1 if layer.separable else 2
    return [x.movedim(tuple(range(-trailing, 0)), tuple(range(trailing))) for x in terms]


def _has_real_weights(layer: SpectralConv | SphericalConv) -> bool:
    """Return whether R is real; that of exponentials is complex, also for real functions."""
    return hasattr(layer, "by") and layer.real  # harmonics have a matrix `by` degree, mode or all


def factored_weights(layer: SpectralLayer) -> Sequence[Factored]:
    """Return the factorised R of each term of a layer."""
    weight = layer.weight
    if isinstance(weight, nn.ModuleList):
        return list(weight)  # type: ignore[arg-type]  # modules that are all of this type
    assert not isinstance(weight, Tensor)
    return [weight]
