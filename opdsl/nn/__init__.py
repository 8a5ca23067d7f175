"""The numerics as plain torch modules, usable without the language.

What comes in and goes out: channels-last tensors, (batch, *grid, channels), with one axis or more.
What never enters: anything of the language. A pointwise layer is then one matrix product on the
last axis, which is worth more than any trick in the Fourier transform.
"""

from opdsl.nn.arithmetic import Add, Mul, Scale, Sub
from opdsl.nn.fourier import KERNELS, Resample, SpectralConv, SpectralLinear, resample
from opdsl.nn.grid import Concat, Coords, Crop, Pad, concat, coords, crop, pad
from opdsl.nn.norm import NORMS, BatchNorm, GroupNorm, InstanceNorm, LayerNorm, Norm
from opdsl.nn.pointwise import ACTIVATIONS, Activation, Dropout, Linear
from opdsl.nn.skip import SKIPS, Gate, Skip

__all__ = [
    "ACTIVATIONS",
    "KERNELS",
    "NORMS",
    "SKIPS",
    "Activation",
    "Add",
    "BatchNorm",
    "Concat",
    "Coords",
    "Crop",
    "Dropout",
    "Gate",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "Linear",
    "Mul",
    "Norm",
    "Pad",
    "Resample",
    "Scale",
    "Skip",
    "SpectralConv",
    "Sub",
    "concat",
    "coords",
    "crop",
    "pad",
    "resample",
]
