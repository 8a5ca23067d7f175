"""The setting `memory`: a training step is planned once, before the first epoch, and then runs so.

How much a module needs is for the caller to say, who knows it; here is what a step needs besides,
and how measures are applied.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from opdsl.diagnostics import fault
from opdsl.nn.points.batch import Values, all_values, count_samples
from opdsl.nn.points.packed import Packed
from opdsl.parallel.agreement import all_do, largest
from opdsl.train.config.schema import Settings
from opdsl.train.engine.forward.recompute import RecomputesResults
from opdsl.train.engine.loader import (
    AnySampleSet,
    Batch,
    DeviceLoader,
    StreamedSet,
    own_weights,
)
from opdsl.train.engine.prefetch import LoadedBatch, Prefetch
from opdsl.train.engine.step import TrainStep
from opdsl.train.metrics.quadrature import Samplings
from opdsl.train.optimizers import OPTIMIZERS
from opdsl.train.optimizers.algorithms.host_state import keep_state_on_host

TRIAL_SAMPLES = 3  # from two and three samples follows what more of them take


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """How a training step runs within a limit of memory.

    Attributes:
        parts: micro-batches of a batch.
        recompute: what the module computes again, for `RecomputesResults`; None: nothing.
        whole_calls: whether each call of the module is computed again, as in a rollout.
        host_state: whether the state of the optimizer waits in the memory of the host.
        host_activations: whether tensors saved for the gradient do.
        texts: what was chosen and why, a line each.
    """

    parts: int = 1
    recompute: Any = None
    whole_calls: bool = False
    host_state: bool = False
    host_activations: bool = False
    texts: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class StepNeeds:
    """What a training step needs besides the passes of its module.

    Attributes:
        samples: in a batch, or in the part of it that a process has.
        calls: of the module in a step, as in a rollout.
        weights, gradients, optimizer, largest, batch: bytes of the weights with their running mean,
            of gradients, of the optimizer's state, of the largest weight, of inputs and truth.
        device: kind of device.
        host: whether tensors can wait in the memory of the host.
        trial: computes the loss of a number of samples up to `TRIAL_SAMPLES`, and returns it with
            what stays alive behind it.
    """

    samples: int
    calls: int
    weights: int
    gradients: int
    optimizer: int
    largest: int
    batch: int
    device: str
    host: bool
    trial: Callable[[int], tuple[Tensor, object]]


class PlansMemory(Protocol):
    """A function that plans the memory of a training step."""

    def __call__(self, needs: StepNeeds) -> MemoryPlan:
        """Choose measures.

        Raises:
            OpError: OP0850, nothing fits.
        """


@contextmanager
def planned_memory(
    plan_memory: PlansMemory | None,
    train_step: TrainStep,
    train: AnySampleSet,
    settings: Settings,
    samplings: Samplings | None,
) -> Iterator[tuple[str, ...]]:
    """Let a step run within its limit of memory in the block, as `apply_memory_plan`."""
    if plan_memory is None:
        yield ()
        return
    texts = apply_memory_plan(plan_memory, train_step, train, settings, samplings)
    try:
        yield texts
    finally:
        if isinstance(train_step.module, RecomputesResults):
            train_step.module.recompute(None)


def apply_memory_plan(
    plan_memory: PlansMemory,
    train_step: TrainStep,
    train: AnySampleSet,
    settings: Settings,
    samplings: Samplings | None,
) -> tuple[str, ...]:
    """Plan the memory of a step on training samples, let the step run so, and return the reasons.

    Random numbers, buffers of the module and the state of the objective stay as they were.

    Args:
        plan_memory: chooses the measures.
        train_step: not yet used.
        train: the training samples.
        settings: of the run.
        samplings: as for `fit`.

    Raises:
        OpError: OP0850, the step does not fit; OP0851, its memory cannot be planned.
    """
    _refuse_divided_weights(train_step, settings)
    batch = _trial_batch(train, train_step, samplings)
    with trial_needs(train_step, batch, settings) as needs:
        plan = all_do(train_step.mesh, partial(plan_memory, needs))
    train_step.parts = largest(train_step.mesh, plan.parts)
    train_step.forward = replace(
        train_step.forward, recompute=plan.whole_calls, host_activations=plan.host_activations
    )
    if plan.host_state:
        keep_state_on_host(train_step.optimizer)
    if plan.recompute is not None:
        assert isinstance(train_step.module, RecomputesResults)
        train_step.module.recompute(plan.recompute)
    return plan.texts


@contextmanager
def trial_needs(train_step: TrainStep, batch: Batch, settings: Settings) -> Iterator[StepNeeds]:
    """Return what a step needs; in the block trials of it may run, which leave it as it was.

    Args:
        train_step: not yet used.
        batch: of `TRIAL_SAMPLES` samples.
        settings: of the run.

    Raises:
        OpError: OP0851, its memory cannot be planned.
    """
    _refuse_derivatives(train_step, batch)
    with _unchanged(train_step):
        train_step.begin()
        yield step_needs(train_step, batch, settings)


def step_needs(train_step: TrainStep, batch: Batch, settings: Settings) -> StepNeeds:
    """Return what a training step needs, from a batch of a few samples.

    Args:
        train_step: any.
        batch: of at most `TRIAL_SAMPLES` samples.
        settings: of the run.
    """
    entry = OPTIMIZERS.find(settings.optimizer.kind)
    assert entry is not None  # the settings have refused other names
    weights = list(train_step.module.parameters())
    trained = [p for group in train_step.optimizer.param_groups for p in group["params"]]
    size, learnt = sum(p.nbytes for p in weights), sum(p.nbytes for p in trained)
    count = count_samples(batch.inputs, batch.places)
    samples = sum(_bytes(x) for x in (batch.inputs, batch.truth, batch.weights)) / count
    device = train_step.policy.device.type
    own = -(-settings.batch // train_step.mesh.data)  # samples of the largest part
    return StepNeeds(
        samples=own,
        calls=_calls(train_step, settings),
        weights=size * (2 if train_step.average else 1),
        gradients=learnt,
        optimizer=entry.numbers(settings.optimizer) * learnt,
        largest=max((p.nbytes for p in trained), default=0),
        batch=round(samples * own),
        device=device,
        host=device == "cuda" and not entry.repeats,
        trial=partial(_trial, train_step, batch),
    )


def _calls(train_step: TrainStep, settings: Settings) -> int:
    if train_step.loop is None or train_step.forward.pushforward == "last":
        return 1
    return settings.rollout or 1


def _trial(train_step: TrainStep, batch: Batch, samples: int) -> tuple[Tensor, object]:
    """Compute the loss of the first samples, in a rollout after one step in time."""
    some = replace(
        batch,
        inputs=_first(batch.inputs, samples),
        truth=_first(batch.truth, samples),
        places={k: x if len(x) == 1 else x[:samples] for k, x in batch.places.items()},
        weights=_first(batch.weights, samples),
    )
    horizon, train_step.horizon = train_step.horizon, 1 if train_step.loop else None
    try:
        return train_step.trial(some)
    finally:
        train_step.horizon = horizon


def _first(fields: Mapping[str, Values], samples: int) -> dict[str, Values]:
    return {
        k: x.take(range(samples)) if isinstance(x, Packed) else x[:samples]
        for k, x in fields.items()
    }


def _bytes(fields: Mapping[str, Values]) -> int:
    return sum(all_values(x).nbytes for x in fields.values())


def _trial_batch(train: AnySampleSet, train_step: TrainStep, samplings: Samplings | None) -> Batch:
    """Load the samples with the most points, or the first ones where all have equally many."""
    loader = DeviceLoader.of(train, train_step.policy, samplings, train_step.units)
    if isinstance(train, StreamedSet):
        loader.close()
        loader = replace(loader, streamed=Prefetch(partial(_read, train), 0))
    packed = [
        x for x in (*loader.inputs.values(), *loader.outputs.values()) if isinstance(x, Packed)
    ]
    rows = torch.arange(TRIAL_SAMPLES) % len(train)
    if packed:
        points = torch.tensor([x.sizes for x in packed]).sum(0)
        rows = points.argsort(descending=True, stable=True)[rows]
    batch = loader.take(rows)
    loader.close()
    return batch


def _read(train: StreamedSet, rows: Sequence[int]) -> LoadedBatch:
    some = train.read(rows)
    return LoadedBatch(dict(some.inputs), dict(some.outputs), own_weights(some))


def _refuse_divided_weights(train_step: TrainStep, settings: Settings) -> None:
    """Refuse a model that processes divide among themselves: each has another memory."""
    mesh = train_step.mesh
    divided = mesh.space > 1 or (mesh.data > 1 and settings.parallel.strategy == "fsdp")
    if divided:
        message = "the memory of a model that several processes divide cannot be planned"
        helps = ("leave `memory` out", "or let them share the batch only: `strategy = ddp`")
        raise fault("OP0851", message, helps=helps)


def _refuse_derivatives(train_step: TrainStep, batch: Batch) -> None:
    """Refuse losses with derivatives by coordinates, whose gradient passes the module twice."""
    prepared = train_step.objective.prepare(batch)
    points = [x.points for geometries in prepared.places.values() for x in geometries]
    if any(x.requires_grad for x in points):
        message = "the memory of a loss with derivatives at points cannot be planned"
        helps = ("leave `memory` out and lower `batch`, with `accumulate` for the same step",)
        raise fault("OP0851", message, helps=helps)


@contextmanager
def _unchanged(train_step: TrainStep) -> Iterator[None]:
    """Restore random generators, buffers, the objective and gradients behind the block."""
    objective: Any = copy.deepcopy(train_step.objective.state_dict())
    buffers = [(x, x.detach().clone()) for x in train_step.module.buffers()]
    devices = [train_step.policy.device] if train_step.policy.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            with torch.no_grad():
                for x, before in buffers:
                    x.copy_(before)
            if objective:
                train_step.objective.load_state_dict(objective)
