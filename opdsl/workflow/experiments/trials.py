"""Trials before training: a dry run, a range test of learning rates, and learning a few samples.

They write nothing; the weights that they train are discarded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Any

import torch

from opdsl.diagnostics import fault
from opdsl.train.engine.loader import Batch
from opdsl.workflow.training.own_loop import PreparedTraining

LOWEST, HIGHEST = 1e-7, 10.0  # learning rates of the range test
SMOOTHING = 0.9  # decay rate of the running mean of the loss
DIVERGED = 4.0  # the test ends where the smoothed loss is this many times the least one
LEAST_FALL = 0.03  # by this part the loss has to fall, which random batches do not explain
SKIPPED = 10  # first and last rates that cannot be the steepest: the mean is not settled there
TIMED = 5  # steps of a dry run that are timed, after one that is not


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a run would do, after all checks and some steps that are discarded.

    Attributes:
        samples, valid_samples: for training and validation.
        parameters: real numbers to be learnt.
        steps: in an epoch.
        epochs: of the run.
        loss: of the first step.
        step_seconds: the median time of a step.
        valid_seconds: of a validation.
        device, precision: where and how the steps ran.
    """

    samples: int
    valid_samples: int
    parameters: int
    steps: int
    epochs: int
    loss: float
    step_seconds: float
    valid_seconds: float
    device: str
    precision: str

    @property
    def seconds(self) -> float:
        """The estimated time of the run."""
        return self.epochs * (self.steps * self.step_seconds + self.valid_seconds)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        data = {x: getattr(self, x) for x in type(self).__dataclass_fields__}
        return data | {"seconds": self.seconds}


@dataclass(frozen=True, slots=True)
class RateTest:
    """A range test of learning rates.

    Attributes:
        rates: learning rates, each of one step.
        losses: running means of the loss, in the same order.
        suggestion: the rate at which the loss falls fastest.
        diverged: the first rate at which the loss explodes; None if it never does.

    Source: Smith 2017, Cyclical learning rates, arXiv:1506.01186, section 3.3.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float
    diverged: float | None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {x: getattr(self, x) for x in type(self).__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class OverfitTest:
    """The losses while a model learns a few samples by heart.

    Attributes:
        samples: how many.
        rate: the constant learning rate.
        losses: of each step.
    """

    samples: int
    rate: float
    losses: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The last loss divided by the first."""
        return self.losses[-1] / self.losses[0]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        data = {x: getattr(self, x) for x in type(self).__dataclass_fields__}
        return data | {"ratio": self.ratio}


def dry_run(training: PreparedTraining) -> DryRun:
    """Take some steps and validate once, to see that a run works and how long it takes.

    Raises:
        OpError: OP0630, a batch does not fit into memory; OP0746, the first loss is not finite.
    """
    step, batches = training.step, _endless(training)
    step.begin()
    times, first = [], None
    for i in range(min(TIMED, training.steps) + 1):
        batch = next(batches)
        started = time.perf_counter()
        result = step.learn(batch, training.rate(i), i, i / training.steps)
        _synchronise(step.policy.device)
        times.append(time.perf_counter() - started)
        first = result.loss if first is None else first
        _refuse_infinite(result.loss, i)
    started = time.perf_counter()
    training.validate()
    return DryRun(
        samples=training.loader.size,
        valid_samples=training.valid.size if training.valid else 0,
        parameters=sum(
            p.numel() * (2 if p.is_complex() else 1)
            for p in step.module.parameters()
            if p.requires_grad
        ),
        steps=training.steps,
        epochs=training.settings.schedule.epochs,
        loss=first or 0.0,
        step_seconds=median(times[1:]),
        valid_seconds=time.perf_counter() - started,
        device=str(step.policy.device),
        precision=step.policy.name,
    )


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _refuse_infinite(loss: float, step: int) -> None:
    if math.isfinite(loss):
        return
    helps = ("lower `optimizer.lr`", "look for values of the data that are far from the others")
    raise fault("OP0746", f"the loss of step {step + 1} is not finite", helps=helps)


def _endless(training: PreparedTraining) -> Iterator[Batch]:
    """Yield batches of one epoch after the other."""
    for epoch in count():
        yield from training.batches(epoch)


def find_rate(
    training: PreparedTraining, *, low: float = LOWEST, high: float = HIGHEST, steps: int = 100
) -> RateTest:
    """Raise the learning rate from step to step, and find where the loss falls fastest.

    Args:
        training: the parts of the run; its weights change.
        low, high: the first and the last rate.
        steps: how many rates, in equal ratios.

    Raises:
        OpError: OP0746, the loss does not fall at any rate.
    """
    step, batches = training.step, _endless(training)
    step.begin()
    rates, losses, mean, diverged = [], [], 0.0, None
    for i in range(steps):
        rate = low * (high / low) ** (i / (steps - 1))
        loss = step.learn(next(batches), rate, i, i / training.steps).loss
        if not math.isfinite(loss):
            diverged = rate
            break
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        rates.append(rate)
        losses.append(mean / (1 - SMOOTHING ** (i + 1)))  # a mean of the losses up to now
        if losses[-1] > DIVERGED * min(losses):
            diverged = rate
            break
    return RateTest(tuple(rates), tuple(losses), _steepest(rates, losses), diverged)


def _steepest(rates: list[float], losses: list[float]) -> float:
    """Return the rate at which the loss falls fastest, before its least value."""
    least = min(range(len(losses)), key=losses.__getitem__, default=0)
    slopes = {i: losses[i + 1] - losses[i - 1] for i in range(SKIPPED, least)}
    best = min(slopes, key=slopes.__getitem__, default=None)
    if best is None or losses[least] > (1 - LEAST_FALL) * losses[SKIPPED]:
        message = "the loss falls at no learning rate"
        notes = ("the range test needs a loss that falls before it explodes",)
        helps = ("see whether the model can learn at all: `--overfit 4`",)
        raise fault("OP0746", message, notes=notes, helps=helps)
    return float(f"{rates[best]:.2g}")


def overfit(training: PreparedTraining, samples: int, steps: int) -> OverfitTest:
    """Learn the first samples alone, at the constant rate of the settings.

    Args:
        training: the parts of the run; its weights change.
        samples: how many; all of them are one batch.
        steps: how often they are learnt.

    Raises:
        OpError: OP0746, the loss is not finite.
    """
    step, size = training.step, min(samples, training.loader.size)
    rate = training.settings.optimizer.lr
    step.begin()
    batch, losses = training.loader.take(torch.arange(size)), []
    for i in range(steps):
        losses.append(step.learn(batch, rate, i, float(i)).loss)
        _refuse_infinite(losses[-1], i)
    return OverfitTest(size, rate, tuple(losses))
