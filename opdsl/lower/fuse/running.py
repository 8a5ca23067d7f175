"""A fusion as a function of one channels-last tensor.

Weights are read at each call from the modules of the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from opdsl.lower.fuse.fusion import Fusion
from opdsl.nn.kernels.degrees import SphereDegrees
from opdsl.nn.kernels.fourier_layer import (
    Activations,
    LayerWeights,
    SpectralStage,
    fourier_layer,
    kernels_available,
)
from opdsl.nn.kernels.half_waves import HalfWaveModes
from opdsl.nn.kernels.modes import GridModes, ModeMixing
from opdsl.nn.kernels.network import network
from opdsl.nn.spectral.conv import SpectralConv
from opdsl.nn.spectral.factors import Tucker
from opdsl.nn.spectral.half_waves.conv import BasisConv
from opdsl.nn.sphere.harmonics import SphericalConv


@dataclass(frozen=True, slots=True)
class Fused:
    """A fusion with the modules of its nodes.

    Attributes:
        modules: module of each node of the fusion, by its role.
        operands: value number of the fusion's input.
        result: value number of the fusion's result.
    """

    fusion: Fusion
    modules: Mapping[str, nn.Module]
    operands: int
    result: int

    def __call__(self, u: Tensor) -> Tensor:
        """Compute the result of the last node from the input (batch, *grid, channels)."""
        return RUNS[self.fusion.kind](self, u)

    def fits(self, u: Tensor) -> bool:
        """Return whether the kernels support the call: float32 on a CPU, at most a gradient."""
        weights = (x for m in self.modules.values() for x in m.parameters())
        return kernels_available() and all(map(_ordinary, (u, *weights)))

    def part(self, role: str) -> nn.Module | None:
        """Return the module with this role in the formula, or None."""
        return self.modules.get(role)


def ordinary_call() -> bool:
    """Return whether a call is free of tracing, autocast, forward-mode AD and `torch.func`."""
    traced = torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None  # noqa: SLF001  no public name
    transformed = torch._C._functorch.maybe_current_level() is not None  # noqa: SLF001  no public name
    forward = forward_ad._current_level >= 0  # noqa: SLF001  no public name
    return not (traced or transformed or forward or torch.is_autocast_enabled("cpu"))


def _ordinary(x: Tensor) -> bool:
    plain = type(x) in (Tensor, nn.Parameter)
    return plain and x.dtype == torch.float32 and x.device.type == "cpu"


def _fourier_layer(fused: Fused, u: Tensor) -> Tensor:
    R, stage = _spectral(cast("SpectralConv | BasisConv | SphericalConv", fused.modules["conv"]))
    return layer_of_stage(fused, u, R, stage)


def layer_of_stage(fused: Fused, u: Tensor, R: Tensor | None, stage: SpectralStage) -> Tensor:
    """Compute a fused Fourier layer with R, or None, and the stage that goes with it."""
    conv = cast("SpectralConv | BasisConv | SphericalConv", fused.modules["conv"])
    matrix = fused.modules["matrix"]
    W = cast(Tensor, matrix.weight)
    biases = [x for x in (conv.bias, cast("Tensor | None", matrix.bias)) if x is not None]
    b = sum(biases[1:], biases[0]) if biases else W.new_zeros(len(W))
    weights = LayerWeights(R, W, b, **_gate(fused))
    if fused.part("first") is not None:
        W1, b1, W2, b2 = _layers(fused)
        weights = replace(weights, W1=W1, b1=b1, W2=W2, b2=b2)
    return fourier_layer(u, weights, stage, Activations(*fused.fusion.activations))


def _gate(fused: Fused) -> dict[str, Tensor]:
    """Return the weight of the skip past the network: one number per channel, or a matrix."""
    part = fused.part("gate")
    weight = None if part is None else cast(Tensor, part.weight)
    return {} if weight is None else {"gate" if weight.ndim == 1 else "G": weight}


def _spectral(
    conv: SpectralConv | BasisConv | SphericalConv,
) -> tuple[Tensor | None, SpectralStage]:
    """Return R, and what transforms to its functions."""
    if isinstance(conv, SphericalConv):
        return _by_degree(conv)
    return _by_half_wave(conv) if isinstance(conv, BasisConv) else _by_mode(conv)


def _by_degree(conv: SphericalConv) -> tuple[Tensor | None, SpectralStage]:
    return cast(Tensor, conv.weight), SphereDegrees(conv.lmax, conv.orders, conv.sampling)


def _by_mode(conv: SpectralConv) -> tuple[Tensor | None, SpectralStage]:
    if conv.in_ranks:
        return None, GridModes(conv.bands(), ModeMixing(conv.mix, tuple(_own(conv)), _parts(conv)))
    return conv.pairs(), GridModes(conv.bands())


def _by_half_wave(conv: BasisConv) -> tuple[Tensor | None, SpectralStage]:
    counts = conv.active_modes or conv.modes
    return conv.stacked(), HalfWaveModes(conv.terms, counts, conv.samplings)


def _parts(conv: SpectralConv) -> Callable[[Tensor], Tensor] | None:
    """Return the faster product by real and imaginary parts, if the weight has one; else None."""
    tucker = isinstance(conv.weight, Tucker) and conv.active_modes is None
    return cast(Tucker, conv.weight).mix_parts if tucker else None


def _own(conv: SpectralConv) -> Iterator[Tensor]:
    """Yield the factors of a weight that is applied factor by factor."""
    assert isinstance(conv.weight, nn.Module)
    yield from conv.weight.parameters()


def _network(fused: Fused, u: Tensor) -> Tensor:
    return network(u, _layers(fused), Activations(*fused.fusion.activations))


def _layers(fused: Fused) -> tuple[Tensor, ...]:
    """Return W_1, b_1, W_2, b_2, with zeros where a layer has no bias."""
    result: list[Tensor] = []
    for role in ("first", "second"):
        W = cast(Tensor, fused.modules[role].weight)
        b = cast("Tensor | None", fused.modules[role].bias)
        result += [W, W.new_zeros(len(W)) if b is None else b]
    return tuple(result)


RUNS: dict[str, Callable[[Fused, Tensor], Tensor]] = {
    "fourier_layer": _fourier_layer,
    "network": _network,
}
