"""The settings of a run as frozen models: what a `train` block may say, and the defaults.

No torch and no device is looked at here: whether `fp16` runs on this machine is for `precision`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]

DeviceName = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]+)?)$")]


def _nothing(value: Any) -> Any:
    """`none` in a program is the absence of the setting."""
    return None if value == "none" else value


def _scaling(value: Any) -> Any:
    """`true` and `false` stand for the usual scaling and for none."""
    return {True: "channel", False: "none"}[value] if isinstance(value, bool) else value


Scaling = Annotated[Literal["channel", "none"], BeforeValidator(_scaling)]


class Section(BaseModel):
    """A closed set of settings: an unknown key is a mistake, a number is not a text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Data(Section):
    """`data darcy { path = "x.h5" resolution = 85 }`: which samples to learn from.

    Attributes:
        kind: the problem or the layout of the file; `auto` looks into the file.
        path: the training file.
        test: the test file or files; without it the last samples of `path` are kept for testing.
        resolution: points on each axis to train at; as in the file if not given.
        skip: samples of `path` to leave out at its beginning, as where others learnt from them.
        samples: training samples to use; all if not given.
        test_samples: test samples to use; all if not given.
        fields: which field of the file is which input and output, by name; `none` for an input
            that comes back and begins at zero, and for an output that the file does not have.
        start: steps in time to leave out at the beginning, as where a file repeats its input.
    """

    kind: str = "auto"
    path: str | None = None
    test: str | list[str] | None = None
    resolution: Count | None = None
    skip: Annotated[int, Field(ge=0)] = 0
    samples: Count | None = None
    test_samples: Count | None = None
    fields: dict[str, Any] | None = None
    start: Annotated[int, Field(ge=0)] = 0


class Optimizer(Section):
    """`optimizer adamw { lr = 1e-3 weight_decay = 1e-4 }`; betas of Adam, momentum of SGD."""

    kind: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: Positive = 1e-3
    weight_decay: NonNegative = 1e-4
    betas: Annotated[list[Momentum], Field(min_length=2, max_length=2)] = [0.9, 0.999]
    momentum: Momentum = 0.9


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

    kind: Literal["constant", "cosine", "step", "one_cycle"] = "cosine"
    epochs: Count = 100
    warmup: NonNegative | None = None
    final: Fraction = 0.0
    every: Count = 100
    gamma: Fraction = 0.5
    max_lr: Positive | None = None


class Band(Section):
    """`band { of = u width = w alpha = 0.1 }`: learn how far from the truth a prediction is.

    The output `width` learns the quantile 1 - alpha of |truth - of| at each point; what makes `of`
    is kept as it is.

    Attributes:
        of: the output that predicts; without it there is no band.
        width: the output that is half the width of the band.
        alpha: part of the points that may lie outside.
    """

    of: str | None = None
    width: str = "width"
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.1


class Incremental(Section):
    """`incremental { start = 4 until = 0.5 }`: begin with few Fourier modes and add the others.

    While it lasts no epoch counts as the best: its weights are those of a smaller model.

    Attributes:
        start: the greatest frequency in the first epoch; without it all modes take part.
        until: the part of the epochs after which all do.
    """

    start: Annotated[Count | None, BeforeValidator(_nothing)] = None
    until: Annotated[float, Field(gt=0, lt=1)] = 0.5

    def modes(self, epoch: int, epochs: int, greatest: int) -> int | None:
        """The greatest frequency in an epoch, counted from 0; None: all.

        Source: George et al. 2024, arXiv:2211.15188, section 4; the modes grow linearly here.
        """
        if self.start is None or self.start >= greatest:
            return None
        done = epoch / (self.until * epochs)
        if done >= 1 or epoch == epochs - 1:
            return None
        return self.start + int(done * (greatest - self.start))


class Eval(Section):
    """`eval { resolutions = [85, 141] every = 5 }`: where and how often to test, in epochs.

    Attributes:
        rollout: steps in time; as many as in training if not given.
    """

    resolutions: list[Count] = []
    every: Count = 1
    rollout: Count | None = None


class Checkpoint(Section):
    """`checkpoint { every = 10 keep = 2 }`: in epochs; `steps` saves within an epoch as well."""

    every: Count = 1
    steps: Annotated[Count | None, BeforeValidator(_nothing)] = None
    keep: Count = 2


class Normalise(Section):
    """`normalise { inputs = true outputs = false }`: mean 0 and deviation 1 for each channel."""

    inputs: Scaling = "channel"
    outputs: Scaling = "channel"


class Settings(Section):
    """Everything a run needs to know besides the module and the samples.

    Attributes:
        loss: relative L2, or relative H1 (values and first derivatives).
        rollout: steps in time, each from what the one before gave back by `feedback`.
        batch: samples in a step.
        precision: `mixed` is bf16 on a CUDA device that has it, fp32 everywhere else. Fourier
            layers stay in float32, but for those that end with `_spectral`.
        device: `auto` is CUDA, then MPS, then the CPU.
        autotune: whether to measure the kernels of the model at each resolution that is met, and
            take the fastest, instead of predicting which it is.
        seed: of the order of samples and of every random layer.
        clip: largest norm of the gradient; `none` for no bound.
        bad_steps: steps in a row without a finite loss and gradient after which the run stops.
    """

    data: Data = Data()
    loss: Literal["l2", "h1"] = "l2"
    rollout: Annotated[Count | None, BeforeValidator(_nothing)] = None
    band: Band = Band()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    incremental: Incremental = Incremental()
    batch: Count = 16
    precision: Literal[
        "fp32", "tf32", "mixed", "bf16", "bf16_spectral", "fp16", "fp16_spectral", "fp64"
    ] = "fp32"
    device: DeviceName = "auto"
    autotune: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    clip: Annotated[Positive | None, BeforeValidator(_nothing)] = None
    bad_steps: Count = 5
    eval: Eval = Eval()
    checkpoint: Checkpoint = Checkpoint()
    normalise: Normalise = Normalise()

    def rows(self) -> list[tuple[str, Any]]:
        """Every setting with its dotted name, in the order of the sections."""
        return [row for name in type(self).model_fields for row in _rows(name, getattr(self, name))]


def _rows(name: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Section):
        return [(name, value)]
    return [(f"{name}.{key}", getattr(value, key)) for key in type(value).model_fields]


# the keys that only some kinds of a section use; every other key suits every kind
ONLY_FOR: dict[str, dict[str, tuple[str, ...]]] = {
    "optimizer": {"betas": ("adamw", "adam"), "momentum": ("sgd",)},
    "schedule": {
        "warmup": ("constant", "cosine", "step", "one_cycle"),
        "final": ("cosine", "one_cycle"),
        "every": ("step",),
        "gamma": ("step",),
        "max_lr": ("one_cycle",),
    },
}
