"""The numerics as plain torch modules, usable without the language.

What comes in and goes out: channels-last tensors, (batch, *grid, channels), with one axis or more.
What never enters: anything of the language. A pointwise layer is then one matrix product on the
last axis, which is worth more than any trick in the Fourier transform.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opdsl.nn.arithmetic import Add, Mul, Scale, Sub
    from opdsl.nn.fourier import KERNELS, Resample, SpectralConv, SpectralLinear, resample
    from opdsl.nn.grid import Concat, Coords, Crop, Pad, concat, coords, crop, pad
    from opdsl.nn.norm import NORMS, BatchNorm, GroupNorm, InstanceNorm, LayerNorm, Norm
    from opdsl.nn.parts import Complex, Imag, Modulus, Real
    from opdsl.nn.pointwise import ACTIVATIONS, Activation, ComplexLinear, Dropout, Linear
    from opdsl.nn.skip import SKIPS, Gate, Skip
    from opdsl.nn.transforms import Cut, Grow

MODULES = (
    "arithmetic", "fourier", "grid", "norm", "parts", "pointwise", "skip", "transforms",
)  # fmt: skip
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
    "Cut",
    "Dropout",
    "Gate",
    "GroupNorm",
    "Grow",
    "Imag",
    "InstanceNorm",
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
    "concat",
    "coords",
    "crop",
    "pad",
    "resample",
]


def __getattr__(name: str) -> object:
    # lazy: what asks for the compiled kernels only (`opdsl.nn.native`) does not wait for torch
    if name in __all__:
        for module in MODULES:
            found = import_module(f"{__name__}.{module}")
            if hasattr(found, name):
                return getattr(found, name)
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
