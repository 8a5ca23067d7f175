"""Who wants to hear how a run goes."""

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What the run is about to do.

    Attributes:
        epochs: all of them.
        first_epoch: the first to be done now, from 1.
        steps: in an epoch.
        samples: for training.
        choice: the validation data in words; empty if nobody said.
        device: where.
        precision: the policy's name.
        parameters: real numbers to be learnt.
    """

    epochs: int
    first_epoch: int
    steps: int
    samples: int
    choice: str
    device: str
    precision: str
    parameters: int


class Listener(Protocol):
    """Hears of a run; what it raises ends the run."""

    def start(self, plan: RunPlan) -> None:
        """The first step comes next."""

    def step(self, epoch: int, step: int, loss: float) -> None:
        """Step `step` (from 1) of epoch `epoch` (from 1) is done; the loss may be infinite."""

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is done; the row of metrics.jsonl."""

    def note(self, text: str) -> None:
        """Something the user should know, in one line."""

    def end(self) -> None:
        """The run is over, for whatever reason."""


class SilentListener:
    """Hears nothing (`--quiet`)."""

    def start(self, plan: RunPlan) -> None:
        """Nothing."""

    def step(self, epoch: int, step: int, loss: float) -> None:
        """Nothing."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""
