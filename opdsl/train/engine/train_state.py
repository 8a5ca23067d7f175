"""The state of a run: captured for a checkpoint and restored, bit for bit.

Constants are not here: the order of samples and the learning rate are functions of seed,
epoch and step.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from opdsl.diagnostics import OpError, fault
from opdsl.train.config.changes import (
    Change,
    as_flat,
    between,
    flat,
    refuse_fewer_epochs,
    refuse_fixed,
    write_changes,
)
from opdsl.train.config.schema import Settings
from opdsl.train.engine.randomness import random_state, restore_random_state
from opdsl.train.engine.rates import Patience, Plateau, Rate, rates_of_change
from opdsl.train.engine.step import StepResult, TrainStep
from opdsl.train.run.checkpoint import FORMAT, State, malformed
from opdsl.train.run.listener import RunPlan
from opdsl.train.run.metrics_log import MetricsLog, MetricsRow
from opdsl.train.run.saving import StateLayouts
from opdsl.train.run.sharded.layout import StatePath


@dataclass(slots=True)
class RunPosition:
    """Position of a run; all of it is in the checkpoint.

    Attributes:
        epoch: finished epochs.
        position: finished steps of the current one.
        step: finished steps in all.
        loss_sum: losses of the current epoch times their samples.
        loss_count: samples in that sum.
        term_sums: as `loss_sum`, for each term of the loss.
        skipped: steps of the current epoch without a finite loss and gradient.
        skipped_before: such steps in the epochs before.
        bad: such steps in a row up to now.
        seconds: time of the current epoch in earlier sittings.
        best, best_epoch: as in `Outcome`.
        planned: epochs of the run as it began, over which `incremental` adds the modes.
        rate: the learning rate of the last step; None in checkpoints of earlier versions.
        norm_sum: norms of the gradients of the current epoch, before they are clipped.
        norm_count: steps in that sum.
        stop_best, stop_waited: the `Patience` of the setting `stop`.
        drop_best, drop_waited, drop_cooling, drop_factor: the `Plateau` of the schedule.
        modes: the greatest frequency of the next epoch, for `incremental` by loss or gradient.
        loss_before: the training loss of the last epoch.
        mode_gradients: squared gradients of the current epoch by frequency.
        changes: settings that changed while it went on, as `Change.data`.
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
    planned: int | None = None
    rate: float | None = None
    norm_sum: float = 0.0
    norm_count: int = 0
    stop_best: float | None = None
    stop_waited: int = 0
    drop_best: float | None = None
    drop_waited: int = 0
    drop_cooling: int = 0
    drop_factor: float = 1.0
    modes: int | None = None
    loss_before: float | None = None
    mode_gradients: list[float] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    term_sums: dict[str, float] = field(default_factory=dict)

    def count(self, result: StepResult) -> None:
        """Advance by one step; a step without an update is skipped."""
        self.step, self.position = self.step + 1, self.position + 1
        if not result.moved:
            self.skipped += 1
            self.bad += not result.overflow
            return
        self.loss_sum += result.loss * result.counted
        self.loss_count += result.counted
        for term, value in result.terms.items():
            self.term_sums[term] = self.term_sums.get(term, 0.0) + value * result.counted
        self.norm_sum, self.norm_count = self.norm_sum + result.norm, self.norm_count + 1
        self.bad = 0

    def row(self, rate: float, seconds: float) -> MetricsRow:
        """Return the row of metrics.jsonl for the epoch that ends, without validation errors."""
        row: MetricsRow = {
            "epoch": self.epoch + 1,
            "step": self.step,
            "lr": rate,
            "train_loss": None,
            "valid": None,
            "seconds": round(seconds, 3),
            "skipped": self.skipped,
        }
        return row | self.means()

    def means(self) -> MetricsRow:
        """Return the means over the epoch, for its row of metrics.jsonl."""
        row: MetricsRow = {}
        if self.loss_count:
            row["train_loss"] = self.loss_sum / self.loss_count
        if self.norm_count:
            row["grad_norm"] = self.norm_sum / self.norm_count
        if self.term_sums and self.loss_count:
            row["terms"] = {k: x / self.loss_count for k, x in self.term_sums.items()}
        return row

    def see(self, error: float, settings: Settings) -> None:
        """Count a validation error, which may end the run or lower the rate."""
        waiting = Patience(self.stop_best, self.stop_waited)
        waiting.see(error, settings.stop.min_change)
        self.stop_best, self.stop_waited = waiting.best, waiting.waited
        if settings.schedule.kind == "plateau":
            patience = Patience(self.drop_best, self.drop_waited)
            plateau = Plateau(self.drop_factor, patience, self.drop_cooling)
            plateau.see(error, settings.schedule)
            self.drop_best, self.drop_waited = patience.best, patience.waited
            self.drop_factor, self.drop_cooling = plateau.factor, plateau.cooling

    def close_epoch(self) -> None:
        """Count the epoch as finished and reset what is counted within one."""
        self.epoch += 1
        self.skipped_before += self.skipped
        self.position, self.skipped, self.seconds = 0, 0, 0.0
        self.loss_sum, self.loss_count, self.term_sums = 0.0, 0, {}
        self.norm_sum, self.norm_count = 0.0, 0


def plan_of(
    train_step: TrainStep, at: RunPosition, settings: Settings, steps: int, samples: int
) -> RunPlan:
    """Describe size and device of a run.

    Args:
        train_step, at, settings: of the run.
        steps: in an epoch.
        samples: for training.
    """
    return RunPlan(
        epochs=settings.schedule.epochs,
        first_epoch=at.epoch + 1,
        steps=steps,
        samples=samples,
        choice="",
        device=str(train_step.policy.device),
        precision=train_step.policy.name,
        parameters=parameter_count(train_step.module),
    )


def begin_log(
    log: MetricsLog, changes: Sequence[Change], epoch: int
) -> tuple[list[MetricsRow], int]:
    """Write the changes of settings; return the rows up to an epoch, and the damaged lines.

    Raises:
        OpError: OP0625, the disk refuses.
    """
    try:
        write_changes(log.path.parent, list(changes))
        return log.keep_until(epoch)
    except OSError as error:
        message = f"the metrics cannot be written: {error}"
        raise fault("OP0625", message, file=str(log.path)) from error


def parameter_count(module: nn.Module) -> int:
    """Count the real numbers that are learnt; a complex one is two."""
    learnt = (p for p in module.parameters() if p.requires_grad)
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in learnt)


def weights_state(train_step: TrainStep, at: RunPosition, meta: Mapping[str, str]) -> State:
    """Return the part of a state that `predict` needs."""
    return {
        "format": FORMAT,
        "module": dict(train_step.module.state_dict()),
        "normaliser": dict(train_step.normaliser.state_dict()),
        "epoch": at.epoch,
        "step": at.step,
        "meta": dict(meta),
    }


def capture(train_step: TrainStep, at: RunPosition, settings: Settings) -> State:
    """Return what a resumed run needs besides the weights, as tensors and plain values.

    While a mean of the weights is in use, the module's own weights are among it.
    """
    state: State = {}
    if average := train_step.average:
        state["average"] = average.state_dict()
        if average.set_aside:
            state["module"] = dict(train_step.module.state_dict()) | average.set_aside
    if objective := train_step.objective.state_dict():
        state["objective"] = objective
    return state | {
        "optimizer": train_step.optimizer.state_dict(),
        "scaler": train_step.scaler.state_dict(),
        "random": random_state(),
        "progress": asdict(at),
        "settings": settings.model_dump(mode="json"),
    }


def layouts_of(train_step: TrainStep) -> StateLayouts:
    """Return how a run divides the tensors of its state among processes.

    Weights and their means are divided as the parameter of their name, values of the optimizer as
    the parameter that they belong to.
    """
    by_name = dict(train_step.module.named_parameters())

    def layout(path: StatePath) -> Tensor | None:
        match path:
            case ("module", str(name)) | ("average", "values", str(name)):
                return by_name.get(name)
            case ("optimizer", "state", int(index), str()):
                return _parameter(train_step.optimizer, index)
            case ("optimizer", "parts", int(part), "state", int(index), str()):
                parts = getattr(train_step.optimizer, "parts", ())
                return _parameter(parts[part], index) if part < len(parts) else None
        return None

    return layout


def _parameter(optimizer: Optimizer, index: int) -> Tensor | None:
    """Return the parameter with an index in the state of an optimizer; None if there is none."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return parameters[index] if index < len(parameters) else None


def restore(state: State, train_step: TrainStep, settings: Settings, run: Path) -> RunPosition:
    """Put a state of `weights_state` and `capture` into a run, and return its position.

    The moments come from the checkpoint, the settings of the optimizer from the current run.

    Raises:
        OpError: OP0626, the weights do not fit the module.
    """
    try:
        train_step.module.load_state_dict(state["module"])
        train_step.normaliser.load_state_dict(state["normaliser"])
        if train_step.average:
            train_step.average.load_state_dict(state.get("average", {}))
    except RuntimeError as error:
        detail = " ".join(str(error).split())
        raise _other(run, f"the weights of the run do not fit the program: {detail}") from error
    if state["settings"]["optimizer"]["kind"] == settings.optimizer.kind:
        _restore_moments(train_step, state["optimizer"])
    if state["scaler"] and train_step.scaler.is_enabled():
        train_step.scaler.load_state_dict(state["scaler"])
    if "objective" in state:
        train_step.objective.load_state_dict(state["objective"])
    restore_random_state(state["random"])
    names = {f.name for f in fields(RunPosition)}
    position = RunPosition(**{k: v for k, v in state["progress"].items() if k in names})
    if position.planned is None:  # a checkpoint of an earlier version
        position.planned = state["settings"]["schedule"]["epochs"]
    _refuse_no_counts(position)
    return position


def resumed(
    state: State,
    train_step: TrainStep,
    settings: Settings,
    rate: Rate,
    meta: Mapping[str, str],
    data: tuple[str, str | None],
    run: Path,
) -> tuple[RunPosition, list[str]]:
    """Restore a state in a run that goes on, whose settings may have changed.

    Args:
        state: of `weights_state` and `capture`.
        train_step: receives weights and moments.
        settings, rate, meta: of the run from now on.
        data: fingerprints of the training and the validation data.
        run: the folder, for messages.

    Returns:
        The position, with the changes of settings, and messages about them.

    Raises:
        OpError: OP0621, the state has other content; OP0626, another program or other data; OP0629,
            a setting must not change.
    """
    after = as_flat(settings)
    with malformed(run):
        before = flat(state["settings"])
        refuse_other(state, meta, *data, run)
        refuse_fixed(before, after, run)
    with malformed(run):
        at = restore(state, train_step, settings, run)
        refuse_fewer_epochs(settings.schedule.epochs, at.epoch, at.position, run)
        rates = rates_of_change(before, rate, at.step)
        new = tuple(between(before, after, at.step, at.step // rate.steps, rates))
        at.changes.extend(x.data() for x in new)
        return at, [*changed_versions(state, meta), *map(str, new)]


def _refuse_no_counts(at: RunPosition) -> None:
    """Refuse counts of other types: the file may come from a stranger.

    Raises:
        TypeError: a value has another type than its default.
    """
    for f in fields(at):
        value = getattr(at, f.name)
        if not isinstance(f.default, int | float | None):
            continue
        if value is None and f.default is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"`{f.name}` is a {type(value).__name__}")
        if isinstance(f.default, int) and not (isinstance(value, int) and value >= 0):
            raise ValueError(f"`{f.name}` is no count")


def refuse_other(
    state: State, meta: Mapping[str, str], fingerprint: str, valid: str | None, run: Path
) -> None:
    """Refuse to resume a run with another program or other data.

    Args:
        fingerprint, valid: of the training data, and of the validation data if there are some.

    Raises:
        OpError: OP0626, naming what differs.
    """
    was, now = state["meta"].get("arch"), meta.get("arch")
    if was != now:
        raise _other(run, f"the run was begun with another program: arch {was}, now {now}")
    if state["fingerprint"] != fingerprint:
        message = "the run was begun with other training data: fingerprint "
        raise _other(run, f"{message}{state['fingerprint']}, now {fingerprint}")
    if state.get("valid", valid) != valid:  # checkpoints of earlier versions lack it
        message = "the run was begun with other validation data: fingerprint "
        raise _other(run, f"{message}{state['valid']}, now {valid}")


def changed_versions(state: State, meta: Mapping[str, str]) -> Iterator[str]:
    """Return messages about versions and other metadata that differ from the checkpoint."""
    for key in sorted(meta.keys() | state["meta"].keys()):
        was, now = state["meta"].get(key), meta.get(key)
        if was != now:
            yield f"`{key}` has changed since the run began: was {was}, now {now}"


def _restore_moments(train_step: TrainStep, state: State) -> None:
    groups = train_step.optimizer.param_groups
    now = [{k: v for k, v in group.items() if k != "params"} for group in groups]
    train_step.optimizer.load_state_dict(state)
    for group, settings in zip(train_step.optimizer.param_groups, now, strict=True):
        group.update(settings)


def _other(run: Path, message: str) -> OpError:
    helps = ("train it in another folder: `--out FOLDER`",)
    return fault("OP0626", message, file=str(run), helps=helps)
