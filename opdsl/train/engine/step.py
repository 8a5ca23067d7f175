"""One step of learning, in one place: forward, loss, backward, unscale, check, clip, step."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from opdsl.nn.module_tree import module_at
from opdsl.train.config.schema import Band
from opdsl.train.engine.loader import Batch, FieldUnits, FieldValues
from opdsl.train.engine.precision import PrecisionPolicy
from opdsl.train.engine.rollout import Rollout
from opdsl.train.losses.objective import LossInputs, LossValue, Objective
from opdsl.train.metrics.evaluate import apply, steps_of
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.scaling.normalise import Normaliser


@dataclass(frozen=True, slots=True)
class StepResult:
    """Result of a training step.

    Attributes:
        loss: of the batch.
        moved: whether the weights changed; if not, loss or gradient were not finite.
        counted: samples of which the loss is a mean; those whose truth is zero are left out.
        overflow: float16 could not hold the scaled gradient: the scale is halved, nothing is wrong.
        terms: of the loss, by their texts; none where there is a single one.
    """

    loss: float
    moved: bool
    counted: int
    overflow: bool = False
    terms: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class TrainStep:
    """A training step: forward, loss, backward, clip, update.

    Attributes:
        module, normaliser, optimizer, scaler, policy: the parts of the step.
        grids: the grid of each output.
        objective: the loss of a batch.
        clip: largest norm of the gradient, or None.
        loop: the rollout, if there are steps in time.
        band: the outputs of a band, if one is learnt; validation measures it.
        frozen: paths of the parts of the module that are not trained.
        units: of the values in the batches.
    """

    module: nn.Module
    normaliser: Normaliser
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    policy: PrecisionPolicy
    grids: Mapping[str, GridAxes]
    objective: Objective
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

    def learn(self, batch: Batch, rate: float, step: int = 0, epoch: float = 0.0) -> StepResult:
        """Learn from one batch, unless its loss or gradient is not finite.

        Args:
            batch: inputs and truth.
            rate: the learning rate.
            step, epoch: how much of the run is done, for objectives that change with it.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        batch = self.objective.prepare(batch)
        with self.policy.arithmetic():
            loss = self.loss_of(self._outputs(batch), batch, step, epoch)
            self.scaler.scale(loss.total).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.scaler.unscale_(self.optimizer)
        norm, total = self._gradient_norm(), loss.total.detach()
        value, finite = float(total), bool(torch.isfinite(total + norm))
        if finite:
            self._clip(norm)
            self.scaler.step(self.optimizer)
        overflow = not finite and is_finite(value) and self._may_back_off()
        self.scaler.update()
        terms = {k: float(x.detach()) for k, x in loss.terms.items()}
        return StepResult(value, finite, loss.counted, overflow, terms)

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

    def loss_of(self, outputs: FieldValues, batch: Batch, step: int, epoch: float) -> LossValue:
        """Return the loss of predictions for a batch."""
        inputs = LossInputs(
            outputs, batch, self.grids, self._scales, self.units, self.loop, step, epoch
        )
        return self.objective(inputs)

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
