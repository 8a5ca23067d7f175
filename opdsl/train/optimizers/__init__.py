"""The optimizers that `optimizer NAME { ... }` chooses from: one module each, with `OPTIMIZER`.

Other packages add optimizers through the entry-point group `opdsl.optimizers`, name to
`OptimizerEntry`. Neither this module nor ours below import torch before an optimizer is built, so
that a program can be checked without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import cleandoc
from typing import TYPE_CHECKING, Any

from opdsl.registry import Registry

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


@dataclass(frozen=True, slots=True)
class OptimizerEntry:
    """An optimizer and the settings that it uses.

    Attributes:
        description: for the reference: the update, and when to choose it.
        build: (parameters, settings of the section `optimizer`) to the optimizer. With the setting
            `groups` the parameters are groups as torch's optimizers take them, with a weight decay
            of their own. The learning rate is set before each step.
        moments: numbers in its state for each weight, which the memory check counts, or a function
            from the settings of the section to it.
        uses: settings of the section besides `lr` and `weight_decay`; the others are refused.
        repeats: whether its step takes a closure and calls it several times, as torch's LBFGS.
    """

    description: str
    build: Callable[[Iterable[nn.Parameter] | Iterable[dict[str, Any]], Any], Optimizer]
    uses: tuple[str, ...] = ()
    moments: int | Callable[[Any], int] = 0
    repeats: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "description", cleandoc(self.description))

    def numbers(self, settings: Any) -> int:
        """Return the numbers in its state for each weight, for settings of the section."""
        return self.moments(settings) if callable(self.moments) else self.moments


OPTIMIZERS: Registry[OptimizerEntry] = Registry(__name__, "OPTIMIZER", "opdsl.optimizers")
