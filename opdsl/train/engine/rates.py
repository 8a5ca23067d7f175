"""The learning rate as a function of the step alone, so that a resumed run needs no other state.

The step counts from 0 over the whole run, and skipped steps count. Every law is tested against
`torch.optim.lr_scheduler`.
"""

import math
from dataclasses import dataclass

from opdsl.train.config.schema import Schedule

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
        if schedule.kind == "step":
            return self.lr * schedule.gamma ** (step // (schedule.every * self.steps))
        return self.lr

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
