"""The models of one case, all with equal weights, and their inputs.

`Competitor`s by name: `reference`, `ours`, for an FNO also `plain`, and `compiled` if asked for.
`neuralop` must be importable.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from against.cases import Case
from opdsl.migrate.neuralop.importing import from_neuralop

SEED = 0


class NotThere(Exception):  # noqa: N818  it is told in the table
    """A case that cannot be built here, and why."""


@dataclass(frozen=True)
class Competitor:
    """A module, its input, and the target of its loss."""

    module: nn.Module
    x: Tensor
    target: Tensor

    def forward(self) -> Tensor:
        """The result, nothing is kept for a backward pass."""
        with torch.no_grad():
            return self.module(self.x)

    def trainer(self) -> Callable[[], None]:
        """A step: forward, loss, backward, AdamW; the same optimizer for all."""
        optimizer = torch.optim.AdamW(self.module.parameters(), lr=1e-4)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            y = self.module(self.x)
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
    modules = pair(case)
    x = torch.randn(case.batch, case.named["in_channels"], *case.grid)
    with torch.no_grad():
        target = torch.randn_like(modules["reference"](x))
    if case.kind == "FNO":
        from against.plain import PlainFNO

        modules["plain"] = PlainFNO(modules["reference"])
    if compiled:
        modules["compiled"] = torch.compile(modules["reference"])
    return {k: Competitor(m.train(), x, target) for k, m in modules.items()}


def pair(case: Case) -> dict[str, nn.Module]:
    """Theirs and ours with its weights."""
    if not importable():
        raise NotThere("neuraloperator is not importable")
    if case.scattered:
        from against import points

        return points.pair(case)
    theirs = reference(case)
    _, ours = from_neuralop(theirs)
    return {"reference": theirs, "ours": ours}


def importable() -> bool:
    """Whether there is a neuraloperator."""
    from importlib.util import find_spec

    return find_spec("neuralop") is not None


def reference(case: Case) -> nn.Module:
    """The model of neuraloperator."""
    from neuralop import models

    if not hasattr(models, case.kind):
        raise NotThere(f"neuraloperator has no {case.kind} here")
    made = getattr(models, case.kind)(**case.named)
    for key, x in made.named_parameters():
        if "skip" in key:  # gates that are all one would hide a mistake
            x.data.add_(0.3 * torch.randn_like(x))
    return made
