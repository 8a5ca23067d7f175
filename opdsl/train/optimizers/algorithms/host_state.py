"""Let the state of an optimizer wait in the memory of the host between its updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

HOST = torch.device("cpu")


def keep_state_on_host(optimizer: Optimizer) -> None:
    """Change `step` so that it updates one weight after the other, whose state is on its device.

    Between two steps the state of all weights is in the memory of the host. Updates equal those of
    the optimizer, which must treat each weight on its own and take no closure.

    Args:
        optimizer: one, or one of several `parts`, such as `MuonWithAdamW`.
    """
    for part in getattr(optimizer, "parts", (optimizer,)):
        part.step = _step_by_weight(part, part.step)  # type: ignore[method-assign]  # of one object


def _step_by_weight(optimizer: Optimizer, update: Callable[[], Any]) -> Callable[..., None]:
    def step(closure: Callable[[], Any] | None = None) -> None:
        assert closure is None, "an optimizer that calls its loss has no state of single weights"
        groups = optimizer.param_groups
        try:
            for group in groups:
                for p in group["params"]:
                    if p.grad is not None:
                        _update_one(optimizer, group, p, update)
        finally:
            optimizer.param_groups = groups

    return step


def _update_one(
    optimizer: Optimizer, group: dict[str, Any], p: nn.Parameter, update: Callable[[], Any]
) -> None:
    optimizer.param_groups = [{**group, "params": [p]}]
    _move(optimizer, p, p.device)
    update()
    _move(optimizer, p, HOST)


def _move(optimizer: Optimizer, p: nn.Parameter, device: torch.device) -> None:
    """Move the tensors that have the shape of a weight; counters of steps stay where they are."""
    state: dict[str, Any] = optimizer.state.get(p, {})
    for key, x in state.items():
        if isinstance(x, Tensor) and x.shape == p.shape and x.device != device:
            state[key] = x.to(device)


def state_bytes(optimizer: Optimizer, weights: Sequence[nn.Parameter]) -> int:
    """Return the bytes of the state that is on the devices of the weights."""
    states = (optimizer.state.get(p, {}).values() for p in weights)
    return sum(x.nbytes for s in states for x in s if isinstance(x, Tensor) and x.numel() > 1)
