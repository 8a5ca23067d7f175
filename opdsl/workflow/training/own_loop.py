"""`opdsl.prepare_training`: the parts of a training run, for a loop of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from opdsl.diagnostics import fault
from opdsl.ir.graph import Graph
from opdsl.train.config.schema import Settings
from opdsl.train.config.settings import ResolvedSettings
from opdsl.train.config.symmetries import Symmetry
from opdsl.train.engine.fit import normaliser_of, objective_of, steps_in_epoch, train_step_of
from opdsl.train.engine.forward.symmetries import RandomSymmetries
from opdsl.train.engine.limits.memory import apply_memory_plan
from opdsl.train.engine.loader import Batch, DeviceLoader
from opdsl.train.engine.order import permutation
from opdsl.train.engine.prefetch import LoadedBatch
from opdsl.train.engine.randomness import seed_everything
from opdsl.train.engine.rates import Rate
from opdsl.train.engine.step import TrainStep
from opdsl.train.losses.objective.function import LossFunction
from opdsl.train.metrics.error_sums import Metrics
from opdsl.train.metrics.evaluate import grids_of, measure
from opdsl.workflow.datasets.reading.in_memory import TrainingData, as_sources
from opdsl.workflow.datasets.reading.named_arrays import EXAMPLE
from opdsl.workflow.datasets.reading.sources import Sources
from opdsl.workflow.errors import Warn, ignore, warn_in_python
from opdsl.workflow.losses.run_losses import with_function_name
from opdsl.workflow.programs.overrides import settings_in_python
from opdsl.workflow.programs.program import Program, resolve_settings
from opdsl.workflow.runs.evaluation import grid_axes, latitude_samplings
from opdsl.workflow.runs.operator import Operator
from opdsl.workflow.training.checks.transforms import axis_rules
from opdsl.workflow.training.execution import prepare_run
from opdsl.workflow.training.memory_plan import memory_planner
from opdsl.workflow.training.train import DATA, program_of
from opdsl.workflow.views import ProgramSource


@dataclass(frozen=True, slots=True, eq=False)
class PreparedTraining:
    """The parts of a training run, ready for a loop of one's own.

    Attributes:
        graph: of the program.
        settings: of the run.
        step: learns from a batch; it holds module, normaliser and optimizer.
        loader: the training samples.
        valid: the validation samples; None if there are none.
        symmetries: by which batches are transformed at random.

    >>> import numpy as np, opdsl
    >>> a = np.random.default_rng(0).normal(size=(20, 1, 16)).astype("float32")
    >>> training = opdsl.prepare_training(PROGRAM, data={"a": a, "u": a}, batch=6)
    >>> training.step.begin()
    >>> results = [training.step.learn(batch, rate=1e-3) for batch in training.batches(epoch=0)]
    >>> [result.moved for result in results]
    [True, True, True]
    """

    graph: Graph
    settings: Settings
    step: TrainStep
    loader: DeviceLoader
    valid: DeviceLoader | None
    symmetries: tuple[Symmetry, ...] = ()

    @property
    def steps(self) -> int:
        """The number of steps in an epoch."""
        return steps_in_epoch(self.loader.size, self.settings)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Load all training samples once, in the order of an epoch, counted from 0.

        Each batch holds inputs and truth, (batch, channels, *grid) each, on the device.
        """
        settings = self.settings
        order = torch.split(permutation(settings.seed, epoch, self.loader.size), settings.batch)
        first = epoch * self.steps
        for i, (rows, loaded) in enumerate(zip(order, self.loader.ahead(order), strict=True)):
            yield self._on_device(rows, loaded, first + i // settings.accumulate)

    def _on_device(self, rows: torch.Tensor, loaded: LoadedBatch, step: int) -> Batch:
        random = RandomSymmetries(self.symmetries, self.settings.seed)
        return self.loader.on_device(rows, loaded, random.of_step(step))

    def rate(self, step: int) -> float:
        """Return the learning rate that the settings say for a step, counted from 0."""
        return Rate(self.settings.schedule, self.settings.optimizer.lr, self.steps)(step)

    def validate(self) -> Metrics | None:
        """Measure the errors on the validation samples, in physical units; None without any."""
        if self.valid is None:
            return None
        step = self.step
        batch = self.settings.batch
        metrics = measure(
            step.module, step.normaliser, self.valid, step.grids, batch, step.loop, step.band
        )
        step.begin()
        return metrics

    def operator(self) -> Operator:
        """Return module and normaliser as a map between functions in physical units."""
        return Operator(self.step.module, self.step.normaliser)  # type: ignore[arg-type]  # lowered

    def close(self) -> None:
        """End the processes that read samples ahead, if there are some."""
        for loader in (self.loader, self.valid):
            if loader is not None:
                loader.close()


def prepare_training(
    program: ProgramSource,
    *,
    data: TrainingData | None = None,
    valid: TrainingData | float | None = None,
    model: str | None = None,
    parameters: Mapping[str, object] | None = None,
    warn: Warn = warn_in_python,
    **settings: Any,
) -> PreparedTraining:
    """Prepare everything that `opdsl.train` trains with, for a loop of one's own.

    Nothing is written, and no test data are read.

    Args:
        program, data, valid, model, parameters, warn, settings: as for `opdsl.train`.

    Raises:
        OpError: as for `opdsl.train`.

    >>> import numpy as np, opdsl
    >>> a = np.random.default_rng(0).normal(size=(20, 1, 16)).astype("float32")
    >>> training = opdsl.prepare_training(PROGRAM, data={"a": a, "u": a}, batch=6, epochs=2)
    >>> training.steps, training.loader.size, training.valid.size
    (3, 18, 2)
    """
    settings, loss = with_function_name(settings)
    ready = program_of(program, model, parameters)
    warn(ready.checked.diagnostics)
    sources, places = as_sources(ready.graph, data, valid)
    options = settings_in_python(settings) + settings_in_python({"data": places}, DATA)
    resolved = resolve_settings(ready, options)
    return prepared_training(ready, resolved, sources=sources, warn=warn, loss=loss)


def prepared_training(
    program: Program,
    resolved: ResolvedSettings,
    *,
    source: Path | None = None,
    sources: Sources | None = None,
    warn: Warn = ignore,
    loss: LossFunction | None = None,
) -> PreparedTraining:
    """Prepare training from a program and its settings.

    Args:
        program, resolved, source, sources, warn, loss: as for `begin_run`.

    Raises:
        OpError: everything that can be wrong with data, settings and machine.
    """
    settings, graph = resolved.settings, program.graph
    if settings.data.path is None:
        message = f"nothing says which data `{graph.name}` shall learn from"
        raise fault("OP0602", message, helps=(f"pass them, {EXAMPLE}",), file=program.source.name)
    run = prepare_run(
        program, resolved, source=source, sources=sources, with_tests=False, warn=warn, loss=loss
    )
    train, loop = run.sets.division.train, run.sets.loop
    axes, samplings = grid_axes(graph), latitude_samplings(graph)
    seed_everything(settings.seed)
    frozen, grids = run.frozen, grids_of(train, {}, {}, loop, axes)
    normaliser = (
        frozen.normaliser
        if frozen
        else normaliser_of(train, settings, loop, samplings, axis_rules(graph), axes)
    )
    objective = None if frozen else run.losses.objective
    if objective is None:
        objective = objective_of(settings, grids, banded=frozen is not None)
    step = train_step_of(run.module, normaliser, settings, grids, loop, frozen, objective)
    if (planner := memory_planner(run.module, settings)) is not None:
        apply_memory_plan(planner, step, train, settings, samplings)
    loaders = [
        None if x is None else DeviceLoader.of(x, step.policy, samplings, step.units)
        for x in (train, run.sets.valid)
    ]
    assert loaders[0] is not None  # there are samples to train on
    return PreparedTraining(graph, settings, step, loaders[0], loaders[1], run.symmetries)
