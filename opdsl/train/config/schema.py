"""The settings of a run as frozen models: what a `train` block may say, and the defaults.

No torch and no device is looked at here: whether `fp16` runs on this machine is for `precision`.
"""

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic_core import CoreSchema, core_schema

from opdsl.precisions import PrecisionName
from opdsl.registry import Registry
from opdsl.train.config.transforms import MAPS_IN_WORDS, PointwiseMap, read_maps
from opdsl.train.losses import LOSSES
from opdsl.train.optimizers import OPTIMIZERS

# Whether a setting may change while a run goes on (`resume`); every setting says so itself, and the
# JSON schema repeats it. `moved`: another path, where the content is the same.
FREE = Field(json_schema_extra={"resume": "free"})
FIXED = Field(json_schema_extra={"resume": "fixed"})
MOVED = Field(json_schema_extra={"resume": "moved"})

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Part = Annotated[float, Field(gt=0, lt=1)]
AtLeastOne = Annotated[int, Field(ge=1)]

UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SIZE = rf"^[0-9]+(\.[0-9]+)? ({'|'.join(UNITS)})$"

CoordinateCheck = Literal["check", "warn", "ignore"]

NO_PATHS = ("auto", "none", "test")  # values of `data.valid` that are words

DeviceName = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]+)?)$")]


def _nothing(value: Any) -> Any:
    """Convert the word `none` of a program to None, as if the setting were left out."""
    return None if value == "none" else value


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


def _named_none(value: Any) -> Any:
    """Convert an empty value of YAML to the word `none`."""
    return "none" if value is None else value


def joined_paths(value: Any) -> Any:
    """Write a list of paths, which are one data set, as the text of a JSON list."""
    texts = isinstance(value, list | tuple) and all(isinstance(x, str) for x in value)
    return json.dumps(list(value), ensure_ascii=False) if value and texts else value


def _joined_sets(value: Any) -> Any:
    """Write each list among several data sets as `joined_paths` does."""
    return [joined_paths(x) for x in value] if isinstance(value, list) else value


def _path_or_word(value: Any) -> Any:
    """Read `data.valid`: an empty value of YAML is the word `none`, a list is one data set."""
    return joined_paths(_named_none(value))


def _texts(value: Any) -> Any:
    """Convert one text to a list of it, `none` to an empty list, and calls to plain texts."""
    if value is None or value == "none":
        return []
    values = [value] if isinstance(value, str) else value
    return (
        [str(x) if isinstance(x, str) else x for x in values] if isinstance(values, list) else value
    )


@dataclass(frozen=True, slots=True)
class MemberOf:
    """Annotation of a text that must be the name of a member of a registry."""

    registry: Registry[Any]

    def __get_pydantic_core_schema__(
        self, source: type, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Validate as a text, then refuse names that are not in the registry."""
        return core_schema.no_info_after_validator_function(self._refuse_unknown, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe the setting as a choice among all members, those of other packages too."""
        return {**handler(schema), "enum": list(self.registry.known())}

    def _refuse_unknown(self, name: str) -> str:
        if name not in self.registry.names() and name not in self.registry.known():
            raise ValueError(f"there is no `{name}`")
        return name


class Section(BaseModel):
    """A closed set of settings: an unknown key is a mistake, a number is not a text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


WindowKey = Literal["first", "steps", "stride", "every", "history"]


def _window(value: dict[str, int] | None) -> dict[str, int] | None:
    """Refuse windows of no steps."""
    if any(x < (k != "first") for k, x in (value or {}).items()):
        raise ValueError("`first` is at least 0, the others are at least 1")
    return value


class Data(Section):
    """`data darcy { path = "x.h5" resolution = 85 }`: which samples to learn from.

    Attributes:
        kind: the layout of the file, such as `pdebench`, which it then has to have, or any name of
            the problem; `auto` looks into the file.
        path: the training file, a folder, a pattern of names, or a list of these, in this order.
        valid: what chooses the best weights: a file or a list, a part of the training samples
            between 0 and 1, of which the last ones are taken, or `none`, and the last weights are
            used. `auto` is the `valid` part of a folder, else a tenth of the training samples.
            `test` lets the test data choose, as in runs of earlier versions.
        test: the test file or files, measured once at the end; each of a list is a set of its own,
            and a list in it is one set of several files.
        resolution: points on each axis to train at, every k-th of the file; as in the file if not
            given.
        resample: points on each axis, or a list with those of each, of another grid on which the
            data are evaluated by the series of each axis; training and test data alike. It comes
            after `resolution`, and `eval.resolutions` are reached the same way.
        skip: samples of `path` to leave out at its beginning, as where others learnt from them.
        samples: samples of `path` to use, those for validation among them; all if not given.
        test_samples: test samples to use, all if not given; without `test` so many of the last
            samples of `path` are kept for testing.
        fields: which field of the file is which input and output, by name; `none` for an input
            that comes back and begins at zero, and for an output that the file does not have.
        axes: what the axes of an array are, by its name or that of the input or output: `sample`,
            `time`, `channel`, `point`, `coordinate` or the name of an axis of the domain.
        windows: how trajectories become samples: `first` time that is an input, `steps` after it
            that are outputs, `stride` stored times in a step, `every` so many stored times, with a
            `history` of so many times in the input; without it times are channels.
        start: steps in time to leave out at the beginning, as where a file repeats its input.
        coordinates: whether the coordinates and boundary conditions that a file states have to be
            those of the domain: `check` refuses a difference, `warn` reports it, `ignore` takes the
            values as they are.
        memory: size of a data set, in float32, up to which it is kept in memory; a larger one is
            read batch by batch, with equal results.
        workers: processes that read batches ahead of their use; 0 reads them when they are used.
        masks: for an input or output the array that is 1 where a value counts and 0 where it does
            not, or the reverse with `~` before its name: `masks { u = "~land" }`.
        missing: what becomes of values that are NaN: `refuse`, or `mask`, which leaves them out of
            losses, statistics and errors.
        fill: the value of an input where it is masked: a number, or the `mean` of the channel over
            the other points of the sample.
    """

    kind: Annotated[str, FIXED] = "auto"
    path: Annotated[str | None, BeforeValidator(joined_paths), MOVED] = None
    valid: Annotated[Part | str, BeforeValidator(_path_or_word), MOVED] = "auto"
    test: Annotated[str | list[str] | None, BeforeValidator(_joined_sets), MOVED] = None
    resolution: Annotated[AtLeastOne | None, FIXED] = None
    resample: Annotated[
        Annotated[int, Field(ge=2)] | list[Annotated[int, Field(ge=2)]] | None,
        BeforeValidator(_nothing),
        FIXED,
    ] = None
    skip: Annotated[int, Field(ge=0), FIXED] = 0
    samples: Annotated[AtLeastOne | None, FIXED] = None
    test_samples: Annotated[AtLeastOne | None, FIXED] = None
    fields: Annotated[dict[str, Any] | None, FIXED] = None
    axes: Annotated[dict[str, list[str]] | None, FIXED] = None
    windows: Annotated[dict[WindowKey, int] | None, AfterValidator(_window), FIXED] = None
    start: Annotated[int, Field(ge=0), FIXED] = 0
    coordinates: Annotated[CoordinateCheck, FREE] = "check"
    masks: Annotated[dict[str, Any] | None, FIXED] = None
    missing: Annotated[Literal["refuse", "mask"], FIXED] = "refuse"
    fill: Annotated[Literal["mean"] | float, FIXED] = "mean"
    memory: Annotated[str, Field(pattern=SIZE), FREE] = "512 MB"
    workers: Annotated[int, Field(ge=0, le=64), FREE] = 1

    @property
    def memory_bytes(self) -> int:
        """The setting `memory` in bytes."""
        number, unit = self.memory.split()
        return int(float(number) * UNITS[unit])


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
    betas: Annotated[list[Momentum], Field(min_length=2, max_length=2), FREE] = [0.9, 0.999]
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
    alpha: Annotated[Part, FIXED] = 0.1


class Incremental(Section):
    """`incremental { start = 4 until = 0.5 }`: begin with few modes and add the others.

    While it lasts no epoch counts as the best: its weights are those of a smaller model.

    Attributes:
        start: the greatest frequency in the first epoch, and the number of half-waves on axes with
            ends; without it all modes take part.
        until: the part of the epochs after which all do.
    """

    start: Annotated[AtLeastOne | None, BeforeValidator(_nothing), FIXED] = None
    until: Annotated[Part, FIXED] = 0.5

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
    """

    resolutions: Annotated[list[AtLeastOne], FREE] = []
    every: Annotated[AtLeastOne, FREE] = 1
    rollout: Annotated[AtLeastOne | None, FIXED] = None


class Checkpoint(Section):
    """`checkpoint { every = 10 keep = 2 }`: when the state of training is saved.

    Attributes:
        every: epochs between two checkpoints.
        steps: steps between two checkpoints within an epoch; `none` saves after epochs only.
        keep: how many checkpoints stay, the newest.
    """

    every: Annotated[AtLeastOne, FREE] = 1
    steps: Annotated[AtLeastOne | None, BeforeValidator(_nothing), FREE] = None
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
        loss: relative L2, or relative H1 (values and first derivatives).
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
    loss: Annotated[str, MemberOf(LOSSES), FIXED] = "l2"
    rollout: Annotated[AtLeastOne | None, BeforeValidator(_nothing), FIXED] = None
    band: Band = Band()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    incremental: Incremental = Incremental()
    batch: Annotated[AtLeastOne, FIXED] = 16
    symmetries: Annotated[list[str], BeforeValidator(_texts), FIXED] = []
    precision: Annotated[PrecisionName, FREE] = "fp32"
    device: Annotated[DeviceName, FREE] = "auto"
    autotune: Annotated[bool, FIXED] = False
    seed: Annotated[int, Field(ge=0, lt=2**63), FIXED] = 0
    clip: Annotated[Positive | None, BeforeValidator(_nothing), FREE] = None
    bad_steps: Annotated[AtLeastOne, FREE] = 5
    eval: Eval = Eval()
    checkpoint: Checkpoint = Checkpoint()
    normalise: Normalise = Normalise()
    transforms: Transforms = {}

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
