"""One step of learning, in one place: forward, loss, backward, unscale, check, clip, step."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from opdsl.nn.module_tree import module_at
from opdsl.nn.points.batch import Values, all_values, match_packing
from opdsl.train.config.schema import Band
from opdsl.train.engine.loader import Batch, FieldUnits, FieldValues
from opdsl.train.engine.precision import PrecisionPolicy
from opdsl.train.engine.rollout import Rollout
from opdsl.train.losses import Loss
from opdsl.train.metrics.evaluate import apply, band_loss, steps_of
from opdsl.train.metrics.norms import (
    GridAxes,
    mean_where,
    measured_samples,
    nonzero_samples,
    step_weights,
)
from opdsl.train.scaling.normalise import Normaliser


@dataclass(frozen=True, slots=True)
class StepResult:
    """Result of a training step.

    Attributes:
        loss: of the batch.
        moved: whether the weights changed; if not, loss or gradient were not finite.
        counted: samples of which the loss is a mean; those whose truth is zero are left out.
        overflow: float16 could not hold the scaled gradient: the scale is halved, nothing is wrong.
    """

    loss: float
    moved: bool
    counted: int
    overflow: bool = False


@dataclass(slots=True)
class TrainStep:
    """A training step: forward, loss, backward, clip, update.

    Attributes:
        module, normaliser, optimizer, scaler, policy: the parts of the step.
        grids: the grid of each output.
        loss: of each function.
        clip: largest norm of the gradient, or None.
        loop: the rollout, if there are steps in time.
        band: the outputs of a band, if one is learnt.
        frozen: paths of the parts of the module that are not trained.
        units: of the values in the batches.
    """

    module: nn.Module
    normaliser: Normaliser
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    policy: PrecisionPolicy
    grids: Mapping[str, GridAxes]
    loss: Loss
    clip: float | None
    loop: Rollout | None = None
    band: Band | None = None
    frozen: tuple[str, ...] = ()
    units: FieldUnits = field(default_factory=FieldUnits)

    def begin(self) -> None:
        """Put the module in training mode, but for frozen parts."""
        self.module.train()
        for path in self.frozen:
            module_at(self.module, path).eval()

    def take(self, inputs: FieldValues, truth: FieldValues, rate: float) -> StepResult:
        """Learn from functions on grids, as `learn`."""
        return self.learn(Batch(inputs, truth), rate)

    def learn(self, batch: Batch, rate: float) -> StepResult:
        """Learn from one batch, unless its loss or gradient is not finite."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        with self.policy.arithmetic():
            loss = self.loss_of(self._outputs(batch), batch)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.scaler.unscale_(self.optimizer)
        norm = self._gradient_norm()
        value, finite = float(loss.detach()), bool(torch.isfinite(loss.detach() + norm))
        if finite:
            self._clip(norm)
            self.scaler.step(self.optimizer)
        overflow = not finite and is_finite(value) and self._may_back_off()
        self.scaler.update()
        return StepResult(value, finite, self._counted(batch), overflow)

    def _outputs(self, batch: Batch) -> FieldValues:
        steps = steps_of(batch.truth, self.loop)
        module, scales, inputs = self.module, self._scales, batch.inputs
        return apply(module, scales, inputs, self.policy, self.loop, steps, batch.places)

    def encoded(self, inputs: FieldValues) -> FieldValues:
        """Normalise the inputs of a batch, (batch, channels, *grid) each."""
        return self._scales.encode(inputs)

    @property
    def _scales(self) -> Normaliser:
        """The normaliser for values in the units of the batches."""
        return self.normaliser.in_units(self.units)

    def loss_of(self, outputs: FieldValues, batch: Batch) -> Tensor:
        """Return the mean relative error over the batch, the steps in time and the outputs.

        Functions whose truth is zero everywhere have none and are left out.
        """
        truth, weights = batch.truth, batch.weights
        if self.band:
            loss = band_loss(outputs, truth, self.band, self._scales, weights)
            counted = measured_samples(weights.get(self.band.of or ""), len(loss))
            return mean_where(loss, counted.to(loss.device))
        errors = [
            self._error(outputs[k], truth[k], weights.get(k), grid)
            for k, grid in self.grids.items()
        ]
        return torch.stack(errors).mean()

    def _error(self, pred: Values, true: Values, weights: Values | None, grid: GridAxes) -> Tensor:
        pred, counted = match_packing(pred, true), self._nonzero(true, weights).flatten()
        if self.loop:
            weights = step_weights(weights, true)
            pred, true = all_values(pred).flatten(0, 1), all_values(true).flatten(0, 1)
        return mean_where(self.loss.error(pred, true, weights, grid), counted)

    def _counted(self, batch: Batch) -> int:
        truths = {k: batch.truth[k] for k in self.grids}
        if self.band:
            return len(next(iter(truths.values())))
        some = [self._nonzero(x, batch.weights.get(k)).any(1) for k, x in truths.items()]
        return int(torch.stack(some).any(0).sum())

    def _nonzero(self, true: Values, weights: Values | None) -> Tensor:
        """Return which functions count, (batch, steps): a relative error needs a nonzero truth."""
        samples = all_values(true).flatten(0, 1) if self.loop else true
        weights = step_weights(weights, true) if self.loop else weights
        if not self.loss.relative:
            counted = measured_samples(weights, len(samples)).reshape(len(true), -1)
            return counted.to(all_values(true).device)
        return nonzero_samples(samples, weights).reshape(len(true), -1)

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self._parameters() if p.grad is not None]

    def _parameters(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _gradient_norm(self) -> Tensor:
        return torch.nn.utils.get_total_norm(self._gradients())

    def _clip(self, norm: Tensor) -> None:
        if self.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self._parameters(), self.clip, norm)

    def _may_back_off(self) -> bool:
        return self.scaler.is_enabled() and self.scaler.get_scale() > 1


def is_finite(value: float) -> bool:
    """Return whether the loss itself is finite."""
    return abs(value) < float("inf")
