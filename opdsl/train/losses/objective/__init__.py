"""The interface of what a training step minimises: an objective maps a batch to a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from opdsl.train.engine.loader import Batch, FieldUnits, FieldValues
from opdsl.train.engine.rollout import Rollout
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.scaling.normalise import Normaliser

MeanOverProcesses = Callable[[Mapping[str, float]], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class LossInputs:
    """What an objective may use.

    Attributes:
        outputs: predictions by name, (batch, channels, *grid) or packed, in the units of the batch;
            with a rollout (batch, steps, channels, *grid).
        batch: inputs and truth, each divided by its unit.
        grids: the axes of each output.
        scales: the normaliser for values in the units of the batch.
        units: the powers of two by which the values were divided; physical values are the product.
        loop: the rollout, if there are steps in time.
        step: finished training steps of the run.
        epoch: finished epochs of the run, with the part of the current one.
        over_processes: maps values of this process's samples to their means over all samples of the
            batch, where several processes share it.
    """

    outputs: FieldValues
    batch: Batch
    grids: Mapping[str, GridAxes]
    scales: Normaliser
    units: FieldUnits = field(default_factory=FieldUnits)
    loop: Rollout | None = None
    step: int = 0
    epoch: float = 0.0
    over_processes: MeanOverProcesses | None = None


@dataclass(frozen=True, slots=True)
class LossValue:
    """The loss of a batch.

    Attributes:
        total: a scalar, whose gradient is taken.
        terms: scalars for the log, by the text of the term; none where there is a single term.
        counted: samples of which `total` is a mean.
    """

    total: Tensor
    terms: Mapping[str, Tensor]
    counted: int


class Objective(ABC):
    """A loss of a batch, with what it needs before the forward pass and between two steps."""

    @abstractmethod
    def __call__(self, x: LossInputs) -> LossValue:
        """Return the loss of a batch."""

    def prepare(self, batch: Batch) -> Batch:
        """Return the batch that the module is applied to; it may ask for gradients of points."""
        return batch

    @property
    def weights(self) -> Mapping[str, float]:
        """The adaptive weights of the terms in the last step; none where weights are fixed."""
        return {}

    def state_dict(self) -> dict[str, float | list[float] | Tensor]:
        """Return what a resumed run needs; nothing where the loss depends on the batch alone."""
        return {}

    def load_state_dict(  # noqa: B027  most objectives have no state
        self, state: Mapping[str, float | list[float] | Tensor]
    ) -> None:
        """Restore what `state_dict` returned."""
