"""The progress of training as a callback: one call after each epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from opdsl.train.run.listener import Listener, RunPlan, SilentListener


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """An epoch that has just ended; a callback of `opdsl.train` receives one.

    Attributes:
        epoch: its number, from 1.
        epochs: how many there will be.
        train_loss: the mean loss of the epoch; None if no step was finite.
        valid_error: the relative L2 error on the validation data; None if not measured.
        learning_rate: of its last step.
        seconds: how long it took.

    >>> from opdsl import EpochRecord
    >>> print(EpochRecord(1, 10, 0.5, None, 1e-3, 0.25))
    epoch 1/10  train 0.5  rate 0.001  0.2 s
    """

    epoch: int
    epochs: int
    train_loss: float | None
    valid_error: float | None
    learning_rate: float
    seconds: float

    def __str__(self) -> str:
        words = [f"epoch {self.epoch}/{self.epochs}"]
        words += [] if self.train_loss is None else [f"train {self.train_loss:.3g}"]
        words += [] if self.valid_error is None else [f"valid {self.valid_error:.3g}"]
        return "  ".join([*words, f"rate {self.learning_rate:.3g}", f"{self.seconds:.1f} s"])


__all__ = ["EpochRecord", "Listener", "Progress", "RunPlan", "SilentListener", "as_listener"]

Progress: TypeAlias = Callable[[EpochRecord], object] | Listener  # a Listener hears every step too


class _EveryEpoch(SilentListener):
    """A listener that calls a function after each epoch."""

    def __init__(self, function: Callable[[EpochRecord], object]) -> None:
        self._function = function
        self._epochs = 0

    def start(self, plan: RunPlan) -> None:
        """Note the number of epochs."""
        self._epochs = plan.epochs

    def epoch(self, row: dict[str, Any]) -> None:
        """Call the function."""
        valid = row["valid"] or {}
        self._function(
            EpochRecord(
                epoch=row["epoch"],
                epochs=self._epochs,
                train_loss=row["train_loss"],
                valid_error=valid.get("rel_l2"),
                learning_rate=row["lr"],
                seconds=row["seconds"],
            )
        )


def as_listener(progress: Progress | None) -> Listener:
    """Return the listener that calls a function, or the listener itself; None is silent."""
    if progress is None:
        return SilentListener()
    return _EveryEpoch(progress) if callable(progress) else progress
