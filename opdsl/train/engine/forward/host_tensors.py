"""Tensors that are saved for the gradient wait in the memory of the host.

Source: torch.autograd.graph.save_on_cpu, which moves weights and small tensors as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

LEAST = 1 << 20  # bytes below which moving a tensor is not worth it


@dataclass(frozen=True, slots=True)
class _OnHost:
    """A tensor in the memory of the host, and the device to which it returns."""

    values: Tensor
    device: torch.device


def host_saved_tensors(least: int = LEAST) -> saved_tensors_hooks:
    """Return the context of a forward pass whose large saved tensors leave the device.

    Weights, and tensors on the CPU, stay where they are.

    Args:
        least: bytes from which a tensor is moved.
    """

    def pack(x: Tensor) -> Tensor | _OnHost:
        if not leaves_device(x) or x.nbytes < least or _is_weight(x):
            return x
        values = torch.empty_strided(
            x.size(), x.stride(), dtype=x.dtype, pin_memory=x.device.type == "cuda"
        )
        return _OnHost(values.copy_(x), x.device)

    def unpack(x: Tensor | _OnHost) -> Tensor:
        return x if isinstance(x, Tensor) else x.values.to(x.device, non_blocking=True)

    return saved_tensors_hooks(pack, unpack)


def leaves_device(x: Tensor) -> bool:
    """Return whether a tensor is on a device with a memory of its own."""
    return x.device.type == "cuda"


def _is_weight(x: Tensor) -> bool:
    """Return whether a tensor is a weight or a view of one."""
    base = x if x._base is None else x._base  # noqa: SLF001  no public name
    return base.is_leaf and base.requires_grad
