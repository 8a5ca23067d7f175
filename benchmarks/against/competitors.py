"""The models of one case, all with the same weights, and what they are called with.

What comes in: a case, and neuraloperator importable as `neuralop`. What goes out: `Competitor`s by
name: `reference`, `ours`, for an FNO also `plain`, and `compiled` if asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from against.cases import Case
from opdsl import from_neuralop

SEED = 0


class NotThere(Exception):  # noqa: N818  it is told in the table
    """A case that cannot be built here, and why."""


@dataclass(frozen=True)
class Competitor:
    """A module and its inputs.

    Attributes:
        target: of the loss.
        named: what is given beside the inputs.
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    target: Tensor
    named: dict[str, Any]

    def forward(self) -> Tensor:
        """The result, nothing is kept for a backward pass."""
        with torch.no_grad():
            return self.module(*self.inputs, **self.named)

    def trainer(self) -> Callable[[], None]:
        """A step: forward, loss, backward, AdamW; the same optimizer for all."""
        optimizer = torch.optim.AdamW(self.module.parameters(), lr=1e-4)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            y = self.module(*self.inputs, **self.named)
            nn.functional.mse_loss(y, self.target).backward()
            optimizer.step()

        return step


def competitors(case: Case, *, compiled: bool = False) -> dict[str, Competitor]:
    """All of a case, the reference first.

    Raises:
        NotThere: something that the case needs is not importable, or not importable by us.
    """
    warnings.simplefilter("ignore")  # what neuraloperator warns of is not ours
    torch.manual_seed(SEED)
    theirs = reference(case).train()
    _, ours = from_neuralop(theirs)
    x = torch.randn(case.batch, case.named["in_channels"], *case.grid)
    with torch.no_grad():
        target = torch.randn_like(theirs(x))
    modules: dict[str, nn.Module] = {"reference": theirs, "ours": ours.train()}
    if case.kind == "FNO":
        from against.plain import PlainFNO

        modules["plain"] = PlainFNO(theirs)
    if compiled:
        modules["compiled"] = torch.compile(theirs)
    return {k: Competitor(m, (x,), target, {}) for k, m in modules.items()}


def reference(case: Case) -> nn.Module:
    """The model of neuraloperator."""
    try:
        from neuralop import models
    except ImportError as error:
        raise NotThere(f"neuraloperator is not importable: {error}") from error
    if not hasattr(models, case.kind):
        raise NotThere(f"neuraloperator has no {case.kind} here")
    made = getattr(models, case.kind)(**case.named)
    for key, x in made.named_parameters():
        if "skip" in key:  # gates that are all one would hide a mistake
            x.data.add_(0.3 * torch.randn_like(x))
    return made
