"""Two optimizers of torch as one: Muon for weights with two axes, AdamW for the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import nn
from torch.optim import AdamW, Muon, Optimizer


class MuonWithAdamW(Optimizer):
    """Muon for matrices and AdamW for all other weights, with one learning rate.

    The groups of both are groups of this optimizer, so that whoever sets a rate or a decay reaches
    them.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        *,
        lr: float,
        weight_decay: float,
        momentum: float,
        betas: tuple[float, float],
        adjust: str,
    ) -> None:
        """Make both optimizers.

        Args:
            parameters: weights, or groups of weights with a `weight_decay` of their own.
            lr: the learning rate.
            weight_decay: of weights in no group with another.
            momentum: of Muon.
            betas: of AdamW.
            adjust: `adjust_lr_fn` of Muon.
        """
        groups = [x if isinstance(x, dict) else {"params": [x]} for x in parameters]
        if all(x.keys() == {"params"} for x in groups):
            groups = [{"params": [p for x in groups for p in x["params"]]}]
        matrices, others = list(_split(groups, matrices=True)), list(_split(groups, matrices=False))
        self.parts: list[Optimizer] = []
        if matrices:
            self.parts.append(
                Muon(
                    matrices,
                    lr=lr,
                    weight_decay=weight_decay,
                    momentum=momentum,
                    adjust_lr_fn=adjust,
                )
            )
        if others:
            self.parts.append(AdamW(others, lr=lr, weight_decay=weight_decay, betas=betas))
        super().__init__([*matrices, *others], {"lr": lr, "weight_decay": weight_decay})
        self._share_groups()

    def _share_groups(self) -> None:
        """Show the groups of both parts as those of this optimizer."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]  # nobody needs its loss
        """Take a step of both parts."""
        assert closure is None, "Muon and AdamW take no closure"
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all weights."""
        for part in self.parts:
            part.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of both parts, in their order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` has returned.

        Raises:
            ValueError: it is the state of other weights.
        """
        if len(state_dict["parts"]) != len(self.parts):
            raise ValueError("the optimizer has other parts")
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()


def _split(groups: Iterable[dict[str, Any]], *, matrices: bool) -> Iterator[dict[str, Any]]:
    """Yield the part of each group with, or without, two axes; empty ones are left out."""
    for group in groups:
        some = [p for p in group["params"] if (p.dim() == 2 and not p.is_complex()) == matrices]
        if some:
            yield {**group, "params": some}
