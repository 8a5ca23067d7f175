"""Precision as a policy with a name: which dtype the weights, the products and the loss have.

The spectral part stays in float32 or better, unless the name says `spectral`: then Fourier layers
transform and mix in the narrow format too. The loss, the metrics and the normalisation are outside
autocast, in float32 or better.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from opdsl.diagnostics import fault
from opdsl.nn.capabilities import MixesPrecision, NarrowsSpectrum
from opdsl.precisions import PRECISIONS
from opdsl.train.config.node_precision import NodePrecision


@dataclass(frozen=True, slots=True)
class PrecisionPolicy:
    """Dtypes and switches of a precision on a device.

    Attributes:
        name: as in the settings, but never `mixed`.
        device: where.
        weights: dtype of the parameters and of the samples.
        products: dtype under autocast, None without.
        scaled: whether the loss is scaled up so that small gradients survive in float16.
        spectral: whether Fourier layers are in the format of the products as well.
        tf32: whether matrix products of float32 round their factors to ten bits behind the first.
    """

    name: str
    device: torch.device
    weights: torch.dtype = torch.float32
    products: torch.dtype | None = None
    scaled: bool = False
    spectral: bool = False
    tf32: bool = False

    def prepare_module(self, module: nn.Module) -> None:
        """Move a module to the device, in the dtype of the weights; set that of Fourier layers."""
        module.to(self.device, self.weights)
        for x in module.modules():
            if isinstance(x, NarrowsSpectrum):
                x.low_precision = self.spectral
        if isinstance(module, MixesPrecision):
            module.mix_precision(self.products)

    @contextmanager
    def arithmetic(self) -> Iterator[None]:
        """Return the context of a step, which sets how CUDA devices multiply float32 matrices."""
        if self.device.type != "cuda":
            yield
            return
        # torch replaces the module by a class, which mypy does not see
        switches = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
        before = [x.fp32_precision for x in switches]
        for x in switches:
            x.fp32_precision = "tf32" if self.tf32 else "ieee"
        try:
            yield
        finally:
            for x, was in zip(switches, before, strict=True):
                x.fp32_precision = was

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the module runs: autocast to the dtype of the products."""
        if self.products is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.products)

    def scaler(self) -> torch.amp.GradScaler:
        """Return the scaler of the loss, which does nothing if the precision needs none."""
        return torch.amp.GradScaler(self.device.type, enabled=self.scaled)

    def place(self, x: Tensor) -> Tensor:
        """Move `x` to the device, in the dtype of the weights (integers keep theirs)."""
        dtype = self.weights if x.is_floating_point() else x.dtype
        return x.to(self.device, dtype, non_blocking=True)


def policy_of(name: str, device: torch.device) -> PrecisionPolicy:
    """Return the policy of a name; `mixed` is bf16 on a CUDA device that has it, else fp32.

    Raises:
        OpError: OP0622, the device cannot compute so.
    """
    if name == "mixed":
        name = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if reason := _refusal(name, device):
        raise fault("OP0622", reason, helps=(_cure(name, device),))
    return _policy(name, device)


def policy_with_nodes(name: str, nodes: NodePrecision, device: torch.device) -> PrecisionPolicy:
    """Return the policy of a name for a model some of whose nodes have precisions of their own.

    The loss is scaled if one of them is in float16.

    Raises:
        OpError: OP0622, the device cannot compute so.
    """
    policy = policy_of(name, device)
    own = [policy_of(x, device) for x, _ in nodes.used()]
    return replace(policy, scaled=policy.scaled or any(x.scaled for x in own))


def policies(device: torch.device) -> dict[str, PrecisionPolicy]:
    """Return all policies by name, also those that the device does not support."""
    return {name: _policy(name, device) for name in PRECISIONS}


def _policy(name: str, device: torch.device) -> PrecisionPolicy:
    precision = PRECISIONS[name]
    return PrecisionPolicy(
        name,
        device,
        weights=getattr(torch, precision.weights),
        products=getattr(torch, precision.products) if precision.products else None,
        scaled=precision.scaled,
        spectral=precision.spectral,
        tf32=precision.tf32,
    )


def _refusal(name: str, device: torch.device) -> str | None:
    if name in ("fp16", "fp16_spectral", "tf32") and device.type != "cuda":
        return f"`precision = {name}` needs a CUDA device, this run is on `{device}`"
    if name.startswith("bf16") and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return f"`{device}` has no bf16"
    if name == "fp64" and device.type == "mps":
        return "`mps` has no double precision"
    return None


def _cure(name: str, device: torch.device) -> str:
    if name == "fp64":
        return "use `device = cpu`"
    half = "`precision = fp16` or " if device.type == "cuda" else "`precision = bf16` or "
    return f"use {half}`precision = fp32`"
