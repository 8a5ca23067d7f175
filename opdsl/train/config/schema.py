"""The settings of a run as frozen models: what a `train` block may say, and the defaults.

No torch and no device is looked at here: whether `fp16` runs on this machine is for `precision`.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
)

from opdsl.precisions import PrecisionName
from opdsl.train.config.data_section import Data
from opdsl.train.config.loss_section import LossText, MetricTexts
from opdsl.train.config.section import FIXED, FREE, AtLeastOne, MemberOf, Portion, Section, nothing
from opdsl.train.config.transforms import MAPS_IN_WORDS, PointwiseMap, read_maps
from opdsl.train.optimizers import OPTIMIZERS

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]

DeviceName = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]+)?)$")]


def _scaling(value: Any) -> Any:
    """Convert `true` to the usual scaling and `false` to `none`."""
    if isinstance(value, bool):
        return "channel" if value else "none"
    return str(value) if isinstance(value, str) else value  # a call is a subclass


Scaling = Annotated[Literal["channel", "point", "sample", "none"], BeforeValidator(_scaling)]
SAMPLE = re.compile(r"sample\(\s*([A-Za-z_]\w*)\s*\)")
OfSample = Annotated[
    str,
    Field(pattern=r"^sample\(\s*[A-Za-z_]\w*\s*\)$", json_schema_extra={"words": "sample(INPUT)"}),
]
OutputScaling = Annotated[Literal["channel", "point", "none"] | OfSample, BeforeValidator(_scaling)]


def statistics_source(scaling: str) -> str | None:
    """Return `a` for the scaling `sample(a)` of outputs; None for all others."""
    match = SAMPLE.fullmatch(scaling)
    return match[1] if match else None


def _texts(value: Any) -> Any:
    """Convert one text to a list of it, `none` to an empty list, and calls to plain texts."""
    if value is None or value == "none":
        return []
    values = [value] if isinstance(value, str) else value
    return (
        [str(x) if isinstance(x, str) else x for x in values] if isinstance(values, list) else value
    )


class Optimizer(Section):
    """`optimizer adamw { lr = 1e-3 weight_decay = 1e-4 }`: how a step follows from the gradient.

    Attributes:
        kind: the algorithm.
        lr: the learning rate; the peak where a schedule varies it.
        weight_decay: `adamw` shrinks a weight w by lr * weight_decay * w in a step; `adam` and
            `sgd` add weight_decay * w to the gradient.
        betas: decay rates of the two running means of the gradient (`adamw`, `adam`).
        momentum: decay rate of the running mean of the gradient (`sgd`).
    """

    kind: Annotated[str, MemberOf(OPTIMIZERS), FIXED] = "adamw"
    lr: Annotated[Positive, FREE] = 1e-3
    weight_decay: Annotated[NonNegative, FREE] = 1e-4
    betas: Annotated[list[Momentum], Field(min_length=2, max_length=2), FREE] = [0.9, 0.999]  # noqa: RUF012  pydantic copies it
    momentum: Annotated[Momentum, FREE] = 0.9


class Schedule(Section):
    """`schedule cosine { epochs = 500 warmup = 5 }`: the learning rate, set before each step.

    Attributes:
        kind: the law of the rate; the rates themselves are in `rates`.
        epochs: passes over the training samples.
        warmup: epochs of linear rise; 0 if not given, three tenths of the run in `one_cycle`.
        final: the last rate as a fraction of the first (`cosine`, `one_cycle`).
        every: epochs between two drops (`step`).
        gamma: factor of each drop (`step`).
        max_lr: the peak of `one_cycle`; `optimizer.lr` if not given.
    """

    kind: Annotated[Literal["constant", "cosine", "step", "one_cycle"], FREE] = "cosine"
    epochs: Annotated[AtLeastOne, FREE] = 100
    warmup: Annotated[NonNegative | None, FREE] = None
    final: Annotated[Fraction, FREE] = 0.0
    every: Annotated[AtLeastOne, FREE] = 100
    gamma: Annotated[Fraction, FREE] = 0.5
    max_lr: Annotated[Positive | None, FREE] = None


class Band(Section):
    """`band { of = u width = w alpha = 0.1 }`: learn how far from the truth a prediction is.

    The output `width` learns the quantile 1 - alpha of |truth - of| at each point; what makes `of`
    is kept as it is.

    Attributes:
        of: the output that predicts; without it there is no band.
        width: the output that is half the width of the band.
        alpha: part of the points that may lie outside.
    """

    of: Annotated[str | None, FIXED] = None
    width: Annotated[str, FIXED] = "width"
    alpha: Annotated[Portion, FIXED] = 0.1


class Incremental(Section):
    """`incremental { start = 4 until = 0.5 }`: begin with few modes and add the others.

    While it lasts no epoch counts as the best: its weights are those of a smaller model.

    Attributes:
        start: the greatest frequency in the first epoch, and the number of half-waves on axes with
            ends; without it all modes take part.
        until: the part of the epochs after which all do.
    """

    start: Annotated[AtLeastOne | None, BeforeValidator(nothing), FIXED] = None
    until: Annotated[Portion, FIXED] = 0.5

    def modes(self, epoch: int, epochs: int, greatest: int) -> int | None:
        """The greatest frequency in an epoch, counted from 0; None: all.

        Source: George et al. 2024, arXiv:2211.15188, section 4; the modes grow linearly here.
        """
        if self.start is None or self.start >= greatest:
            return None
        progress = epoch / (self.until * epochs)
        if progress >= 1 or epoch == epochs - 1:
            return None
        return self.start + int(progress * (greatest - self.start))


class Eval(Section):
    """`eval { resolutions = [85, 141] every = 5 }`: where to test, how often to validate.

    Attributes:
        resolutions: points on each axis at which the test data are measured at the end; where
            there are none, the validation data.
        every: epochs between two validations, at the resolution of training.
        rollout: steps in time of both; as many as in training if not given.
        metrics: more errors to report, as in `loss`: `metrics = [vrmse(u), mse(div(v))]`.
    """

    resolutions: Annotated[list[AtLeastOne], FREE] = []  # noqa: RUF012  pydantic copies it
    every: Annotated[AtLeastOne, FREE] = 1
    rollout: Annotated[AtLeastOne | None, FIXED] = None
    metrics: MetricTexts = []  # noqa: RUF012  pydantic copies it


class Checkpoint(Section):
    """`checkpoint { every = 10 keep = 2 }`: when the state of training is saved.

    Attributes:
        every: epochs between two checkpoints.
        steps: steps between two checkpoints within an epoch; `none` saves after epochs only.
        keep: how many checkpoints stay, the newest.
    """

    every: Annotated[AtLeastOne, FREE] = 1
    steps: Annotated[AtLeastOne | None, BeforeValidator(nothing), FREE] = None
    keep: Annotated[AtLeastOne, FREE] = 2


def _maps(texts: list[str]) -> list[str]:
    """Write the maps of an input or output in one way; refuse texts that are none."""
    return [str(x) for x in read_maps(texts)]


MapTexts = Annotated[list[str], BeforeValidator(_texts), AfterValidator(_maps)]
Transforms = Annotated[
    dict[str, MapTexts],
    Field(json_schema_extra={"resume": "fixed", "words": f"one or a list of {MAPS_IN_WORDS}"}),
]


class Normalise(Section):
    """`normalise { inputs = point outputs = channel }`: mean 0 and deviation 1 of the data.

    Attributes:
        inputs: `channel` (or true) shifts and scales each channel of the inputs by mean and
            deviation of the training samples; `point` each point of the grid and channel by those
            over the samples; `sample` each sample by its own, over its points; `none` (or false)
            leaves them as they are.
        outputs: the scaling of the outputs, which predictions undo; `sample(a)` takes the
            statistics of each sample from its input `a`.
    """

    inputs: Annotated[Scaling, FIXED] = "channel"
    outputs: Annotated[OutputScaling, FIXED] = "channel"


class Settings(Section):
    """Everything a run needs to know besides the module and the samples.

    Attributes:
        loss: `l2` is the relative L2 error, `h1` the relative H1 error (values and first
            derivatives) of all outputs; or a weighted sum of errors of outputs and of equations,
            `rel_l2(u) + 0.01 * mse(-div(a * grad(u)) - 1)`.
        rollout: steps in time, each from what the one before gave back by `feedback`.
        batch: samples in a step.
        symmetries: maps of the domain that turn every solution into a solution: `reflect(x)`,
            `swap(x, y)`, `rotate(x, y)` by quarter turns, `shift(x)` along a periodic axis. Each
            batch is transformed at random by each of them. `odd = [w]` lists components that change
            their sign, `pairs = [(vx, vy)]` components that are exchanged, and `vectors = [(vx,
            vy)]` the vectors that `rotate` turns.
        precision: `mixed` is bf16 on a CUDA device that has it, fp32 everywhere else. Fourier
            layers stay in float32, but for those that end with `_spectral`.
        device: `auto` is CUDA, then MPS, then the CPU.
        autotune: whether to measure the kernels of the model at each resolution that is met, and
            take the fastest, instead of predicting which it is.
        seed: of the order of samples and of every random layer.
        clip: largest norm of the gradient; `none` for no bound.
        bad_steps: steps in a row without a finite loss and gradient after which the run stops.
        transforms: pointwise maps of inputs and outputs by name, which come before `normalise`:
            `transforms { a = log  p = [clip(0, 10), log] }`. `log` and `log1p` are log(x) and
            log(1 + x), `asinh(s)` is asinh(x / s), `clip(low, high)` bounds inputs. Predictions
            undo those of outputs, losses and errors stay in physical units.
    """

    data: Data = Data()
    loss: Annotated[LossText, FIXED] = "l2"
    rollout: Annotated[AtLeastOne | None, BeforeValidator(nothing), FIXED] = None
    band: Band = Band()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    incremental: Incremental = Incremental()
    batch: Annotated[AtLeastOne, FIXED] = 16
    symmetries: Annotated[list[str], BeforeValidator(_texts), FIXED] = []  # noqa: RUF012  pydantic copies it
    precision: Annotated[PrecisionName, FREE] = "fp32"
    device: Annotated[DeviceName, FREE] = "auto"
    autotune: Annotated[bool, FIXED] = False
    seed: Annotated[int, Field(ge=0, lt=2**63), FIXED] = 0
    clip: Annotated[Positive | None, BeforeValidator(nothing), FREE] = None
    bad_steps: Annotated[AtLeastOne, FREE] = 5
    eval: Eval = Eval()
    checkpoint: Checkpoint = Checkpoint()
    normalise: Normalise = Normalise()
    transforms: Transforms = {}  # noqa: RUF012  pydantic copies it

    @property
    def maps(self) -> dict[str, tuple[PointwiseMap, ...]]:
        """The pointwise maps of inputs and outputs by name."""
        return {k: read_maps(x) for k, x in self.transforms.items()}

    def rows(self) -> list[tuple[str, Any]]:
        """Every setting with its dotted name, in the order of the sections."""
        return [row for name in type(self).model_fields for row in _rows(name, getattr(self, name))]


def _rows(name: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Section):
        return [(name, value)]
    return [(f"{name}.{key}", getattr(value, key)) for key in type(value).model_fields]


# settings of the schedule that only some kinds use; every other one suits every kind
SCHEDULE_ONLY = {
    "warmup": ("constant", "cosine", "step", "one_cycle"),
    "final": ("cosine", "one_cycle"),
    "every": ("step",),
    "gamma": ("step",),
    "max_lr": ("one_cycle",),
}
OPTIMIZER_ONLY = Optimizer.model_fields.keys() - {"kind", "lr", "weight_decay"}


def uses(section: str, kind: str, key: str) -> bool:
    """Return whether a setting has an effect in a section of this kind; unknown kinds use all."""
    if section == "schedule":
        return kind in SCHEDULE_ONLY.get(key, (kind,))
    if section != "optimizer" or key not in OPTIMIZER_ONLY:
        return True
    entry = OPTIMIZERS.find(kind)
    return entry is None or key in entry.uses


def kinds_that_use(section: str, key: str) -> tuple[str, ...]:
    """Return the kinds of a section in which a setting has an effect."""
    kinds = OPTIMIZERS.known() if section == "optimizer" else SCHEDULE_ONLY.get(key, ())
    return tuple(x for x in kinds if uses(section, x, key))
