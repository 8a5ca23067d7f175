"""Callbacks: code of the user that a training run calls at documented points."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from torch import nn
from torch.optim import Optimizer

from opdsl.diagnostics import Diagnostic, OpError, did_you_mean, fault
from opdsl.diagnostics.model import Help
from opdsl.train.config.schema import Settings
from opdsl.train.engine.loader import Batch
from opdsl.train.engine.step import StepResult
from opdsl.train.engine.train_state import RunPosition
from opdsl.train.metrics.error_sums import Metrics
from opdsl.train.run.listener import RunPlan
from opdsl.train.run.metrics_log import MetricsRow
from opdsl.train.scaling.normalise import Normaliser

CallbackState: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class ActiveRun:
    """A run in progress, as its callbacks see it; see `Callback` for an example.

    A callback may change the weights of `module` in place (under `torch.no_grad`), and options of
    `optimizer` other than the learning rate, which is set before each step. It may stop the run,
    and add numbers to the row of the epoch.

    Attributes:
        folder: the folder of the run.
        settings: all settings of the run.
        plan: size and device of the run.
        module: the module that learns; its inputs and outputs are normalised.
        normaliser: maps physical values to those of the module, and back.
        optimizer: the optimizer of the weights.
        history: the rows of metrics.jsonl up to now.
        note: shows the user a message of one line.
        epoch: the epoch in progress, from 1; between two epochs the one before, 0 at the start.
        position: finished steps of this epoch.
        step: finished steps in all.
        stop_reason: why the run stops after this epoch; None while it goes on.
    """

    folder: Path
    settings: Settings
    plan: RunPlan
    module: nn.Module
    normaliser: Normaliser
    optimizer: Optimizer
    history: Sequence[MetricsRow]
    note: Callable[[str], None]
    epoch: int = 0
    position: int = 0
    step: int = 0
    stop_reason: str | None = None
    _numbers: dict[str, float] = field(default_factory=dict)

    def stop(self, reason: str = "") -> None:
        """End the run after this epoch, as if it were the last one.

        The epoch is completed, validated and saved; the report is written. The run can go on with
        `resume`.

        Args:
            reason: a few words for the user.
        """
        self.stop_reason = reason or "a callback stopped the run"

    def log(self, name: str, value: float) -> None:
        """Add a number to the row of this epoch, under `callbacks`; a later value replaces it."""
        self._numbers[name] = float(value)

    def move_to(self, at: RunPosition, *, between: bool) -> None:
        """Update the position; `between` is true for hooks that may run between two epochs."""
        self.position, self.step = at.position, at.step
        self.epoch = at.epoch if between and not at.position else at.epoch + 1

    def logged(self) -> dict[str, float]:
        """Return and forget the numbers that were logged since the last epoch."""
        numbers, self._numbers = self._numbers, {}
        return numbers


class Callback:
    """Hooks of a training run; a subclass overrides those that it needs.

    An exception in a hook saves the state of the run and stops it with OP0741. Hooks run between
    two steps in the process of training, so a slow one delays it. What a callback counts belongs
    into `state_dict`, so that a resumed run goes on with it.

    >>> import numpy as np, opdsl
    >>> class Patience(opdsl.Callback):
    ...     def __init__(self, epochs):
    ...         self.epochs, self.best, self.since = epochs, float("inf"), 0
    ...
    ...     def on_validation(self, run, metrics):
    ...         self.since = 0 if metrics.rel_l2 < self.best else self.since + 1
    ...         self.best = min(self.best, metrics.rel_l2)
    ...         if self.since >= self.epochs:
    ...             run.stop(f"no better error in {self.epochs} epochs")
    >>> a = np.random.default_rng(0).normal(size=(20, 1, 16)).astype("float32")
    >>> more = {"epochs": 2, "callbacks": [Patience(5)], "out": FOLDER / "patience"}
    >>> run = opdsl.train(PROGRAM, data={"a": a, "u": a}, **more)
    >>> len(run.metrics.history)
    2
    """

    def on_start(self, run: ActiveRun) -> None:
        """Run before the first step, after a checkpoint has been restored."""

    def on_epoch_start(self, run: ActiveRun) -> None:
        """Run before the first step of each epoch; again where a run resumes within an epoch."""

    def on_batch(self, run: ActiveRun, batch: Batch) -> Batch | None:
        """Run before each step.

        Args:
            run: the run.
            batch: inputs and truth, (batch, channels, *grid) each, on the device, in the units of
                the loader; not to be changed in place, since data may live there.

        Returns:
            The batch to learn from instead; None for `batch`.
        """

    def on_step(self, run: ActiveRun, result: StepResult) -> None:
        """Run after each step, with its loss and whether the weights moved."""

    def on_validation(self, run: ActiveRun, metrics: Metrics) -> None:
        """Run after each validation, with its errors."""

    def on_checkpoint(self, run: ActiveRun, path: Path) -> None:
        """Run after a checkpoint has been written, with its folder."""

    def on_epoch(self, run: ActiveRun, row: MetricsRow) -> None:
        """Run after each epoch, with its row of metrics.jsonl."""

    def on_end(self, run: ActiveRun) -> None:
        """Run after the last step, before the report is made."""

    def on_error(self, run: ActiveRun, error: BaseException) -> None:
        """Run when the run ends by an exception or a signal; what it raises is a note only."""

    def state_dict(self) -> CallbackState:
        """Return the state for checkpoints: tensors and plain values."""
        return {}

    def load_state_dict(self, state: CallbackState) -> None:
        """Restore the state of a checkpoint, before `on_start`."""


HOOKS = tuple(x for x in vars(Callback) if x.startswith("on_"))
BETWEEN = ("on_start", "on_checkpoint", "on_end", "on_error")  # hooks between two epochs
STATE = ("state_dict", "load_state_dict")


class CallbackError(Exception):
    """A hook raised an exception; `__cause__` is that exception.

    Attributes:
        callback: the name of its class.
        hook: the name of the hook.
        reason: the exception in words, which other processes receive, too.
    """

    def __init__(self, callback: str, hook: str, reason: str) -> None:
        super().__init__(callback, hook, reason)
        self.callback, self.hook, self.reason = callback, hook, reason


class Callbacks:
    """The callbacks of a run: calls each hook of those that define it, in their order.

    Args:
        callbacks: of the run.
        first: whether this is the first process of the run; others call `on_batch` alone, since
            each has samples of its own.
    """

    def __init__(self, callbacks: Sequence[Callback] = (), *, first: bool = True) -> None:
        self.callbacks = tuple(callbacks)
        hooks = HOOKS if first else ("on_batch",)
        self._with: dict[str, list[Callback]] = {hook: [] for hook in HOOKS}
        self._with |= {hook: [x for x in callbacks if _defines(x, hook)] for hook in hooks}
        self._stateful = [x for x in callbacks if first and _defines(x, STATE[0])]
        self.run: ActiveRun | None = None

    def __bool__(self) -> bool:
        return bool(self.callbacks)

    @property
    def see_batches(self) -> bool:
        """Whether a callback has the hook `on_batch`."""
        return bool(self._with["on_batch"])

    @property
    def stop_reason(self) -> str | None:
        """Why the run stops after this epoch; None while it goes on."""
        return self.run.stop_reason if self.run else None

    def call(self, hook: str, *values: Any, at: RunPosition) -> None:
        """Call a hook of every callback that defines it.

        Raises:
            CallbackError: a callback raised an exception.
        """
        if self.run is None:
            return
        self.run.move_to(at, between=hook in BETWEEN)
        for callback in self._with[hook]:
            with _naming(callback, hook):
                getattr(callback, hook)(self.run, *values)

    def batch(self, batch: Batch, at: RunPosition) -> Batch:
        """Pass a batch through `on_batch` of each callback.

        Raises:
            CallbackError: a callback raised an exception, or returned something else.
        """
        if self.run is None:
            return batch
        self.run.move_to(at, between=False)
        for callback in self._with["on_batch"]:
            with _naming(callback, "on_batch"):
                batch = _batch_of(callback.on_batch(self.run, batch), batch)
        return batch

    def failed(self, error: BaseException) -> list[str]:
        """Call `on_error` of each callback; return a message for each that raises in it."""
        messages = []
        for callback in self._with["on_error"] if self.run else ():
            try:
                callback.on_error(self.run, error)  # type: ignore[arg-type]  # there is a run
            except Exception as second:  # noqa: BLE001  the first error is the one to report
                name = type(callback).__name__
                messages.append(f"the callback `{name}` raised {_words(second)} in `on_error`")
        return messages

    def logged(self) -> dict[str, Any]:
        """Return the part of the row of an epoch that callbacks have logged."""
        numbers = self.run.logged() if self.run else {}
        return {"callbacks": numbers} if numbers else {}

    def state(self) -> dict[str, Any]:
        """Return the part of a checkpoint with the state of each callback that defines one.

        Raises:
            CallbackError: a callback raised an exception.
        """
        states = []
        for callback in self._stateful:
            with _naming(callback, STATE[0]):
                states.append(dict(callback.state_dict()))
        return {"callbacks": states} if states else {}

    def silence(self, failure: CallbackError) -> None:
        """Call no hook any more; keep no states where `state_dict` itself has failed."""
        self._with = {hook: [] for hook in HOOKS}
        if failure.hook == STATE[0]:
            self._stateful = []

    def restore(self, states: Sequence[CallbackState]) -> str | None:
        """Restore states; return a message if the callbacks are not those of the checkpoint.

        Raises:
            OpError: OP0741, a callback raised an exception.
        """
        if not states:
            return None
        if len(states) != len(self._stateful):
            count = f"{len(states)} callbacks, and now {len(self._stateful)} have one"
            return f"the checkpoint holds the state of {count}: they begin anew"
        for callback, state in zip(self._stateful, states, strict=True):
            if _defines(callback, STATE[1]):
                try:
                    callback.load_state_dict(state)
                except Exception as error:
                    name = type(callback).__name__
                    message = f"the callback `{name}` raised {_words(error)} in `{STATE[1]}`"
                    raise fault("OP0741", message, file="callbacks") from error
        return None


@contextmanager
def _naming(callback: Callback, hook: str) -> Iterator[None]:
    """Turn an exception of a hook into a `CallbackError`."""
    try:
        yield
    except Exception as error:
        raise CallbackError(type(callback).__name__, hook, _words(error)) from error


def _batch_of(returned: object, batch: Batch) -> Batch:
    """Return what `on_batch` has returned, or `batch` for None."""
    if returned is None:
        return batch
    if not isinstance(returned, Batch):
        raise TypeError(f"it returns a {type(returned).__name__}, not a Batch or None")
    return returned


def stopped_by(failure: CallbackError, step: int, *, saved: bool, run: Path) -> OpError:
    """Return the OP0741 for a callback that raised an exception."""
    message = f"the callback `{failure.callback}` raised {failure.reason} in `{failure.hook}`"
    status = f"the state after step {step} is saved" if saved else "the state could not be saved"
    helps = (f"correct the callback, then go on with the run: `opdsl.resume({str(run)!r}, ...)`",)
    return fault("OP0741", message, notes=(status,), helps=helps, file=str(run))


def _words(error: BaseException | None) -> str:
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _defines(callback: object, name: str) -> bool:
    """Whether a callback has a method of its own, not that of `Callback`."""
    own = getattr(type(callback), name, None)
    return name in getattr(callback, "__dict__", {}) or (
        own is not None and own is not getattr(Callback, name)
    )


# ------------------------------------------------------------------------------------- checks


def checked_callbacks(callbacks: Sequence[Any]) -> tuple[Callback, ...]:
    """Return the callbacks, if each can be called as the run will call it.

    Any object with at least one hook is a callback.

    Raises:
        OpError: OP0740, one for each class instead of an object, unknown hook, or hook that takes
            other arguments.
    """
    if not isinstance(callbacks, list | tuple):
        message = f"`callbacks` takes a list, not a {type(callbacks).__name__}"
        raise fault("OP0740", message, helps=("write `callbacks=[MyCallback()]`",))
    faults = [x for callback in callbacks for x in _faults(callback)]
    if faults:
        raise OpError(*faults)
    return tuple(callbacks)


def _faults(callback: Any) -> list[Diagnostic]:
    if isinstance(callback, type):
        name = callback.__name__
        message = f"`{name}` is a class, and a callback is an object of one"
        return [_fault(message, f"write `callbacks=[{name}()]`")]
    hooks = [x for x in dir(callback) if x.startswith("on_")]
    if not hooks:
        message = f"a {type(callback).__name__} has no hook of a callback"
        names = ", ".join(f"`{x}`" for x in HOOKS)
        return [_fault(message, "derive it from `opdsl.Callback`", f"the hooks are {names}")]
    return [x for hook in hooks if (x := _hook_fault(callback, hook))]


def _hook_fault(callback: Any, hook: str) -> Diagnostic | None:
    name, own = type(callback).__name__, getattr(callback, hook)
    if hook not in HOOKS:
        nearest = did_you_mean(hook, HOOKS)
        names = ", ".join(f"`{x}`" for x in HOOKS)
        return _fault(f"no run calls `{hook}` of `{name}`", *nearest, f"the hooks are {names}")
    if not callable(own):
        return _fault(f"`{hook}` of `{name}` is a {type(own).__name__}, and a hook is a method")
    wanted = list(inspect.signature(getattr(Callback, hook)).parameters)[1:]
    try:
        signature = inspect.signature(own)
    except (TypeError, ValueError):  # a builtin without a signature
        return None
    try:
        signature.bind(*wanted)
    except TypeError:
        takes = f"`{hook}{signature}`".replace(" -> None", "")
        message = f"`{hook}` of `{name}` is called with ({', '.join(wanted)}), but it is {takes}"
        return _fault(message, f"write `def {hook}(self, {', '.join(wanted)})`")
    return None


def _fault(message: str, *helps: str | Help) -> Diagnostic:
    return fault("OP0740", message, helps=helps, file="callbacks").diagnostics[0]


def states_of(state: Mapping[str, Any]) -> list[CallbackState]:
    """Return the states of callbacks in a checkpoint; earlier versions stored none."""
    states = state.get("callbacks", [])
    if not isinstance(states, list) or not all(isinstance(x, dict) for x in states):
        raise TypeError("`callbacks` is no list of states")
    return states
