"""The loop over epochs and steps: learn, validate, write down, save, stop when asked.

Everything it needs has been prepared by `fit`; what changes is `train_state.RunPosition` and
the states of module, optimizer, scaler and random generators.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from math import isnan
from typing import Any

import torch

from opdsl.diagnostics import OpError, fault
from opdsl.parallel.agreement import all_do, first_does, largest
from opdsl.parallel.mesh import ALONE, ProcessMesh
from opdsl.train.config.changes import (
    Change,
)
from opdsl.train.config.schema import Settings
from opdsl.train.config.symmetries import Symmetry
from opdsl.train.engine.callbacks import (
    ActiveRun,
    CallbackError,
    Callbacks,
    states_of,
    stopped_by,
)
from opdsl.train.engine.failures import cure, diverged, too_large
from opdsl.train.engine.forward.symmetries import RandomSymmetries
from opdsl.train.engine.loader import Batch, DeviceLoader
from opdsl.train.engine.order import StepPart, on_device, permutation
from opdsl.train.engine.prefetch import LoadedBatch
from opdsl.train.engine.rates import Rate, stopped
from opdsl.train.engine.signals import Interrupted, SignalWatch
from opdsl.train.engine.step import StepResult, TrainStep
from opdsl.train.engine.train_state import (
    RunPosition,
    begin_log,
    capture,
    layouts_of,
    plan_of,
    resumed,
    weights_state,
)
from opdsl.train.engine.weights.mode_growth import count_gradient, grow, limit_modes
from opdsl.train.losses.expressions.objective import MetricExpressions
from opdsl.train.metrics.error_sums import Metrics
from opdsl.train.metrics.evaluate import measure
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.run.checkpoint import CheckpointKind, CheckpointStore, State, malformed
from opdsl.train.run.listener import Listener
from opdsl.train.run.metrics_log import MetricsLog, MetricsRow, score
from opdsl.train.run.saving import Checkpoints, SaveResult


@dataclass(slots=True)
class Training:
    """A training run: the parts that `fit` has prepared, and its position."""

    settings: Settings
    train_step: TrainStep
    loader: DeviceLoader
    valid: DeviceLoader | None
    grids: dict[str, GridAxes]
    rate: Rate
    store: CheckpointStore
    checkpoints: Checkpoints
    metrics_log: MetricsLog
    fingerprint: str
    valid_fingerprint: str | None
    meta: dict[str, str]
    watch: SignalWatch
    listener: Listener
    choice: str = ""
    symmetries: tuple[Symmetry, ...] = ()
    expressions: MetricExpressions | None = None
    callbacks: Callbacks = field(default_factory=Callbacks)
    mesh: ProcessMesh = ALONE
    at: RunPosition = field(default_factory=RunPosition)
    history: list[MetricsRow] = field(default_factory=list)
    metrics: Metrics | None = None
    notes: list[str] = field(default_factory=list)
    unsaved: str | None = None
    memory: tuple[str, ...] = ()
    limit: int | None = None
    stopped: str | None = None
    clock: float = 0.0

    # ------------------------------------------------------------------------------ the beginning

    def begin(self, *, resume: bool) -> None:
        """Restore the newest checkpoint, if the run resumes and there is one."""
        first_does(self.mesh, self.store.sweep)
        layouts = layouts_of(self.train_step)
        state = self.checkpoints.load("step", self.note, layouts) if resume else None
        if state is not None:
            all_do(self.mesh, partial(self._restore, state))
        elif resume:
            self.note("the folder holds no checkpoint: the run begins anew")
        if self.at.planned is None:
            self.at.planned = self.settings.schedule.epochs
        begin = partial(begin_log, self.metrics_log, self.changes, self.at.epoch)
        self.history, torn = first_does(self.mesh, begin)
        if torn:
            self.note(f"{torn} damaged lines of {self.metrics_log.path.name} were dropped")
        plan = plan_of(self.train_step, self.at, self.settings, self.rate.steps, self.loader.size)
        plan = replace(plan, choice=self.choice, memory=self.memory)
        self.listener.start(plan)
        step, run = self.train_step, self.store.run
        parts = step.module, step.normaliser, step.optimizer, self.history, self.note
        self.callbacks.run = ActiveRun(run, self.settings, plan, *parts)

    def _restore(self, state: State) -> None:
        """Restore a state; settings that differ from those in it are recorded as changes."""
        run, data = self.store.run, (self.fingerprint, self.valid_fingerprint)
        step, settings = self.train_step, self.settings
        self.at, notes = resumed(state, step, settings, self.rate, self.meta, data, run)
        with malformed(run):
            strangers = self.callbacks.restore(states_of(state))
        for text in filter(None, (*notes, strangers)):
            self.note(text)

    @property
    def changes(self) -> list[Change]:
        """The settings that changed while the run went on."""
        return [Change.of(x) for x in self.at.changes]

    # ----------------------------------------------------------------------------------- the loop

    def finish(self) -> None:
        """Run every epoch that is left."""
        try:
            self._run_epochs()
        except CallbackError as failure:
            self.callbacks.silence(failure)
            if self.at.position:
                self.at.seconds = time.perf_counter() - self.clock
            saved = self.save(wait=True)
            error = stopped_by(failure, self.at.step, saved=saved, run=self.store.run)
            raise error from failure.__cause__
        except BaseException as error:
            for text in self.callbacks.failed(error):
                self.note(text)
            if isinstance(error, torch.OutOfMemoryError):
                raise too_large(self.settings, self.train_step.policy.device) from error
            raise

    def _run_epochs(self) -> None:
        """Run the epochs between the hooks `on_start` and `on_end`."""
        self._call("on_start")
        while not self._is_over():
            self._epoch()
        if self.stopped:
            self.note(f"the run ends after epoch {self.at.epoch}: {self.stopped}")
        self._settle()
        self._call("on_end")
        if self.unsaved:
            message = f"the last checkpoint could not be written: {self.unsaved}"
            helps = ("free some space and go on with `--resume`",)
            raise fault("OP0625", message, file=str(self.store.folder), helps=helps)

    def _is_over(self) -> bool:
        """Return whether all epochs are finished, or `stop` or a callback has ended the run."""
        if self.at.epoch >= self.settings.schedule.epochs or self.stopped is not None:
            return True
        return stopped(self.settings, self.at.stop_waited)

    def _call(self, hook: str, *values: Any) -> None:
        """Call a hook of the callbacks, which see the position of the run.

        The first process calls it; all raise what it raises, and learn whether it ends the run.
        """
        if not self.callbacks:
            return

        def call() -> str | None:
            self.callbacks.call(hook, *values, at=self.at)
            return self.callbacks.stop_reason

        self.stopped = first_does(self.mesh, call, CallbackError)

    def _epoch(self) -> None:
        self.clock = time.perf_counter() - self.at.seconds
        self._limit()
        self._call("on_epoch_start")
        self.train_step.begin()
        order = permutation(self.settings.seed, self.at.epoch, self.loader.size)
        accumulate = self.settings.accumulate
        rest = torch.split(order, self.settings.batch)[self.at.position * accumulate :]
        parts = [StepPart.of(x, self.loader, self.mesh) for x in rest]
        loaded = self.batches([x.own for x in parts])
        for i in range(0, len(parts), accumulate):
            some = parts[i : i + accumulate]
            self._step(some, [next(loaded) for _ in some])
        loaded.close()
        average, planned = self.train_step.average, self.at.planned or 0
        if average:
            average.after_epoch(self.at.epoch, planned)
        with average.in_use() if average else nullcontext():
            row = self._row()
            self._keep_best(row)
        self._call("on_epoch", row)
        self._learn_from(row)
        row |= self.callbacks.logged()
        self.at.close_epoch()
        self._record(row)
        if self._due(self.settings.checkpoint.every):
            self.save()

    def _limit(self) -> None:
        """Limit modes and steps in time to those of this epoch, if the settings ask for it."""
        settings, step = self.settings, self.train_step
        epochs = self.at.planned or settings.schedule.epochs
        self.limit = limit_modes(settings.incremental, step.module, self.at, epochs)
        if settings.rollout is not None and step.loop is not None:
            steps = settings.curriculum.steps(self.at.epoch, epochs, settings.rollout)
            step.horizon = None if steps == settings.rollout else steps

    def _learn_from(self, row: MetricsRow) -> None:
        """Let the errors of an epoch end the run, lower the rate or add modes."""
        settings, at = self.settings, self.at
        if row["valid"] is not None and self.limit is None:
            at.see(score(row["valid"]), settings)
        grow(settings.incremental, at, self.limit, row["train_loss"])

    def batches(self, order: Sequence[torch.Tensor]) -> Generator[LoadedBatch]:
        """Load the samples of this process, batch by batch."""
        with self._readers():
            yield from self.loader.ahead(order)

    @contextmanager
    def _readers(self) -> Iterator[None]:
        """Save the run where a signal has ended the processes that read samples, too."""
        try:
            yield
        except OpError:
            if self.watch.caught is None:
                raise
            self._stop_on_signal()

    def _stop_on_signal(self) -> None:
        """Save and stop if a signal has asked for it; several processes stop at the same step.

        Raises:
            Interrupted: a signal came, to this process or to another one.
        """
        caught = largest(self.mesh, self.watch.caught or 0)
        if caught:
            self.at.seconds = time.perf_counter() - self.clock
            raise Interrupted(caught, saved=self.save(wait=True)) from None

    def _step(self, parts: Sequence[StepPart], loaded: Sequence[LoadedBatch]) -> None:
        """Take a step on some batches.

        Args:
            parts: the samples of each batch.
            loaded: the samples of this process.
        """
        at, settings = self.at, self.settings
        if self.mesh.world > 1:  # before the step: reading may have failed because of the signal
            self._stop_on_signal()
        at.rate = self.rate(at.step) * at.drop_factor
        batches = self._batches(parts, loaded)
        rows = torch.cat([x.rows for x in parts])
        step_result = self.train_step.learn(
            batches, at.rate, at.step, at.step / self.rate.steps, samples=len(rows)
        )
        if self.limit is not None and step_result.moved:
            count_gradient(settings.incremental, self.train_step.module, at)
        self._count(step_result, rows)
        self.listener.step(self.at.epoch + 1, self.at.position, step_result.loss)
        self._call("on_step", step_result)
        if self.mesh.world == 1:
            self._stop_on_signal()
        steps = settings.checkpoint.steps
        if steps and self.at.step % steps == 0:
            self.at.seconds = time.perf_counter() - self.clock
            self.save()

    def _batches(self, parts: Sequence[StepPart], loaded: Sequence[LoadedBatch]) -> list[Batch]:
        """Move the samples of a step to the device, transformed by symmetries and callbacks."""
        random = RandomSymmetries(self.symmetries, self.settings.seed)
        batches = on_device(self.loader, parts, loaded, random.of_step(self.at.step))
        if not self.callbacks.see_batches:
            return batches

        def changed() -> list[Batch]:
            return [replace(self.callbacks.batch(x, self.at), counts=x.counts) for x in batches]

        return all_do(self.mesh, changed, CallbackError)

    def _count(self, step_result: StepResult, rows: torch.Tensor) -> None:
        """Advance the position; count steps without an update, and stop after many."""
        self.at.count(step_result)
        if self.at.bad >= self.settings.bad_steps:
            advice = cure(self.train_step, self.loader, rows)
            raise diverged(self.at, step_result, self.rate.steps, rows, advice, self.store)

    # ------------------------------------------------------------------------- the end of an epoch

    def _due(self, every: int) -> bool:
        """Return whether something is due that happens each `every` epochs and after the last."""
        return self.at.epoch % every == 0 or self._is_over()

    def _row(self) -> MetricsRow:
        """Make the row of metrics.jsonl for the epoch that ends."""
        at, number = self.at, self.at.epoch + 1
        every, epochs = self.settings.eval.every, self.settings.schedule.epochs
        due = number % every == 0 or number >= epochs or self.stopped is not None
        metrics = self._validate() if due else None
        rate = self.rate(max(0, at.step - 1)) if at.rate is None else at.rate
        row = at.row(rate, time.perf_counter() - self.clock)
        row["valid"] = metrics.to_json() if metrics else None
        return row | self.train_step.record()

    def _validate(self) -> Metrics | None:
        step, batch = self.train_step, self.settings.batch
        if self.valid is not None:
            with self._readers():
                self.metrics = measure(
                    step.module,
                    step.normaliser,
                    self.valid,
                    self.grids,
                    batch,
                    step.loop,
                    step.band,
                    expressions=self.expressions,
                    mesh=self.mesh,
                )
            self._call("on_validation", self.metrics)
        return self.metrics

    def _keep_best(self, row: MetricsRow) -> None:
        """Keep the weights if the validation data say that they are the best so far."""
        errors = row["valid"]
        if errors is None or self.limit is not None:
            return
        error = score(errors)
        if not isnan(error) and (self.at.best is None or error < self.at.best):
            self.at.best, self.at.best_epoch = error, row["epoch"]
            best = self._weights() | {"epoch": row["epoch"], "row": row}
            self._write(best, "best")

    def _record(self, row: MetricsRow) -> None:
        self.history.append(row)
        if not self.mesh.writes:
            return
        try:
            self.metrics_log.append(row)
        except OSError as error:
            self.note(f"the metrics of epoch {row['epoch']} could not be written: {error}")
        self.listener.epoch(row)

    # -------------------------------------------------------------------------------- checkpoints

    def save(self, *, wait: bool = False) -> bool:
        """Write a checkpoint; a disk that refuses costs a note, not the run.

        Args:
            wait: until it is on the disk; several processes write in the background otherwise.
        """
        state = self._weights() | capture(self.train_step, self.at, self.settings)
        state |= first_does(self.mesh, self.callbacks.state, CallbackError)
        self._write(state, "step")
        if wait:
            self._settle()
        return self.unsaved is None

    def _weights(self) -> State:
        data = {"fingerprint": self.fingerprint, "valid": self.valid_fingerprint}
        return weights_state(self.train_step, self.at, self.meta) | data

    def _write(self, state: State, kind: CheckpointKind) -> None:
        self._report(self.checkpoints.save(state, self.at.step, kind))

    def _settle(self) -> None:
        """Wait until the checkpoint under way is on the disk."""
        self._report(self.checkpoints.settle())

    def _report(self, results: Sequence[SaveResult]) -> None:
        """Report how checkpoints went."""
        for result in results:
            if result.kind == "step":
                self.unsaved = result.reason
            if result.reason is None:
                self._call("on_checkpoint", result.path)
            else:
                text = f"no checkpoint at step {result.step}: {result.reason}"
                self.note(f"{text}; the earlier ones are intact")

    def note(self, text: str) -> None:
        """Report a message that does not stop the run."""
        self.notes.append(text)
        self.listener.note(text)
