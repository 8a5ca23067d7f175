"""Relative errors of each precision against float64, with equal weights and inputs."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from opdsl.nn.capabilities import NarrowsSpectrum
from opdsl.nn.points.batch import all_values
from opdsl.train.engine.precision import PrecisionPolicy, policies


@dataclass(frozen=True, slots=True)
class PrecisionError:
    """Errors of one precision.

    Attributes:
        name: as in the settings.
        result: relative L2 error of the outputs, None: see `why`.
        gradient: relative L2 error of the gradient of all weights.
        why: the reason where there is no result, or where the precision has no effect here.
    """

    name: str
    result: float | None = None
    gradient: float | None = None
    why: str = ""


def precision_errors(
    module: nn.Module, inputs: Sequence[Tensor], device: torch.device
) -> list[PrecisionError]:
    """Measure the errors of all precisions but float64, in the order of `policies`.

    Args:
        module: not changed.
        inputs: of the module, in order.
    """
    available = policies(device)
    truth = _computed(module, inputs, available.pop("fp64"))
    return [_compared(module, inputs, policy, truth) for policy in available.values()]


def _compared(
    module: nn.Module,
    inputs: Sequence[Tensor],
    policy: PrecisionPolicy,
    truth: tuple[Tensor, Tensor],
) -> PrecisionError:
    if policy.tf32 and policy.device.type != "cuda":
        return PrecisionError(policy.name, why="needs a CUDA device")
    try:
        values = _computed(module, inputs, policy)
    except (RuntimeError, NotImplementedError) as error:  # torch has no kernel for this dtype here
        return PrecisionError(policy.name, why=str(error).splitlines()[0])
    result, gradient = (relative_distance(a, b) for a, b in zip(values, truth, strict=True))
    fourier = any(isinstance(x, NarrowsSpectrum) for x in module.modules())
    reason = "no Fourier layer that it makes narrow" if policy.spectral and not fourier else ""
    return PrecisionError(policy.name, result, gradient, reason)


def _computed(
    module: nn.Module, inputs: Sequence[Tensor], policy: PrecisionPolicy
) -> tuple[Tensor, Tensor]:
    """Return all outputs, and the gradient of their product with fixed numbers by all weights."""
    clone = deepcopy(module)
    policy.prepare_module(clone)
    with policy.arithmetic():
        with policy.autocast():
            result = clone(*(policy.place(x) for x in inputs))
        y = computed_numbers(result)
        mix = torch.randn(len(y), generator=torch.Generator().manual_seed(1)).to(y)
        weights = [x for x in clone.parameters() if x.requires_grad]
        gradients = torch.autograd.grad(y, weights, mix, allow_unused=True, materialize_grads=True)
    return y.detach(), torch.cat([_numbers(x) for x in gradients])


def computed_numbers(result: Any) -> Tensor:
    """Return all numbers of the outputs of a module in one float64 vector."""
    outputs = list(result.values()) if isinstance(result, dict) else [result]
    return torch.cat([_numbers(all_values(x)) for x in outputs])


def _numbers(x: Tensor) -> Tensor:
    real = torch.view_as_real(x) if x.is_complex() else x
    return real.to(torch.float64).flatten()


def relative_distance(found: Tensor, truth: Tensor) -> float:
    """Return ||found - truth|| / ||truth||."""
    return float((found - truth).norm() / truth.norm())
