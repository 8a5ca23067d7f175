"""torch's LBFGS with weight decay, which it lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import LBFGS


class DecayedLBFGS(LBFGS):
    """L-BFGS on the loss plus weight_decay / 2 |w|^2; equal to torch's without decay."""

    def __init__(self, parameters: Any, *, weight_decay: float = 0.0, **settings: Any) -> None:
        super().__init__(parameters, **settings)
        for group in self.param_groups:
            group["weight_decay"] = weight_decay

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]  # torch types it as Tensor or float by version
        """Take a step; `closure` computes the loss and the gradients.

        Returns:
            The loss before the step, with the decay.
        """
        (group,) = self.param_groups
        decay = group["weight_decay"]
        if not decay:
            return super().step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped

        def decayed() -> Tensor:
            loss: Tensor = closure()
            with torch.no_grad():
                for p in group["params"]:
                    if p.grad is not None:
                        p.grad.add_(p, alpha=decay)
                        loss = loss + decay / 2 * p.square().sum()
            return loss

        return super().step(decayed)  # type: ignore[no-untyped-call]  # as above
