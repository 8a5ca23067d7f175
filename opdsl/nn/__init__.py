"""The numerics as plain torch modules, usable without the language.

Tensors are channels-last, (batch, *grid, channels), with one axis or more: a pointwise layer is
then one matrix product on the last axis.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opdsl.nn.grid.concat import Concat, concat
    from opdsl.nn.grid.coords import Coords, coords
    from opdsl.nn.grid.pad import Crop, Pad, crop, pad
    from opdsl.nn.layers.arithmetic import Add, Mul, Scale, Sub
    from opdsl.nn.layers.complex_parts import Complex, Imag, Modulus, Real
    from opdsl.nn.layers.norm import NORMS, BatchNorm, GroupNorm, InstanceNorm, LayerNorm, Norm
    from opdsl.nn.layers.pointwise import ACTIVATIONS, Activation, ComplexLinear, Dropout, Linear
    from opdsl.nn.layers.skip import SKIPS, Gate, Skip
    from opdsl.nn.spectral.conv import SpectralConv
    from opdsl.nn.spectral.convolve import KERNELS
    from opdsl.nn.spectral.linear import SpectralLinear
    from opdsl.nn.spectral.resample import Resample, resample
    from opdsl.nn.spectral.transforms import InverseTruncatedFFT, TruncatedFFT

MODULES = (
    "grid.concat",
    "grid.coords",
    "grid.pad",
    "layers.arithmetic",
    "layers.complex_parts",
    "layers.norm",
    "layers.pointwise",
    "layers.skip",
    "spectral.conv",
    "spectral.convolve",
    "spectral.linear",
    "spectral.resample",
    "spectral.transforms",
)
__all__ = [
    "ACTIVATIONS",
    "KERNELS",
    "NORMS",
    "SKIPS",
    "Activation",
    "Add",
    "BatchNorm",
    "Complex",
    "ComplexLinear",
    "Concat",
    "Coords",
    "Crop",
    "Dropout",
    "Gate",
    "GroupNorm",
    "Imag",
    "InstanceNorm",
    "InverseTruncatedFFT",
    "LayerNorm",
    "Linear",
    "Modulus",
    "Mul",
    "Norm",
    "Pad",
    "Real",
    "Resample",
    "Scale",
    "Skip",
    "SpectralConv",
    "SpectralLinear",
    "Sub",
    "TruncatedFFT",
    "concat",
    "coords",
    "crop",
    "pad",
    "resample",
]


def __getattr__(name: str) -> object:
    # lazy: a caller of the compiled kernels alone (`opdsl.nn.kernels.native`)
    # does not wait for torch
    if name in __all__:
        for module in MODULES:
            source = import_module(f"{__name__}.{module}")
            if hasattr(source, name):
                return getattr(source, name)
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
