"""One step of learning, in one place: forward, loss, backward, unscale, check, clip, step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from opdsl.nn.module_tree import module_at
from opdsl.nn.points.batch import count_samples
from opdsl.parallel.agreement import copy_from_first, sums_over_data
from opdsl.parallel.gradients import sum_gradients
from opdsl.parallel.mesh import ALONE, ProcessMesh
from opdsl.train.config.schema import Band
from opdsl.train.engine.forward.training_forward import TrainingForward
from opdsl.train.engine.limits.micro_batches import micro_batches
from opdsl.train.engine.loader import Batch, FieldUnits, FieldValues
from opdsl.train.engine.precision import PrecisionPolicy
from opdsl.train.engine.rollout import Rollout
from opdsl.train.engine.weights.averages import WeightAverage
from opdsl.train.losses.objective import LossInputs, LossValue, Objective
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.scaling.normalise import Normaliser


@dataclass(frozen=True, slots=True)
class StepResult:
    """Result of a training step.

    Attributes:
        loss: of the batch, or the mean over those of the step.
        moved: whether the weights changed; if not, loss or gradient were not finite.
        counted: samples of which the loss is a mean; those whose truth is zero are left out.
        overflow: float16 could not hold the scaled gradient: the scale is halved, nothing is wrong.
        terms: of the loss, by their texts; none where there is a single one.
        norm: of the gradient, before it is clipped.
    """

    loss: float
    moved: bool
    counted: int
    overflow: bool = False
    terms: Mapping[str, float] = field(default_factory=dict)
    norm: float = 0.0


@dataclass(slots=True)
class TrainStep:
    """A training step: forward, loss, backward, clip, update.

    `opdsl.prepare_training` makes one; see there for an example.

    Attributes:
        module, normaliser, optimizer, scaler, policy: the parts of the step.
        grids: the grid of each output.
        objective: the loss of a batch.
        clip: largest norm of the gradient, or None.
        loop: the rollout, if there are steps in time.
        band: the outputs of a band, if one is learnt; validation measures it.
        frozen: paths of the parts of the module that are not trained.
        units: of the values in the batches.
        forward: noise on inputs, pushforward, and results that are computed again.
        average: the mean of the weights, if the settings ask for one; each step updates it.
        repeats: whether the optimizer evaluates the loss several times in a step.
        horizon: steps in time at most, which a curriculum raises; None: those of the truth.
        mesh: of the processes that share each batch.
        parts: micro-batches of each batch, so that a step takes less memory.
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
    forward: TrainingForward = field(default_factory=TrainingForward)
    average: WeightAverage | None = None
    repeats: bool = False
    horizon: int | None = None
    mesh: ProcessMesh = ALONE
    parts: int = 1
    _in_units: Normaliser | None = field(default=None, init=False, repr=False)

    def begin(self) -> None:
        """Put the module in training mode, but for frozen parts; read the normaliser."""
        self._in_units = None
        self.module.train()
        for path in self.frozen:
            module_at(self.module, path).eval()

    def take(self, inputs: FieldValues, truth: FieldValues, rate: float) -> StepResult:
        """Learn from functions on grids, as `learn`."""
        return self.learn(Batch(inputs, truth), rate)

    def learn(
        self,
        batch: Batch | Sequence[Batch],
        rate: float,
        step: int = 0,
        epoch: float = 0.0,
        *,
        samples: int | None = None,
    ) -> StepResult:
        """Learn from one batch, unless its loss or gradient is not finite.

        Args:
            batch: inputs and truth; of several batches the gradients are added up, each in
                proportion to its samples. Where several processes share the batches, the parts of
                this one.
            rate: the learning rate.
            step, epoch: how much of the run is done, for objectives that change with it.
            samples: in the batches of all processes; those of `batch` if not given.

        Returns:
            The result over the samples of all processes, equal in all of them.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("rate", 1.0)
        whole = [batch] if isinstance(batch, Batch) else batch
        always = self.mesh.data > 1
        batches = [y for x in whole for y in micro_batches(x, self.parts, always=always)]
        learn = self._learn_repeatedly if self.repeats else self._learn_once
        result = learn(batches, _Moment(step, epoch, samples))
        copy_from_first(self.mesh, self._running_statistics())
        if self.average and result.moved:
            self.average.after_step()
        return result

    def _running_statistics(self) -> list[Tensor]:
        """Return the statistics that norms keep for evaluation, each process of its own samples."""
        if self.mesh.world == 1:
            return []
        return [x for name, x in self.module.named_buffers() if "running_" in name]

    def _learn_once(self, batches: Sequence[Batch], moment: _Moment) -> StepResult:
        loss = self._backward(batches, moment)
        self.scaler.unscale_(self.optimizer)
        norm = self._gradient_norm()
        value, finite = float(loss.total), bool(torch.isfinite(loss.total + norm))
        if finite:
            self._clip(norm)
            self.scaler.step(self.optimizer)
        overflow = not finite and is_finite(value) and self._may_back_off()
        self.scaler.update()
        return _result(loss, norm, moved=finite, overflow=overflow)

    def _learn_repeatedly(self, batches: Sequence[Batch], moment: _Moment) -> StepResult:
        """Take a step of an optimizer that calls a closure several times.

        Layers draw equal random numbers in all calls. A step that leaves weights which are not
        finite is taken back, and the optimizer begins anew.
        """
        before = [p.detach().clone() for p in self._parameters()]
        generators = _torch_generators()
        evaluations: list[tuple[LossValue, Tensor]] = []

        def closure() -> Tensor:
            if evaluations:
                _restore_generators(generators)
            loss = self._backward(batches, moment)
            evaluations.append((loss, self._gradient_norm()))
            if len(evaluations) == 1 and not torch.isfinite(loss.total + evaluations[0][1]):
                raise _NotFiniteError
            return loss.total

        try:
            self.optimizer.step(closure)  # type: ignore[arg-type]  # torch wants a float, takes a scalar
            moved = bool(torch.isfinite(_total_norm(self._parameters())))
        except _NotFiniteError:
            moved = False
        if not moved:
            with torch.no_grad():
                for p, x in zip(self._parameters(), before, strict=True):
                    p.copy_(x)
            self.optimizer.state.clear()
        return _result(*evaluations[0], moved=moved)

    def _backward(self, batches: Sequence[Batch], moment: _Moment) -> LossValue:
        """Compute the loss and the scaled gradients of a step."""
        self.optimizer.zero_grad(set_to_none=True)
        sizes = [count_samples(x.inputs, x.places) * x.counts for x in batches]
        samples = moment.samples or sum(sizes)
        parts: list[tuple[float, LossValue]] = []
        for batch, size in zip(batches, sizes, strict=True):
            prepared, share = self.objective.prepare(batch), size / samples
            with self.policy.arithmetic():
                outputs, compared = self._outputs(prepared)
                loss = self.loss_of(outputs, compared, moment.step, moment.epoch)
                total = loss.total if share == 1 else loss.total * share
                self.scaler.scale(total).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            parts.append((share, _detached(loss)))
        if self.mesh.world == 1:
            return parts[0][1] if len(parts) == 1 else _mean(parts)
        sum_gradients(self._parameters(), self.mesh)
        return self._over_processes(parts)

    def _over_processes(self, parts: Sequence[tuple[float, LossValue]]) -> LossValue:
        """Return the loss of the batches of all processes, in float64."""
        names = list(parts[0][1].terms)
        own = [
            [share * float(x.total), x.counted * (share > 0)]
            + [share * float(x.terms[k]) for k in names]
            for share, x in parts
        ]
        total, counted, *terms = sums_over_data(self.mesh, [sum(x) for x in zip(*own, strict=True)])
        values = {k: torch.tensor(x) for k, x in zip(names, terms, strict=True)}
        return LossValue(torch.tensor(total, dtype=torch.float64), values, round(counted))

    def trial(self, batch: Batch) -> tuple[Tensor, object]:
        """Return the loss of a batch, and what stays alive behind it in a step."""
        prepared = self.objective.prepare(batch)
        with self.policy.arithmetic():
            outputs, compared = self._outputs(prepared)
            loss = self.loss_of(outputs, compared, 0, 0.0)
        return loss.total, (outputs, compared, loss)

    def record(self) -> dict[str, Any]:
        """Return the scale of the loss and the weights of its terms, where they change."""
        row: dict[str, Any] = {}
        if self.scaler.is_enabled():
            row["scale"] = self.scaler.get_scale()
        if weights := self.objective.weights:
            row["weights"] = dict(weights)
        return row

    def _outputs(self, batch: Batch) -> tuple[FieldValues, Batch]:
        """Return the outputs, and the batch with which the loss compares them."""
        return self.forward.run(
            self.module,
            self._scales,
            batch,
            self.policy,
            self.loop,
            self.horizon,
            self.mesh,
        )

    def encoded(self, inputs: FieldValues) -> FieldValues:
        """Normalise the inputs of a batch, (batch, channels, *grid) each."""
        return self._scales.encode(inputs)

    @property
    def _scales(self) -> Normaliser:
        """The normaliser for values in the units of the batches, as it was in the first step."""
        if self._in_units is None:
            self._in_units = self.normaliser.in_units(self.units)
        return self._in_units

    def loss_of(self, outputs: FieldValues, batch: Batch, step: int, epoch: float) -> LossValue:
        """Return the loss of predictions for a batch."""
        mean = partial(self._mean_over_processes, batch) if self.mesh.data > 1 else None
        inputs = LossInputs(
            outputs, batch, self.grids, self._scales, self.units, self.loop, step, epoch, mean
        )
        return self.objective(inputs)

    def _mean_over_processes(self, batch: Batch, values: Mapping[str, float]) -> dict[str, float]:
        """Return means over all samples of a batch, of which `batch` is the part of this process.

        Args:
            batch: whose samples the values are means of.
            values: by name, the names being equal in all processes.
        """
        size = count_samples(batch.inputs, batch.places) * batch.counts
        *sums, samples = sums_over_data(self.mesh, [*(size * x for x in values.values()), size])
        return {k: x / samples for k, x in zip(values, sums, strict=True)}

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self._parameters() if p.grad is not None]

    def _parameters(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _gradient_norm(self) -> Tensor:
        return _total_norm(self._gradients())

    def _clip(self, norm: Tensor) -> None:
        if self.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self._parameters(), self.clip, norm)

    def _may_back_off(self) -> bool:
        return self.scaler.is_enabled() and self.scaler.get_scale() > 1


@dataclass(frozen=True, slots=True)
class _Moment:
    """How much of the run is done before a step, and the samples of the step in all processes."""

    step: int
    epoch: float
    samples: int | None


def is_finite(value: float) -> bool:
    """Return whether the loss itself is finite."""
    return abs(value) < float("inf")


class _NotFiniteError(Exception):
    """The first loss or gradient of a step is not finite."""


def _total_norm(tensors: Iterable[Tensor]) -> Tensor:
    return torch.nn.utils.get_total_norm(tensors)


def _detached(loss: LossValue) -> LossValue:
    terms = {k: x.detach() for k, x in loss.terms.items()}
    return LossValue(loss.total.detach(), terms, loss.counted)


def _mean(parts: Sequence[tuple[float, LossValue]]) -> LossValue:
    """Return the mean of the losses of batches, with their shares as weights."""
    total = torch.stack([share * loss.total for share, loss in parts]).sum()
    names = parts[0][1].terms
    terms = {k: torch.stack([share * x.terms[k] for share, x in parts]).sum() for k in names}
    return LossValue(total, terms, sum(loss.counted for _, loss in parts))


def _result(loss: LossValue, norm: Tensor, *, moved: bool, overflow: bool = False) -> StepResult:
    terms = {k: float(x) for k, x in loss.terms.items()}
    return StepResult(float(loss.total), moved, loss.counted, overflow, terms, float(norm))


def _torch_generators() -> list[Tensor]:
    """Return the states of torch's random generators, the CPU's first."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return [torch.get_rng_state(), *cuda]


def _restore_generators(states: Sequence[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state_all(list(states[1:]))
