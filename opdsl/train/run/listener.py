"""The interface by which a run reports its progress."""

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Size and device of a run, before its first step.

    Attributes:
        epochs: all of them.
        first_epoch: the first to be done now, from 1.
        steps: in an epoch.
        samples: for training.
        choice: the validation data in words; empty if nobody said.
        device: where.
        precision: the policy's name.
        parameters: real numbers to be learnt.
        memory: how a step fits into the limit of memory, a line each; empty without a limit.
    """

    epochs: int
    first_epoch: int
    steps: int
    samples: int
    choice: str
    device: str
    precision: str
    parameters: int
    memory: tuple[str, ...] = ()


class Listener(Protocol):
    """Callbacks of a run; an exception in one ends the run."""

    def start(self, plan: RunPlan) -> None:
        """Called before the first step."""

    def step(self, epoch: int, step: int, loss: float) -> None:
        """Called after step `step` (from 1) of epoch `epoch` (from 1); the loss may be infinite."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Called after an epoch, with its row of metrics.jsonl."""

    def note(self, text: str) -> None:
        """Called with a message for the user, one line."""

    def end(self) -> None:
        """Called once at the end, whatever the reason."""


class SilentListener:
    """A listener that ignores everything (`--quiet`)."""

    def start(self, plan: RunPlan) -> None:
        """Ignore it."""

    def step(self, epoch: int, step: int, loss: float) -> None:
        """Ignore it."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def end(self) -> None:
        """Ignore it."""
