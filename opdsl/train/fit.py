"""Training, from a module and samples to weights on the disk.

In come an `nn.Module`, samples and settings; the run's folder receives `metrics.jsonl` and
`checkpoints/`. A run that was killed, interrupted or starved of disk goes on bit for bit: what
moves (weights, optimizer, scale, random generators, position) is in every checkpoint, and what
does not (the order of samples, the learning rate) is a function of seed, epoch and step.
"""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from opdsl.diagnostics import OpError, fault
from opdsl.train.checkpoint import State, Store
from opdsl.train.device import device_of
from opdsl.train.evaluate import Metrics, grids_of, measure
from opdsl.train.folder import lock, refuse_other_run
from opdsl.train.journal import Journal, Row
from opdsl.train.listener import Listener, Plan, Silence
from opdsl.train.losses import Grid
from opdsl.train.normalise import Normaliser
from opdsl.train.optimizers import optimizer_of
from opdsl.train.order import permutation
from opdsl.train.precision import policy_of
from opdsl.train.randomness import random_state, restore_random_state, seed_everything
from opdsl.train.rates import Rate
from opdsl.train.samples import Feed, Samples
from opdsl.train.sections import Settings
from opdsl.train.signals import Interrupted, Watch
from opdsl.train.step import Stepper, Taken


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run; the module holds the last weights.

    Attributes:
        run: its folder.
        epochs, steps, skipped: how many of each, over all sittings.
        history: the rows of metrics.jsonl.
        metrics: the last errors on each test set.
        best: the smallest relative L2 error on the first test set, and its epoch.
        normaliser: what `predict` and `evaluate` need beside the module.
        notes: what went wrong without stopping the run, and other things worth knowing.
    """

    run: Path
    epochs: int
    steps: int
    skipped: int
    history: list[Row]
    metrics: dict[str, Metrics]
    best: float | None
    best_epoch: int | None
    normaliser: Normaliser
    notes: tuple[str, ...]


def fit(  # noqa: PLR0913  the contract with the callers
    module: nn.Module,
    train: Samples,
    tests: Mapping[str, Samples],
    settings: Settings,
    run: Path,
    *,
    periodic: Mapping[str, tuple[bool, ...]],
    meta: Mapping[str, str],
    lengths: Mapping[str, tuple[float, ...]] | None = None,
    resume: bool = False,
    listener: Listener | None = None,
) -> Outcome:
    """Train `module` on `train`, testing on `tests`, in the folder `run`.

    Args:
        module: takes inputs by name, (batch, channels, *grid), returns a tensor or a dictionary.
        train: what to learn from.
        tests: by name; the first decides which weights are the best.
        settings: how.
        run: where metrics and checkpoints go.
        periodic: for each output, which axes of its grid are periodic.
        meta: strings kept in every checkpoint; a run goes on only with the same `meta["arch"]`.
        lengths: for each output, the lengths of its axes (H1); 1 if not given.
        resume: go on with the run in the folder, or begin if it has no checkpoint yet.
        listener: who wants to hear.

    Raises:
        OpError: OP0604, OP0613, OP0620 - OP0626, OP0630.
        Interrupted: a signal came; a checkpoint has been written.
    """
    grids = grids_of(train, periodic, lengths or {})
    _refuse_bad_samples(train, settings, grids)
    with ExitStack() as stack:
        _enter_folder(stack, run, resume=resume)
        watch = stack.enter_context(Watch())
        training = _Training.prepare(module, train, tests, settings, run, grids)
        training.meta, training.watch = dict(meta), watch
        training.listener = listener or Silence()
        training.begin(resume=resume)
        stack.callback(training.listener.end)
        return training.finish()


def _refuse_bad_samples(train: Samples, settings: Settings, grids: Mapping[str, Grid]) -> None:
    if len(train) == 0:
        raise fault("OP0613", "there are no samples to train on", file=train.name)
    flat = [name for name, grid in grids.items() if not grid.periodic]
    if settings.loss == "h1" and flat:
        message = f"`loss = h1` needs derivatives, and the output `{flat[0]}` has no grid"
        raise fault("OP0604", message, helps=("use `loss = l2`",))


def _enter_folder(stack: ExitStack, run: Path, *, resume: bool) -> None:
    """Lock the folder, then look whether it may be used."""
    try:
        stack.enter_context(lock(run))
    except OSError as error:
        raise fault("OP0625", f"the run folder cannot be used: {error}", file=str(run)) from error
    if not resume:
        refuse_other_run(run)


@dataclass(slots=True)
class _Progress:
    """Where a run stands; all of it is in the checkpoint.

    Attributes:
        epoch: finished epochs.
        position: finished steps of the current one.
        step: finished steps in all.
        loss_sum: losses of the current epoch times their samples.
        loss_count: samples in that sum.
        skipped: steps of the current epoch without a finite loss and gradient.
        skipped_before: the same in the epochs before.
        bad: such steps in a row up to now.
        seconds: time of the current epoch in earlier sittings.
        best, best_epoch: as in `Outcome`.
    """

    epoch: int = 0
    position: int = 0
    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    skipped: int = 0
    skipped_before: int = 0
    bad: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_epoch: int | None = None

    def close_epoch(self) -> None:
        self.epoch += 1
        self.skipped_before += self.skipped
        self.position, self.skipped, self.seconds = 0, 0, 0.0
        self.loss_sum, self.loss_count = 0.0, 0


@dataclass(slots=True)
class _Training:
    """A run in the making: what `fit` prepares, and the loop over epochs and steps."""

    settings: Settings
    stepper: Stepper
    feed: Feed
    tests: dict[str, Feed]
    test_grids: dict[str, dict[str, Grid]]
    rate: Rate
    store: Store
    journal: Journal
    fingerprint: str
    meta: dict[str, str] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)
    listener: Listener = field(default_factory=Silence)
    at: _Progress = field(default_factory=_Progress)
    history: list[Row] = field(default_factory=list)
    metrics: dict[str, Metrics] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unsaved: str | None = None
    clock: float = 0.0

    @classmethod
    def prepare(
        cls,
        module: nn.Module,
        train: Samples,
        tests: Mapping[str, Samples],
        settings: Settings,
        run: Path,
        grids: Mapping[str, Grid],
    ) -> "_Training":
        """Seed, move to the device, make optimizer and feeds."""
        policy = policy_of(settings.precision, device_of(settings.device))
        seed_everything(settings.seed)
        normaliser = Normaliser.fit(train, settings.normalise)
        module.to(policy.device, policy.weights)
        normaliser.to(policy.device, policy.weights)
        optimizer = optimizer_of(settings.optimizer, module.parameters())
        stepper = Stepper(
            module,
            normaliser,
            optimizer,
            policy.scaler(),
            policy,
            grids,
            settings.loss,
            settings.clip,
        )
        periodic = {name: grid.periodic for name, grid in grids.items()}
        lengths = {name: grid.lengths for name, grid in grids.items()}
        return cls(
            settings,
            stepper,
            Feed.of(train, policy),
            {name: Feed.of(test, policy) for name, test in tests.items()},
            {name: grids_of(test, periodic, lengths) for name, test in tests.items()},
            Rate(settings.schedule, settings.optimizer.lr, -(-len(train) // settings.batch)),
            Store(run, settings.checkpoint.keep),
            Journal(run),
            train.fingerprint,
        )

    # ------------------------------------------------------------------------------ the beginning

    def begin(self, *, resume: bool) -> None:
        """Take up the newest checkpoint, if there is one and it is wanted."""
        self.store.sweep()
        state = self.store.load("step", self.note) if resume else None
        if state is not None:
            self._refuse_other(state)
            self.restore(state)
            self._note_changes(state)
        elif resume:
            self.note("the folder holds no checkpoint: the run begins anew")
        try:
            self.history = self.journal.keep_until(self.at.epoch)
        except OSError as error:
            path, message = str(self.journal.path), f"the metrics cannot be written: {error}"
            raise fault("OP0625", message, file=path) from error
        self.listener.start(self._plan())

    def _plan(self) -> Plan:
        policy = self.stepper.policy
        return Plan(
            epochs=self.settings.schedule.epochs,
            first_epoch=self.at.epoch + 1,
            steps=self.rate.steps,
            samples=self.feed.size,
            tests=tuple(self.tests),
            device=str(policy.device),
            precision=policy.name,
            parameters=sum(_reals(p) for p in self.stepper.module.parameters()),
        )

    def _refuse_other(self, state: State) -> None:
        """OP0626 unless the checkpoint is of this program and these data."""
        was, now = state["meta"].get("arch"), self.meta.get("arch")
        if was != now:
            message = f"the run was begun with another program: arch {was}, now {now}"
            raise self._other(message)
        if state["fingerprint"] != self.fingerprint:
            message = "the run was begun with other training data: fingerprint "
            message += f"{state['fingerprint']}, now {self.fingerprint}"
            raise self._other(message)
        for key in sorted(self.meta.keys() | state["meta"].keys()):
            was, now = state["meta"].get(key), self.meta.get(key)
            if was != now:
                self.note(f"`{key}` has changed since the run began: was {was}, now {now}")

    def _other(self, message: str) -> OpError:
        helps = ("train it in another folder: `--out FOLDER`",)
        return fault("OP0626", message, file=str(self.store.run), helps=helps)

    # ----------------------------------------------------------------------------------- the loop

    def finish(self) -> Outcome:
        """Every epoch that is left."""
        try:
            while self.at.epoch < self.settings.schedule.epochs:
                self._epoch()
        except torch.OutOfMemoryError as error:
            raise self._too_large() from error
        if self.unsaved:
            message = f"the last checkpoint could not be written: {self.unsaved}"
            helps = ("free some space and go on with `--resume`",)
            raise fault("OP0625", message, file=str(self.store.folder), helps=helps)
        return self._outcome()

    def _epoch(self) -> None:
        self.clock = time.perf_counter() - self.at.seconds
        self.stepper.module.train()
        order = permutation(self.settings.seed, self.at.epoch, self.feed.size)
        batches = torch.split(order, self.settings.batch)
        while self.at.position < len(batches):
            self._step(batches[self.at.position])
        row = self._row()
        self._keep_best(row)
        self.at.close_epoch()
        self._record(row)
        if self._due(self.settings.checkpoint.every):
            self.save()

    def _step(self, rows: torch.Tensor) -> None:
        taken = self.stepper.take(*self.feed.take(rows), self.rate(self.at.step))
        self._count(taken, rows)
        self.listener.step(self.at.epoch + 1, self.at.position, taken.loss)
        steps = self.settings.checkpoint.steps
        if self.watch.caught is not None:
            self.at.seconds = time.perf_counter() - self.clock
            raise Interrupted(self.watch.caught, saved=self.save())
        if steps and self.at.step % steps == 0:
            self.at.seconds = time.perf_counter() - self.clock
            self.save()

    def _count(self, taken: Taken, rows: torch.Tensor) -> None:
        """Move the position; a step that did not move the weights is counted, many are the end."""
        at = self.at
        at.step, at.position = at.step + 1, at.position + 1
        if taken.moved:
            at.loss_sum, at.loss_count = (
                at.loss_sum + taken.loss * len(rows),
                at.loss_count + len(rows),
            )
            at.bad = 0
            return
        at.skipped += 1
        if not taken.overflow:
            at.bad += 1
        if at.bad >= self.settings.bad_steps:
            raise self._diverged(taken, rows)

    def _diverged(self, taken: Taken, rows: torch.Tensor) -> OpError:
        at, kept = self.at, self.store.found()
        what = "gradient" if abs(taken.loss) < float("inf") else "loss"
        message = f"{at.bad} steps in a row had no finite {what}, the last in epoch {at.epoch + 1}"
        message += f", step {at.position} of {self.rate.steps}"
        indices = ", ".join(str(i) for i in rows.tolist())
        notes = [f"samples of that step: {indices}"]
        notes += [f"the weights before are in {path}" for path in kept[:1]]
        helps = ("look at these samples", "lower `optimizer.lr`, or set `clip = 1.0`")
        return fault("OP0620", message, notes=tuple(notes), helps=helps, file=str(self.store.run))

    def _too_large(self) -> OpError:
        message = f"a batch of {self.settings.batch} does not fit into memory"
        device = str(self.stepper.policy.device)
        helps = ("lower `batch`", "or train at a lower `data.resolution`")
        return fault("OP0630", message, file=device, helps=helps)

    # ------------------------------------------------------------------------- the end of an epoch

    def _due(self, every: int) -> bool:
        """Every so many finished epochs, and after the last."""
        return self.at.epoch % every == 0 or self.at.epoch == self.settings.schedule.epochs

    def _row(self) -> Row:
        """The row of metrics.jsonl for the epoch that ends."""
        at, number = self.at, self.at.epoch + 1
        every, last = self.settings.eval.every, number == self.settings.schedule.epochs
        tested = self._test() if number % every == 0 or last else {}
        return {
            "epoch": number,
            "step": at.step,
            "lr": self.rate(max(0, at.step - 1)),
            "train_loss": at.loss_sum / at.loss_count if at.loss_count else None,
            "tests": {name: metrics.to_json() for name, metrics in tested.items()},
            "seconds": round(time.perf_counter() - self.clock, 3),
            "skipped": at.skipped,
        }

    def _test(self) -> dict[str, Metrics]:
        step, batch = self.stepper, self.settings.batch
        self.metrics = {
            name: measure(step.module, step.normaliser, feed, self.test_grids[name], batch)
            for name, feed in self.tests.items()
        }
        return self.metrics

    def _keep_best(self, row: Row) -> None:
        """Keep the weights if the first test set says that they are the best so far."""
        first = next(iter(row["tests"].values()), None)
        if first is None or not (self.at.best is None or first["rel_l2"] < self.at.best):
            return
        if first["rel_l2"] == first["rel_l2"]:
            self.at.best, self.at.best_epoch = first["rel_l2"], row["epoch"]
            self._write(self._weights() | {"epoch": row["epoch"], "row": row}, "best")

    def _record(self, row: Row) -> None:
        self.history.append(row)
        try:
            self.journal.append(row)
        except OSError as error:
            self.note(f"the metrics of epoch {row['epoch']} could not be written: {error}")
        self.listener.epoch(row)

    # -------------------------------------------------------------------------------- checkpoints

    def save(self) -> bool:
        """Write a checkpoint; a disk that refuses costs a note, not the run."""
        self.unsaved = self._write(self.capture(), "step")
        return self.unsaved is None

    def _write(self, state: State, kind: Any) -> str | None:
        try:
            self.store.save(state, self.at.step, kind)
        except OSError as error:
            reason = error.strerror or str(error)
            self.note(
                f"no checkpoint at step {self.at.step}: {reason}; the earlier ones are intact"
            )
            return reason
        return None

    def capture(self) -> State:
        """Everything that moves, as tensors and plain values."""
        return self._weights() | {
            "optimizer": self.stepper.optimizer.state_dict(),
            "scaler": self.stepper.scaler.state_dict(),
            "random": random_state(),
            "progress": asdict(self.at),
            "fingerprint": self.fingerprint,
            "settings": self.settings.model_dump(mode="json"),
        }

    def _weights(self) -> State:
        """What `predict` needs."""
        return {
            "format": 1,
            "module": dict(self.stepper.module.state_dict()),
            "normaliser": dict(self.stepper.normaliser.state_dict()),
            "epoch": self.at.epoch,
            "step": self.at.step,
            "meta": self.meta,
        }

    def restore(self, state: State) -> None:
        """The inverse of `capture`."""
        self._restore_weights(state)
        self._restore_optimizer(state)
        if state["scaler"] and self.stepper.scaler.is_enabled():
            self.stepper.scaler.load_state_dict(state["scaler"])
        restore_random_state(state["random"])
        known = {f.name for f in fields(_Progress)}
        self.at = _Progress(**{k: v for k, v in state["progress"].items() if k in known})

    def _restore_weights(self, state: State) -> None:
        try:
            self.stepper.module.load_state_dict(state["module"])
            self.stepper.normaliser.load_state_dict(state["normaliser"])
        except RuntimeError as error:
            detail = " ".join(str(error).split())
            raise self._other(f"the weights of the run do not fit the program: {detail}") from error

    def _restore_optimizer(self, state: State) -> None:
        """Its moments from the checkpoint, its settings as they are now."""
        optimizer = self.stepper.optimizer
        if state["settings"]["optimizer"]["kind"] != self.settings.optimizer.kind:
            self.note("the optimizer has changed since the run began: it starts without moments")
            return
        now = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
        optimizer.load_state_dict(state["optimizer"])
        for group, settings in zip(optimizer.param_groups, now, strict=True):
            group.update(settings)

    def _note_changes(self, state: State) -> None:
        """Settings that are not those of the checkpoint: allowed, but said."""
        was, now = _flat(state["settings"]), _flat(self.settings.model_dump(mode="json"))
        changed = [f"{k} {was.get(k)} -> {v}" for k, v in now.items() if v != was.get(k)]
        if changed:
            self.note(f"settings have changed since the run began: {', '.join(changed)}")

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.listener.note(text)

    def _outcome(self) -> Outcome:
        at = self.at
        return Outcome(
            run=self.store.run,
            epochs=at.epoch,
            steps=at.step,
            skipped=at.skipped_before,
            history=self.history,
            metrics=self.metrics or _last_tested(self.history),
            best=at.best,
            best_epoch=at.best_epoch,
            normaliser=self.stepper.normaliser,
            notes=tuple(self.notes),
        )


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """`{"optimizer": {"lr": 1}}` -> `{"optimizer.lr": 1}`."""
    sections = {s: v for s, v in settings.items() if isinstance(v, dict)}
    flat = {f"{s}.{k}": v for s, section in sections.items() for k, v in section.items()}
    return {k: v for k, v in settings.items() if k not in sections} | flat


def _last_tested(history: list[Row]) -> dict[str, Metrics]:
    """The metrics of a run that had nothing left to do."""
    tested = [row["tests"] for row in history if row["tests"]]
    return {name: Metrics(**values) for name, values in (tested or [{}])[-1].items()}


def _reals(p: nn.Parameter) -> int:
    return p.numel() * (2 if p.is_complex() else 1)
