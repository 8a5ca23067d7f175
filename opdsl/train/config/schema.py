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
from opdsl.train.config.balance import BalanceSettings
from opdsl.train.config.data_section import Data
from opdsl.train.config.loss_section import LossText, MetricTexts
from opdsl.train.config.node_precision import NodePrecision
from opdsl.train.config.optimization import (
    Average,
    Curriculum,
    Incremental,
    Optimizer,
    ParameterGroup,
    Recompute,
    Schedule,
    Stop,
    WeightGroups,
    WeightPaths,
)
from opdsl.train.config.parallel_and_memory import MemoryLimit, Parallel
from opdsl.train.config.patches_section import Patches
from opdsl.train.config.section import (
    FIXED,
    FREE,
    AtLeastOne,
    MemberOf,
    NonNegative,
    Portion,
    Positive,
    Section,
    nothing,
    texts,
)
from opdsl.train.config.transforms import MAPS_IN_WORDS, PointwiseMap, read_maps
from opdsl.train.loggers import LOGGERS

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


MapTexts = Annotated[list[str], BeforeValidator(texts), AfterValidator(_maps)]
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


LoggerNames = Annotated[
    list[Annotated[str, MemberOf(LOGGERS)]],
    BeforeValidator(texts),
    FREE,
]


class Settings(Section):
    """Everything a run needs to know besides the module and the samples.

    Attributes:
        loss: `l2` is the relative L2 error, `h1` the relative H1 error (values and first
            derivatives) of all outputs; or a weighted sum of errors of outputs and of equations,
            `rel_l2(u) + 0.01 * mse(-div(a * grad(u)) - 1)`.
        rollout: steps in time, each from what the one before gave back by `feedback`.
        curriculum: fewer steps in time at the beginning of a run with `rollout`.
        pushforward: how the gradient passes a rollout: `none` lets it through all steps in time,
            `each` through the step of its own error only, `last` through the last step, of which
            the error alone is then the loss.
        noise: deviation of the normal noise that is added to the normalised inputs in training; in
            a rollout, to the inputs that come back by `feedback`, in the first step.
        batch: samples of which the gradient is computed at once.
        accumulate: batches in a step: their gradients are added up, weighted by their samples.
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
        groups: weights with a learning rate and a decay of their own: `groups { lift { paths =
            ["lift"] rate = 0.1 decay = 0.0 } }`. A path is that of a weight or of a part of the
            model, or the end or the middle of one, with `*` for any letters; of several groups with
            a weight the last one has it.
        freeze: paths, as in `groups`, of weights that stay as they begin.
        recompute: whether results inside the model are computed again for the gradient instead of
            being kept, which takes less memory and more time: `true` in segments of the whole
            model, and in each step in time of a rollout; or for parts of the model by their paths.
        memory: the most that the tensors of a training step may take, `memory = "8 GB"`: what is
            computed again for the gradient, what waits in the memory of the host, and the number of
            micro-batches are chosen so that it fits; `none` keeps everything.
        bad_steps: steps in a row without a finite loss and gradient after which the run stops.
        log: loggers that receive losses and errors besides metrics.jsonl: `log = tensorboard`, or a
            list of `tensorboard`, `wandb` and `mlflow`. A logger that fails does not stop the run.
        transforms: pointwise maps of inputs and outputs by name, which come before `normalise`:
            `transforms { a = log  p = [clip(0, 10), log] }`. `log` and `log1p` are log(x) and
            log(1 + x), `asinh(s)` is asinh(x / s), `clip(low, high)` bounds inputs. Predictions
            undo those of outputs, losses and errors stay in physical units.
    """

    data: Data = Data()
    loss: Annotated[LossText, FIXED] = "l2"
    balance: BalanceSettings = BalanceSettings()
    rollout: Annotated[AtLeastOne | None, BeforeValidator(nothing), FIXED] = None
    curriculum: Curriculum = Curriculum()
    pushforward: Annotated[Literal["none", "each", "last"], FIXED] = "none"
    noise: Annotated[NonNegative, FREE] = 0.0
    band: Band = Band()
    optimizer: Optimizer = Optimizer()
    groups: WeightGroups = {}  # noqa: RUF012  pydantic copies it
    freeze: WeightPaths = []  # noqa: RUF012  pydantic copies it
    schedule: Schedule = Schedule()
    average: Average = Average()
    stop: Stop = Stop()
    incremental: Incremental = Incremental()
    batch: Annotated[AtLeastOne, FIXED] = 16
    accumulate: Annotated[AtLeastOne, FIXED] = 1
    recompute: Recompute = False
    parallel: Parallel = Parallel()
    patches: Patches = Patches()
    memory: MemoryLimit = None
    symmetries: Annotated[list[str], BeforeValidator(texts), FIXED] = []  # noqa: RUF012  pydantic copies it
    precision: Annotated[PrecisionName, FREE] = "fp32"
    node_precision: NodePrecision = NodePrecision()
    device: Annotated[DeviceName, FREE] = "auto"
    autotune: Annotated[bool, FIXED] = False
    seed: Annotated[int, Field(ge=0, lt=2**63), FIXED] = 0
    clip: Annotated[Positive | None, BeforeValidator(nothing), FREE] = None
    bad_steps: Annotated[AtLeastOne, FREE] = 5
    log: LoggerNames = []  # noqa: RUF012  pydantic copies it
    eval: Eval = Eval()
    checkpoint: Checkpoint = Checkpoint()
    normalise: Normalise = Normalise()
    transforms: Transforms = {}  # noqa: RUF012  pydantic copies it

    @property
    def maps(self) -> dict[str, tuple[PointwiseMap, ...]]:
        """The pointwise maps of inputs and outputs by name."""
        return {k: read_maps(x) for k, x in self.transforms.items()}

    @property
    def weight_groups(self) -> dict[str, ParameterGroup]:
        """The groups of weights by name."""
        return {k: ParameterGroup(**x) for k, x in self.groups.items()}

    def rows(self) -> list[tuple[str, Any]]:
        """Every setting with its dotted name, in the order of the sections."""
        return [row for name in type(self).model_fields for row in _rows(name, getattr(self, name))]


def _rows(name: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Section):
        return [(name, value)]
    return [(f"{name}.{key}", getattr(value, key)) for key in type(value).model_fields]
