"""Sections in which autocast must not act: Fourier transforms and statistics need float32 or more.

CUDA's autocast does not know the FFTs at all, bfloat16 has none, and half precision has them for
powers of two only; CPU's autocast hides this. So the sections that need it say so themselves.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def wide(x: Tensor) -> torch.dtype:
    """Return the dtype to compute in: float64 for float64, float32 for everything narrower."""
    return torch.promote_types(x.dtype, torch.float32)


def no_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Return a context in which autocast is off on the device of `x`."""
    if torch.compiler.is_exporting():
        return nullcontext()  # a traced context would be a nested graph, which a file cannot hold
    return torch.autocast(device_type=x.device.type, enabled=False)
