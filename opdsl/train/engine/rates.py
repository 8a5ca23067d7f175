"""The learning rate as a function of the step alone, so that a resumed run needs no other state.

The step counts from 0 over the whole run, and skipped steps count. Every law is tested against
`torch.optim.lr_scheduler`. Only `plateau` depends on more, the validation errors: see `Plateau`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opdsl.train.config.optimization import Schedule
from opdsl.train.config.schema import Settings

RISE = 0.3  # of the run, for one_cycle (Smith and Topin 2017, arXiv:1708.07120)
START = 1 / 25  # of the peak, the first rate of one_cycle


@dataclass(frozen=True, slots=True)
class Rate:
    """The law of one run.

    Attributes:
        schedule: the settings.
        lr: `optimizer.lr`.
        steps: steps in an epoch.
    """

    schedule: Schedule
    lr: float
    steps: int

    def __call__(self, step: int) -> float:
        """Return the learning rate of the step with this index, counted from 0."""
        schedule, total = self.schedule, self.schedule.epochs * self.steps
        warm = self._warm(total)
        if schedule.kind == "one_cycle":
            return self._one_cycle(step, warm, total)
        if step < warm:
            return self.lr * (step + 1) / (warm + 1)
        if schedule.kind == "cosine":
            return _glide(self.lr, self.lr * schedule.final, (step - warm) / max(1, total - warm))
        return self.lr * self._factor(step, step - warm, max(1, total - warm))

    def _factor(self, step: int, since: int, left: int) -> float:
        """Return the rate as a part of the full one, behind the rise.

        Args:
            step: the index of the step.
            since, left: steps since the rise, and all of them behind it.
        """
        schedule, part = self.schedule, since / left
        every = schedule.every * self.steps
        match schedule.kind:
            case "linear":
                return 1 + (schedule.final - 1) * min(1.0, part)
            case "polynomial":
                remainder = (1 - min(1.0, part)) ** schedule.power
                return float(schedule.final + (1 - schedule.final) * remainder)
            case "exponential":
                return float(schedule.gamma ** (since / every))
            case "step":
                return float(schedule.gamma ** (step // every))
            case "multistep":
                drops = sum(step >= x * self.steps for x in schedule.milestones)
                return float(schedule.gamma**drops)
            case "cosine_warm_restarts":
                return _glide(1.0, schedule.final, _part_of_cycle(since, every, schedule.growth))
            case "cyclic":
                height = 1 - abs(since / every % 2 - 1)
                return schedule.final + (1 - schedule.final) * height
        return 1.0

    def _warm(self, total: int) -> int:
        """Return the number of steps of the linear rise."""
        if self.schedule.warmup is None:
            return round(RISE * total) if self.schedule.kind == "one_cycle" else 0
        return round(self.schedule.warmup * self.steps)

    def _one_cycle(self, step: int, warm: int, total: int) -> float:
        """Return the rate of `one_cycle`: up to the peak and down again, both along a cosine."""
        peak = self.schedule.max_lr or self.lr
        top = warm - 1  # the step at the peak
        if step <= top:
            return _glide(peak * START, peak, step / max(1, top))
        return _glide(peak, peak * self.schedule.final, (step - top) / max(1, total - 1 - top))


def _glide(start: float, end: float, part: float) -> float:
    """Interpolate between `start` (part 0) and `end` (part 1) along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


def _part_of_cycle(step: int, length: int, growth: int) -> float:
    """Return the finished part of the cycle of a step; each cycle is `growth` times the last."""
    while step >= length:
        step, length = step - length, length * growth
        if growth == 1:
            step %= length
    return step / length


@dataclass(slots=True)
class Patience:
    """The least of a series of errors, and how many behind it were not lower.

    Attributes:
        best: the least error; None before the first.
        waited: errors since then.
    """

    best: float | None = None
    waited: int = 0

    def see(self, error: float, min_change: float) -> None:
        """Count an error, which is lower if it is so by more than a part of the least one."""
        if not math.isnan(error) and (self.best is None or error < self.best * (1 - min_change)):
            self.best, self.waited = error, 0
        else:
            self.waited += 1


def stopped(settings: Settings, waited: int) -> bool:
    """Return whether the setting `stop` ends a run.

    Args:
        settings: of the run.
        waited: validations in a row without a lower error.
    """
    return settings.stop.patience is not None and waited >= settings.stop.patience


@dataclass(slots=True)
class Plateau:
    """The drops of `schedule plateau`, as torch's ReduceLROnPlateau with a relative threshold.

    Attributes:
        factor: of all drops up to now.
        patience: the errors since the last one.
        cooling: validations that do not count any more.
    """

    factor: float = 1.0
    patience: Patience = field(default_factory=Patience)
    cooling: int = 0

    def see(self, error: float, schedule: Schedule) -> None:
        """Count a validation error; drop the rate after too many that are not lower."""
        self.patience.see(error, schedule.min_change)
        if self.cooling > 0:
            self.cooling, self.patience.waited = self.cooling - 1, 0
        if self.patience.waited > schedule.patience:
            self.factor = max(self.factor * schedule.gamma, schedule.final)
            self.cooling, self.patience.waited = schedule.cooldown, 0


def rates_of_change(
    before: Mapping[str, Any], now: Rate, step: int
) -> dict[str, tuple[float, float]]:
    """Return the next rate before and after a change, by each setting that it depends on.

    Args:
        before: the settings up to now, by their dotted names.
        now: the rate from now on.
        step: the next step.
    """
    keys = [k for k in Schedule.model_fields if f"schedule.{k}" in before]  # fewer in old runs
    schedule = {k: before[f"schedule.{k}"] for k in keys}
    old = Rate(Schedule(**schedule), before["optimizer.lr"], now.steps)
    rates = old(step), now(step)
    names = [f"schedule.{k}" for k in schedule] + ["optimizer.lr"]
    return dict.fromkeys(names, rates) if rates[0] != rates[1] else {}
