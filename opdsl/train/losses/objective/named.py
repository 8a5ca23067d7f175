"""The objective of `loss = NAME`: the error of each output by a registered loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from opdsl.nn.points.batch import Values, all_values, match_packing
from opdsl.train.losses import Loss
from opdsl.train.losses.objective import LossInputs, LossValue, Objective
from opdsl.train.metrics.norms import (
    GridAxes,
    mean_where,
    measured_samples,
    nonzero_samples,
    step_weights,
)


@dataclass(frozen=True, slots=True)
class NamedObjective(Objective):
    """The mean error over the batch, the steps in time and the outputs.

    Functions whose truth is zero everywhere have no relative error and are left out.
    """

    loss: Loss

    def __call__(self, x: LossInputs) -> LossValue:
        """Return the mean error of a batch; samples count that have a nonzero output."""
        nonzero = {name: self._nonzero(name, x) for name in x.grids}
        errors = [
            self._error(name, grid, x, nonzero[name].flatten()) for name, grid in x.grids.items()
        ]
        counted = int(torch.cat(list(nonzero.values()), 1).any(1).sum())
        total = errors[0] if len(errors) == 1 else torch.stack(errors).mean()
        return LossValue(total, {}, counted)

    def _error(self, name: str, grid: GridAxes, x: LossInputs, counted: Tensor) -> Tensor:
        true, weights = x.batch.truth[name], x.batch.weights.get(name)
        pred = match_packing(x.outputs[name], true)
        if x.loop:
            weights = step_weights(weights, true)
            pred, true = all_values(pred).flatten(0, 1), all_values(true).flatten(0, 1)
        return mean_where(self.loss.error(pred, true, weights, grid), counted)

    def _nonzero(self, name: str, x: LossInputs) -> Tensor:
        """Return which functions count, (batch, steps): a relative error needs a nonzero truth."""
        true: Values = x.batch.truth[name]
        weights = x.batch.weights.get(name)
        samples = all_values(true).flatten(0, 1) if x.loop else true
        weights = step_weights(weights, true) if x.loop else weights
        if not self.loss.relative:
            counted = measured_samples(weights, len(samples)).reshape(len(true), -1)
            return counted.to(all_values(true).device)
        return nonzero_samples(samples, weights).reshape(len(true), -1)
