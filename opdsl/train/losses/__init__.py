"""The losses that `loss = NAME` chooses from: one module for each, which defines `LOSS`.

Other packages add losses through the entry-point group `opdsl.losses`, name to `Loss`. This module
imports no torch, so that a program can be checked without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import cleandoc
from typing import TYPE_CHECKING

from opdsl.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from opdsl.nn.points.batch import Values
    from opdsl.train.metrics.norms import GridAxes


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss between predicted and true functions.

    Attributes:
        description: for the reference: the formula, and when to choose it.
        error: (pred, true, weights, axes) to the error of each sample, (batch,). `pred` and `true`
            are (batch, channels, *grid), or packed, divided by a power of two near the deviation of
            the field; `weights` are quadrature weights of the points, or None where they count
            alike; `axes` are those of the grid, none on points.
        relative: whether samples whose truth is zero have no error and are left out of the mean.
        needs_grid: whether it takes derivatives, which points and spheres have not.
    """

    description: str
    error: Callable[[Values, Values, Values | None, GridAxes], Tensor]
    relative: bool = True
    needs_grid: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "description", cleandoc(self.description))


LOSSES: Registry[Loss] = Registry(__name__, "LOSS", "opdsl.losses")
