"""How a run saves and loads its state: at once in one process, see `sharded.world` for several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from opdsl.train.run.checkpoint import CheckpointKind, CheckpointStore, Note, State
from opdsl.train.run.sharded.layout import StatePath

# the tensor of this run whose division a stored one is to have, by its path in the state
StateLayouts = Callable[[StatePath], Tensor | None]


def undivided(_path: StatePath) -> None:
    """Divide no tensor."""


@dataclass(frozen=True, slots=True)
class SaveResult:
    """How a checkpoint went.

    Attributes:
        step, kind: of the checkpoint.
        path: where it is; None if it could not be written.
        reason: why it could not be written.
    """

    step: int
    kind: CheckpointKind
    path: Path | None = None
    reason: str | None = None


class Checkpoints(Protocol):
    """Saves and loads the state of a run."""

    def save(self, state: State, step: int, kind: CheckpointKind) -> list[SaveResult]:
        """Save a state, or begin to; return the results that are known now."""

    def settle(self) -> list[SaveResult]:
        """Wait for what was begun, and return its result."""

    def load(self, kind: CheckpointKind, note: Note | None, layouts: StateLayouts) -> State | None:
        """Load the newest undamaged state; None if there is none."""

    def close(self) -> None:
        """Wait for what was begun, whatever becomes of it: the run ends."""


@dataclass(frozen=True, slots=True)
class LocalCheckpoints:
    """Saves and loads the state of a run in one process.

    Attributes:
        store: the checkpoints on the disk.
    """

    store: CheckpointStore

    def save(self, state: State, step: int, kind: CheckpointKind = "step") -> list[SaveResult]:
        """Write a state."""
        try:
            path = self.store.save(state, step, kind)
        except OSError as error:
            return [SaveResult(step, kind, reason=error.strerror or str(error))]
        return [SaveResult(step, kind, path)]

    def settle(self) -> list[SaveResult]:
        """Return nothing: `save` waits."""
        return []

    def close(self) -> None:
        """Do nothing: `save` waits."""

    def load(
        self,
        kind: CheckpointKind = "step",
        note: Note | None = None,
        layouts: StateLayouts = undivided,  # noqa: ARG002  one process has whole tensors
    ) -> State | None:
        """Load the newest undamaged state; None if there is none.

        Raises:
            OpError: OP0621, there are checkpoints, and all are damaged.
        """
        return self.store.load(kind, note)
