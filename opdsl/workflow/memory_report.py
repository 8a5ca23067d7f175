"""The plan of a training step's memory as lines of text and as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opdsl.diagnostics import OpError, fault
from opdsl.summary.table import memory

if TYPE_CHECKING:
    from opdsl.lower.memory.choice import Attempt, StateBytes
    from opdsl.lower.memory.planning import PlannedMemory

WIDTH = 44  # columns of the names of measures


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """The measures that were considered for a training step, and which of them fit.

    Attributes:
        model: name.
        limit: bytes.
        samples: in a batch.
        device: kind of device.
        state: bytes that no measure changes.
        planned: the measures.
    """

    model: str
    limit: int
    samples: int
    device: str
    state: StateBytes
    planned: PlannedMemory

    def lines(self) -> list[str]:
        """Return the plan as text, the head first."""
        device = "" if self.device != "cpu" else ", where no other memory can take tensors"
        head = f"memory  at most {memory(self.limit)}, batch {self.samples}, {self.device}{device}"
        return [head, *self._attempts(), *self._segments(), self._state(), *self._advice()]

    def _advice(self) -> list[str]:
        if self.planned.chosen is not None:
            return []
        return [f'  nothing fits: the least is `memory = "{_rounded_up(self._least.choice.peak)}"`']

    @property
    def _least(self) -> Attempt:
        return min(self.planned.attempts, key=lambda x: x.choice.peak)

    def _attempts(self) -> list[str]:
        chosen = self.planned.chosen
        rows = []
        for x in self.planned.attempts:
            verdict = "does not fit" if not x.fits else "chosen" if x is chosen else "fits"
            cost = f"{self._slower(x):+.0f} % time"
            name = measures(x)
            rows.append(f"  {name:<{WIDTH}}  {memory(x.choice.peak):>10}  {cost:>11}  {verdict}")
        return rows

    def _slower(self, x: Attempt) -> float:
        """Return the time that measures add, in percent of a step."""
        return 100 * x.choice.seconds / self.planned.seconds if self.planned.seconds else 0.0

    def _segments(self) -> list[str]:
        chosen = self.planned.chosen
        if chosen is None:
            return []
        paths = self.planned.paths
        return [
            f"  computed again: `{paths[a]}`" + (f" to `{paths[b - 1]}`" if b - a > 1 else "")
            for a, b in chosen.choice.segments
        ]

    def _state(self) -> str:
        parts = {
            "weights": self.state.weights,
            "gradients": self.state.gradients,
            "optimizer": self.state.optimizer,
            "batch": self.state.batch,
        }
        return "  of it " + ", ".join(f"{k} {memory(x)}" for k, x in parts.items())

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        chosen = self.planned.chosen
        return {
            "limit": self.limit,
            "batch": self.samples,
            "device": self.device,
            "weights": self.state.weights,
            "gradients": self.state.gradients,
            "optimizer": self.state.optimizer,
            "inputs_and_truth": self.state.batch,
            "step_seconds": self.planned.seconds,
            "attempts": [self._attempt_json(x) for x in self.planned.attempts],
            "chosen": None if chosen is None else self.planned.attempts.index(chosen),
        }

    def _attempt_json(self, x: Attempt) -> dict[str, Any]:
        choice, paths = x.choice, self.planned.paths
        return {
            "peak": choice.peak,
            "seconds": choice.seconds,
            "fits": x.fits,
            "computed_again": [list(paths[a:b]) for a, b in choice.segments],
            "micro_batches": choice.parts,
            "host_state": choice.host_state,
            "host_activations": choice.host_activations,
        }

    def refusal(self) -> OpError:
        """Return the OP0850 for a step that fits by no measure."""
        least = self._least
        size = memory(least.choice.peak)
        message = f"a training step of `{self.model}` takes at least {size}"
        message += f", and `memory` allows {memory(self.limit)}"
        notes = (f"the least memory: {measures(least)}", self._state().strip())
        helps = [f'allow more: `memory = "{_rounded_up(least.choice.peak)}"`']
        helps += ["train at a lower `data.resolution`, or with fewer channels or modes"]
        return fault("OP0850", message, notes=notes, helps=tuple(helps))


def measures(x: Attempt) -> str:
    """Describe the measures of an attempt: `2 segments computed again, 4 micro-batches`."""
    choice = x.choice
    count = len(choice.segments)
    words = [f"{count} segment{'' if count == 1 else 's'} computed again"] if count else []
    words += ["optimizer on the host"] if choice.host_state else []
    words += ["activations on the host"] if choice.host_activations else []
    words += [f"{choice.parts} micro-batches"] if choice.parts > 1 else []
    return ", ".join(words) or "everything kept"


def _rounded_up(size: int) -> str:
    """Return a limit that is not below `size`: `1.3 GB`."""
    unit, name = (10**9, "GB") if size >= 10**9 else (10**6, "MB")
    tenths = -(-10 * size // unit)
    return f"{tenths // 10}.{tenths % 10} {name}"
