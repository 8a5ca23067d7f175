"""Sections of the settings about how weights change: optimizer, schedule, averages, groups, growth.

No torch: a program is checked without it.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from opdsl.train.config.section import (
    FIXED,
    FREE,
    AtLeastOne,
    Fraction,
    MemberOf,
    Momentum,
    NonNegative,
    Portion,
    Positive,
    Section,
    nothing,
    texts,
)
from opdsl.train.optimizers import OPTIMIZERS


class Optimizer(Section):
    """`optimizer adamw { lr = 1e-3 weight_decay = 1e-4 }`: how a step follows from the gradient.

    Attributes:
        kind: the algorithm.
        lr: the learning rate; the peak where a schedule varies it.
        weight_decay: `adamw` and `muon` shrink a weight w by lr * weight_decay * w in a step;
            `adam` and `sgd` add weight_decay * w to the gradient, `lbfgs` weight_decay * w^2 / 2 to
            the loss.
        betas: decay rates of the two running means of the gradient (`adamw`, `adam`; `muon` for
            weights that are no matrices).
        momentum: decay rate of the running mean of the gradient (`sgd`, `muon`).
        nesterov: whether the step looks ahead along the running mean (`sgd`).
        adjust: the factor by which `muon` multiplies the rate of an n x m matrix:
            `match_rms_adamw` is 0.2 sqrt(max(n, m)), which suits rates and decays of `adamw`,
            `original` is sqrt(max(1, n / m)).
        history: pairs of steps and changes of the gradient that `lbfgs` remembers.
        iterations: most iterations of `lbfgs` in a step, each with an evaluation of the loss at
            least.
        line_search: how `lbfgs` finds the length of an iteration: `strong_wolfe` conditions, or
            `none`, and it is `lr`.
    """

    kind: Annotated[str, MemberOf(OPTIMIZERS), FIXED] = "adamw"
    lr: Annotated[Positive, FREE] = 1e-3
    weight_decay: Annotated[NonNegative, FREE] = 1e-4
    betas: Annotated[list[Momentum], Field(min_length=2, max_length=2), FREE] = [0.9, 0.999]  # noqa: RUF012  pydantic copies it
    momentum: Annotated[Momentum, FREE] = 0.9
    nesterov: Annotated[bool, FREE] = False
    adjust: Annotated[Literal["match_rms_adamw", "original"], FREE] = "match_rms_adamw"
    history: Annotated[AtLeastOne, FREE] = 100
    iterations: Annotated[AtLeastOne, FREE] = 20
    line_search: Annotated[Literal["strong_wolfe", "none"], FREE] = "strong_wolfe"


ScheduleKind = Literal[
    "constant",
    "linear",
    "cosine",
    "cosine_warm_restarts",
    "cyclic",
    "exponential",
    "multistep",
    "one_cycle",
    "plateau",
    "polynomial",
    "step",
]


class Schedule(Section):
    """`schedule cosine { epochs = 500 warmup = 5 }`: the learning rate, set before each step.

    Attributes:
        kind: the law of the rate; the rates themselves are in `rates`.
        epochs: passes over the training samples.
        warmup: epochs of linear rise; 0 if not given, three tenths of the run in `one_cycle`.
        final: the last rate as a fraction of the first (`cosine`, `linear`, `polynomial`,
            `one_cycle`), or the least (`cosine_warm_restarts`, `cyclic`, `plateau`).
        every: epochs between two drops (`step`), over which the rate falls by `gamma`
            (`exponential`), of the first cycle (`cosine_warm_restarts`), of a rise or fall
            (`cyclic`).
        gamma: factor of each drop (`step`, `multistep`, `plateau`), or over `every` epochs
            (`exponential`).
        max_lr: the peak of `one_cycle`; `optimizer.lr` if not given.
        milestones: finished epochs at which the rate drops (`multistep`).
        power: exponent of `polynomial`.
        growth: factor by which each cycle of `cosine_warm_restarts` is longer than the one before.
        patience: validations without a lower error after which the next such one lets the rate
            drop (`plateau`).
        min_change: the part of the least error by which another one has to be lower (`plateau`).
        cooldown: validations after a drop that do not count (`plateau`).
    """

    kind: Annotated[ScheduleKind, FREE] = "cosine"
    epochs: Annotated[AtLeastOne, FREE] = 100
    warmup: Annotated[NonNegative | None, FREE] = None
    final: Annotated[Fraction, FREE] = 0.0
    every: Annotated[AtLeastOne, FREE] = 100
    gamma: Annotated[Fraction, FREE] = 0.5
    max_lr: Annotated[Positive | None, FREE] = None
    milestones: Annotated[list[AtLeastOne], FREE] = []  # noqa: RUF012  pydantic copies it
    power: Annotated[Positive, FREE] = 2.0
    growth: Annotated[AtLeastOne, FREE] = 1
    patience: Annotated[int, Field(ge=0), FREE] = 10
    min_change: Annotated[Fraction, FREE] = 1e-4
    cooldown: Annotated[int, Field(ge=0), FREE] = 0


class Average(Section):
    """`average ema { decay = 0.999 }`: weights that are means over steps, and are used in the end.

    Validation, the best weights and the results of the run are those of the means; training itself
    goes on with the weights of the last step.

    Attributes:
        kind: `ema` is a running mean over the steps, `swa` the mean over the ends of epochs.
        decay: part of the running mean that a step leaves (`ema`); (1 + n) / (10 + n) after n steps
            while that is less.
        start: part of the epochs after which the mean begins (`swa`).
    """

    kind: Annotated[Literal["none", "ema", "swa"], FIXED] = "none"
    decay: Annotated[Momentum, FIXED] = 0.999
    start: Annotated[Annotated[float, Field(ge=0, lt=1)], FIXED] = 0.75


class Stop(Section):
    """`stop { patience = 20 min_change = 0.01 }`: end a run whose validation error stays.

    Attributes:
        patience: validations in a row without a lower error after which the run ends; without it
            the run has all its epochs.
        min_change: the part of the least error by which another one has to be lower.
    """

    patience: Annotated[AtLeastOne | None, BeforeValidator(nothing), FREE] = None
    min_change: Annotated[Fraction, FREE] = 0.0


class Curriculum(Section):
    """`curriculum { start = 1 until = 0.5 }`: begin with few steps in time and add the others.

    Attributes:
        start: steps in time in the first epoch; without it all of `rollout`.
        until: the part of the epochs after which there are all; the number grows linearly.
    """

    start: Annotated[AtLeastOne | None, BeforeValidator(nothing), FIXED] = None
    until: Annotated[Portion, FIXED] = 0.5

    def steps(self, epoch: int, epochs: int, rollout: int) -> int:
        """Return the number of steps in time in an epoch, counted from 0."""
        if self.start is None or self.start >= rollout:
            return rollout
        progress = min(1.0, epoch / (self.until * epochs))
        return self.start + int(progress * (rollout - self.start))


class Incremental(Section):
    """`incremental { start = 4 until = 0.5 }`: begin with few modes and add the others.

    While it lasts no epoch counts as the best: its weights are those of a smaller model.

    Attributes:
        kind: when modes are added: `linear` in equal parts, `loss_gap` one after each epoch whose
            loss hardly differs from that of the epoch before, `gradient` as many as the gradient
            asks for.
        start: the greatest frequency in the first epoch, and the number of half-waves on axes with
            ends; without it all modes take part.
        until: the part of the epochs after which all do, for every kind.
        gap: the change of the training loss, as a part of it, up to which a mode is added
            (`loss_gap`).
        explained: the part of the squared gradient of an epoch that the modes have to explain,
            not counting the `buffer` (`gradient`).
        buffer: modes beyond those that explain the gradient (`gradient`).

    Source: George et al. 2024, arXiv:2211.15188, section 4.
    """

    kind: Annotated[Literal["linear", "loss_gap", "gradient"], FIXED] = "linear"
    start: Annotated[AtLeastOne | None, BeforeValidator(nothing), FIXED] = None
    until: Annotated[Portion, FIXED] = 0.5
    gap: Annotated[Fraction, FIXED] = 0.01
    explained: Annotated[Portion, FIXED] = 0.99
    buffer: Annotated[AtLeastOne, FIXED] = 2

    def modes(self, epoch: int, epochs: int, greatest: int) -> int | None:
        """The greatest frequency in an epoch of `linear`, counted from 0; None: all.

        Source: George et al. 2024, arXiv:2211.15188, section 4; the modes grow linearly here.
        """
        if self.start is None or self.start >= greatest or self.ended(epoch, epochs):
            return None
        progress = epoch / (self.until * epochs)
        return self.start + int(progress * (greatest - self.start))

    def ended(self, epoch: int, epochs: int) -> bool:
        """Return whether all modes take part in an epoch, whatever the kind."""
        return epoch >= self.until * epochs or epoch == epochs - 1


class ParameterGroup(Section):
    """`groups { lift { paths = ["lift"] rate = 0.1 } }`: weights with a rate of their own.

    Attributes:
        paths: of the weights, or of the parts of the model that have them; see `matches`.
        rate: factor on the learning rate.
        decay: weight decay; `optimizer.weight_decay` if not given.
    """

    paths: Annotated[list[str], BeforeValidator(texts)] = []  # noqa: RUF012  pydantic copies it
    rate: NonNegative = 1.0
    decay: Annotated[NonNegative | None, BeforeValidator(nothing)] = None


def _groups(value: Any) -> Any:
    """Validate groups by name, and write each with all its settings as plain values."""
    if not isinstance(value, dict):
        return value
    try:
        return {k: ParameterGroup.model_validate(x).model_dump() for k, x in value.items()}
    except ValidationError as error:
        raise ValueError(str(error)) from error


GROUP_WORDS = 'groups in braces, each `NAME { paths = ["lift"] rate = 0.1 decay = 0.0 }`'
WeightGroups = Annotated[
    dict[str, dict[str, Any]],
    BeforeValidator(_groups),
    Field(json_schema_extra={"resume": "fixed", "words": GROUP_WORDS}),
]


def _recomputed(value: Any) -> Any:
    """Read `recompute`: a truth value, or the paths of parts of the model."""
    return value if isinstance(value, bool) else texts(value)


def _not_empty(value: bool | list[str]) -> bool | list[str]:
    """Write a list without paths as false."""
    return value or False


Recompute = Annotated[
    bool | list[str], BeforeValidator(_recomputed), AfterValidator(_not_empty), FREE
]
WeightPaths = Annotated[list[str], BeforeValidator(texts), FIXED]
