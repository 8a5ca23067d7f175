"""Precision as a policy with a name: which dtype the weights, the products and the loss have.

A policy never touches the spectral part: the modules keep it in float32 or better themselves.
The loss, the metrics and the normalisation are outside autocast, in float32 or better.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from opdsl.diagnostics import fault


@dataclass(frozen=True, slots=True)
class Policy:
    """How to compute.

    Attributes:
        name: `fp32`, `bf16`, `fp16` or `fp64`.
        device: where.
        weights: dtype of the parameters and of the samples.
        products: dtype under autocast, None without.
        scaled: whether the loss is scaled up so that small gradients survive in float16.
    """

    name: str
    device: torch.device
    weights: torch.dtype = torch.float32
    products: torch.dtype | None = None
    scaled: bool = False

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the module runs."""
        if self.products is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.products)

    def scaler(self) -> torch.amp.GradScaler:
        """The scaler of the loss, which does nothing where none is needed."""
        return torch.amp.GradScaler(self.device.type, enabled=self.scaled)

    def place(self, x: Tensor) -> Tensor:
        """`x` on the device, in the dtype of the weights (integers keep theirs)."""
        dtype = self.weights if x.is_floating_point() else x.dtype
        return x.to(self.device, dtype, non_blocking=True)


def policy_of(name: str, device: torch.device) -> Policy:
    """The policy of that name; `mixed` is bf16 on a CUDA device that has it, else fp32.

    Raises:
        OpError: OP0622, the device cannot compute so.
    """
    if name == "mixed":
        name = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if reason := _refusal(name, device):
        raise fault("OP0622", reason, helps=(_cure(name, device),))
    return {
        "fp32": Policy("fp32", device),
        "bf16": Policy("bf16", device, products=torch.bfloat16),
        "fp16": Policy("fp16", device, products=torch.float16, scaled=True),
        "fp64": Policy("fp64", device, weights=torch.float64),
    }[name]


def _refusal(name: str, device: torch.device) -> str | None:
    if name == "fp16" and device.type != "cuda":
        return f"`precision = fp16` needs a CUDA device, this run is on `{device}`"
    if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return f"`{device}` has no bf16"
    if name == "fp64" and device.type == "mps":
        return "`mps` has no double precision"
    return None


def _cure(name: str, device: torch.device) -> str:
    if name == "fp64":
        return "use `device = cpu`"
    half = "`precision = fp16` or " if device.type == "cuda" else "`precision = bf16` or "
    return f"use {half}`precision = fp32`"
