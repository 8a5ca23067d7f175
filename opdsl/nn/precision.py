"""Where autocast must not act: Fourier transforms and statistics run in float32 or float64.

CUDA's autocast does not know the FFTs at all, bfloat16 has none, and half precision has them for
powers of two only; CPU's autocast hides this. So the sections that need it say so themselves.
"""

import torch
from torch import Tensor


def wide(x: Tensor) -> torch.dtype:
    """The dtype to compute in: float64 for float64, float32 for everything narrower."""
    return torch.promote_types(x.dtype, torch.float32)


def no_autocast(x: Tensor) -> torch.autocast:
    """A context in which autocast is off on the device of `x`."""
    return torch.autocast(device_type=x.device.type, enabled=False)
