"""`Run.adapt`: fine-tune a trained model on single instances by the equations of its loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from opdsl.compiler import read
from opdsl.data.bind.samples import Samples
from opdsl.diagnostics import fault
from opdsl.nn.points.batch import Values, all_values, concat_samples
from opdsl.syntax.parser import parse
from opdsl.train.engine.device import device_of
from opdsl.train.engine.loader import Batch, DeviceLoader
from opdsl.train.engine.precision import policy_of
from opdsl.train.engine.step import TrainStep
from opdsl.train.losses.expressions.nodes import WeightedTerm, leaves
from opdsl.workflow.datasets.binding import binding_of
from opdsl.workflow.datasets.reading.in_memory import as_sources
from opdsl.workflow.datasets.reading.sources import in_memory
from opdsl.workflow.folder.reading import PROGRAM
from opdsl.workflow.losses.objectives import objective_of
from opdsl.workflow.losses.terms import typed_losses
from opdsl.workflow.runs.evaluation import latitude_samplings
from opdsl.workflow.runs.prediction import outputs_of, stream_inputs
from opdsl.workflow.runs.prediction_files import peek, write_h5, write_npz, write_points

if TYPE_CHECKING:
    from opdsl.workflow.datasets.reading.in_memory import TrainingData
    from opdsl.workflow.errors import Warn
    from opdsl.workflow.runs.run import Run

ALL = 1 << 30  # samples of a file, which are read in one piece


@dataclass(frozen=True, slots=True)
class Adaptation:
    """The result of `Run.adapt`.

    Attributes:
        outputs: predictions after adaptation, by name, (samples, channels, *grid) or packed, in
            physical units.
        before, after: the loss of each sample before the first step and after the last.
        terms: the texts of the terms of the loss.
        run: the run with the weights for the last sample; its folder is as it was.
        samples: the inputs.
    """

    outputs: dict[str, Values]
    before: tuple[float, ...]
    after: tuple[float, ...]
    terms: tuple[str, ...]
    run: Run
    samples: Samples

    def write(self, path: Path) -> None:
        """Write the predictions to a new `.h5` or `.npz` file.

        Raises:
            OpError: OP0625, the file cannot be written.
        """
        graph, count = self.run.graph, len(self.samples)
        if path.suffix == ".npz":
            write_npz(path, [self.outputs], count)
        elif self.samples.places:
            write_points(path, graph, self.outputs, self.samples)
        else:
            dense = {k: all_values(x) for k, x in self.outputs.items()}
            write_h5(path, graph, [dense], count, self.samples.layout)


def adapt(
    run: Run,
    data: TrainingData,
    *,
    loss: str | None,
    steps: int,
    rate: float,
    warn: Warn,
) -> Adaptation:
    """Fine-tune a run on each sample of some inputs; see `Run.adapt`."""
    terms = equation_terms(run, loss)
    samples = _inputs(run, data, warn)
    outputs, before, after, adapted = [], [], [], run
    for row in range(len(samples)):
        adapted = _copy(run)
        one = samples.take([row])
        first, last = _fit(adapted, one, terms, steps, rate)
        before.append(first)
        after.append(last)
        outputs.append(outputs_of(adapted, one.inputs, one.model_points, model=adapted.module))
    joined = {k: concat_samples([x[k] for x in outputs]) for k in outputs[0]}
    texts = tuple(x.text for x in terms)
    return Adaptation(joined, tuple(before), tuple(after), texts, adapted, samples)


def equation_terms(run: Run, loss: str | None = None) -> tuple[WeightedTerm, ...]:
    """Return the terms of a loss that need no truth.

    Args:
        run: a trained run.
        loss: an expression; the loss of the run if not given.

    Raises:
        OpError: OP0700 to OP0708, what is wrong with the expression; OP0724, every term of it
            compares with the truth.
    """
    settings = run.settings if loss is None else run.settings.model_copy(update={"loss": loss})
    source, _ = read(run.folder / PROGRAM)
    typed = typed_losses(run.graph, settings, parse(source)[0], run.folder)
    terms = tuple(x for x in typed.loss or () if not _reads_truth(x))
    if terms and settings.rollout is None:
        return terms
    if terms:
        message = "a run with `rollout` is adapted to no instance: its steps follow the truth"
        raise fault("OP0724", message, file=str(run.folder))
    message = f"no term of `loss = {settings.loss}` can be computed without the truth"
    helps = ("name an equation: `--loss 'mse(darcy(a, u))'`",)
    raise fault("OP0724", message, helps=helps, file=str(run.folder))


def _reads_truth(term: WeightedTerm) -> bool:
    error = term.error
    functions = (error.value, error.target, *error.functions.values())
    return any(x.role == "truth" for f in functions for x in leaves(f))


def _inputs(run: Run, data: TrainingData, warn: Warn) -> Samples:
    """Read the inputs of a file, or bind arrays in memory.

    Raises:
        OpError: OP0610 to OP0615, they do not fit the model.
    """
    sources, settings = as_sources(run.graph, data)
    path = settings["path"]
    binding = binding_of(run.graph, run.settings, warn=warn)
    if in_memory(path):
        fields = sources.open(path, data_map=binding.data_map)
    else:
        fields, _ = peek(stream_inputs(run, path, None, ALL, binding.data_map).pieces)
    samples = binding.inputs(fields)
    if len(samples) == 0:
        raise fault("OP0613", "there are no samples to adapt to", file=path)
    return samples


def _copy(run: Run) -> Run:
    """Copy a run with weights of its own, without the band of the first ones."""
    return replace(run, operator=deepcopy(run.operator), calibration=None)


def _fit(
    run: Run, one: Samples, terms: Sequence[WeightedTerm], steps: int, rate: float
) -> tuple[float, float]:
    """Minimise the terms on a single sample, and return the loss before and after.

    Raises:
        OpError: OP0620, the loss is not finite.
    """
    policy = policy_of(run.settings.precision, device_of(run.device))
    normaliser = run.operator.normaliser
    units = normaliser.units()
    samplings = latitude_samplings(run.graph)
    loader = DeviceLoader.of(one, policy, samplings, units)
    batch = loader.take(torch.tensor([0]))
    weights = [x for x in run.module.parameters() if x.requires_grad]
    step = TrainStep(
        module=run.module,
        normaliser=normaliser,
        optimizer=torch.optim.Adam(weights, lr=rate),
        scaler=policy.scaler(),
        policy=policy,
        grids={},
        objective=objective_of(run.graph, tuple(terms)),
        clip=None,
        units=units,
    )
    losses = list(_steps(step, batch, steps, rate))
    run.operator.eval()
    if not math.isfinite(losses[-1]):
        message = f"the loss is {losses[-1]} after {steps} steps of adaptation"
        raise fault("OP0620", message, helps=(f"lower the rate: `--lr {rate / 10:g}`",))
    return losses[0], losses[-1]


def _steps(step: TrainStep, batch: Batch, steps: int, rate: float) -> Iterator[float]:
    """Yield the loss before each step, and after the last one."""
    step.module.eval()  # layers that draw random numbers are as in predictions
    for i in range(steps):
        yield step.learn(batch, rate * _cosine(i / steps), i).loss
    yield step.learn(batch, 0.0, steps).loss


def _cosine(done: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * done))
