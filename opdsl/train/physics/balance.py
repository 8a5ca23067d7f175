"""Adaptive weights of the terms of a loss, from how fast the terms fall.

A term of a batch that is zero, as one without a sample that counts, is taken as unchanged.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from opdsl.train.config.balance import BalanceSettings

BalanceState = dict[str, float | list[float] | Tensor]
TINY = 1e-300  # below it a ratio of terms means nothing


@dataclass(slots=True)
class Relobralo:
    """Relative loss balancing with random lookback.

    w(t) = s (r w(t - 1) + (1 - r) b(0)) + (1 - s) b(t - 1), where b_i(t') = m softmax_i(L_i(t) /
    (T L_i(t'))) over m terms, s is `smoothing`, T is `temperature`, and r is 1 with the probability
    `lookback`, else 0.

    Attributes:
        settings: the section `balance`.
        seed: of the random lookback, which depends on it and on the step.
        first, last: the terms of the first and of the last step.
        current: the weights of the last step.
        steps: how many there were.

    Source: Bischof and Kraus 2021, arXiv:2110.09813, eqs. (8) to (11).
    """

    settings: BalanceSettings
    seed: int = 0
    first: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    current: list[float] = field(default_factory=list)
    steps: int = 0

    def weights(self, values: Mapping[str, float]) -> Mapping[str, float]:
        """Return the weight of each term for this step; 1 in the first one."""
        now = list(values.values())
        if not all(map(math.isfinite, now)):
            return dict(zip(values, self.current or [1.0] * len(now), strict=True))
        if not self.current:
            self.first, self.last, self.current = now[:], now[:], [1.0] * len(now)
        else:
            self._update(now)
        self.steps += 1
        return dict(zip(values, self.current, strict=True))

    def _update(self, now: Sequence[float]) -> None:
        keep = self.settings.smoothing
        chance = random.Random(f"{self.seed} {self.steps}").random()  # noqa: S311  no secret
        older = self.current
        if chance >= self.settings.lookback:
            older = self._balanced(now, self.first)
        newer = self._balanced(now, self.last)
        self.current = [keep * a + (1 - keep) * b for a, b in zip(older, newer, strict=True)]
        self.first = [b if a == 0 else a for a, b in zip(self.first, now, strict=True)]
        self.last = [a if b == 0 else b for a, b in zip(self.last, now, strict=True)]

    def _balanced(self, now: Sequence[float], then: Sequence[float]) -> list[float]:
        ratios = [a / b if a and b > TINY else 1.0 for a, b in zip(now, then, strict=True)]
        return scaled_softmax([x / self.settings.temperature for x in ratios])

    def state_dict(self) -> BalanceState:
        """Return the terms, the weights and the number of steps."""
        return {
            "first": self.first,
            "last": self.last,
            "weights": self.current,
            "steps": float(self.steps),
        }

    def load_state_dict(self, state: Mapping[str, float | list[float] | Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.first, self.last = _numbers(state, "first"), _numbers(state, "last")
        self.current, self.steps = _numbers(state, "weights"), int(_number(state, "steps"))


@dataclass(slots=True)
class SoftAdapt:
    """Weights by the rates of change of the terms, relative to each other.

    w_i = m exp(beta s_i) / sum_j exp(beta s_j) over m terms, where s_i is the change of the mean of
    term i over `every` steps, divided by the sum of the absolute changes of all terms. (The paper's
    normalised form; the weights stay until the next means are known.)

    Attributes:
        settings: the section `balance`.
        sums: of the terms, in the current steps.
        counts: how many steps they are from, without those where the term is zero.
        means: of the terms in the steps before; none in the first ones.
        current: the weights.
        steps: how many of the current steps are over.

    Source: Heydari, Thompson and Mehmood 2019, arXiv:1912.12355, eqs. (6) and (8).
    """

    settings: BalanceSettings
    sums: list[float] = field(default_factory=list)
    counts: list[float] = field(default_factory=list)
    means: list[float] = field(default_factory=list)
    current: list[float] = field(default_factory=list)
    steps: int = 0

    def weights(self, values: Mapping[str, float]) -> Mapping[str, float]:
        """Return the weight of each term for this step; 1 until two means are known."""
        now, count = list(values.values()), len(values)
        if not self.current:
            self.sums, self.counts, self.current = [0.0] * count, [0.0] * count, [1.0] * count
        result = dict(zip(values, self.current, strict=True))
        if all(map(math.isfinite, now)):
            self.sums = [a + b for a, b in zip(self.sums, now, strict=True)]
            self.counts = [a + (b != 0) for a, b in zip(self.counts, now, strict=True)]
            self.steps += 1
        if self.steps >= self.settings.every:
            self._compare()
        return result

    def _compare(self) -> None:
        """Weigh the terms by their changes since the steps before, and begin new means."""
        old = self.means or [0.0] * len(self.sums)
        pairs = zip(self.sums, self.counts, old, strict=True)
        new = [total / count if count else before for total, count, before in pairs]
        if self.means:
            changes = [b - a for a, b in zip(self.means, new, strict=True)]
            whole = sum(map(abs, changes)) or 1.0
            self.current = scaled_softmax([self.settings.beta * x / whole for x in changes])
        self.means, self.steps = new, 0
        self.sums, self.counts = [0.0] * len(new), [0.0] * len(new)

    def state_dict(self) -> BalanceState:
        """Return sums, means, weights and the number of steps."""
        return {
            "sums": self.sums,
            "counts": self.counts,
            "means": self.means,
            "weights": self.current,
            "steps": float(self.steps),
        }

    def load_state_dict(self, state: Mapping[str, float | list[float] | Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.sums, self.counts = _numbers(state, "sums"), _numbers(state, "counts")
        self.means, self.current = _numbers(state, "means"), _numbers(state, "weights")
        self.steps = int(_number(state, "steps"))


def balance_of(settings: BalanceSettings, seed: int) -> Relobralo | SoftAdapt | None:
    """Make the balance of the terms of a loss; None where the weights are fixed or scheduled."""
    match settings.kind:
        case "relobralo":
            return Relobralo(settings, seed)
        case "softadapt":
            return SoftAdapt(settings)
    return None


def scaled_softmax(values: Sequence[float]) -> list[float]:
    """Return the softmax times the number of values; no exponential overflows."""
    most = max(values)
    powers = [math.exp(x - most) for x in values]
    return [len(values) * x / sum(powers) for x in powers]


def _numbers(state: Mapping[str, float | list[float] | Tensor], key: str) -> list[float]:
    value = state[key]
    if not isinstance(value, list) or not all(isinstance(x, float) for x in value):
        raise TypeError(f"`{key}` is no list of numbers")
    return list(value)


def _number(state: Mapping[str, float | list[float] | Tensor], key: str) -> float:
    value = state[key]
    if not isinstance(value, int | float):
        raise TypeError(f"`{key}` is no number")
    return value
