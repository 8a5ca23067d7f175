"""The choice of measures by which a training step fits into a limit of memory.

Measures that leave every number of the step as it is come first: results that are computed again,
then tensors that wait in the memory of the host. Micro-batches come last, as their sums round
differently. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import ceil

from opdsl.lower.memory.segments import Recomputation, cheapest
from opdsl.lower.memory.timeline import Segments, StepEnds, UnitMemory, peak

CALL_SECONDS = (
    2e-4  # time that a unit takes in another call, forward and backward, whatever its size
)
HOST_BYTES_PER_SECOND = 1.2e10  # assumed, of pinned memory over PCIe


@dataclass(frozen=True, slots=True)
class PassMemory:
    """The memory of the passes of a training step at one batch.

    Attributes:
        units: in the order of the schedule.
        ends: memory before and behind the units: normalised inputs, the loss.
        outputs: numbers of the values that are outputs.
    """

    units: tuple[UnitMemory, ...]
    ends: StepEnds
    outputs: tuple[int, ...] = ()

    def at(self, samples: int, twice: PassMemory) -> PassMemory:
        """Extrapolate by `samples` - 1 times the difference of `twice` and this profile."""
        units = zip(self.units, twice.units, strict=True)
        return PassMemory(
            tuple(a.at(samples, b) for a, b in units),
            self.ends.at(samples, twice.ends),
            self.outputs,
        )


@dataclass(frozen=True, slots=True)
class StateBytes:
    """Bytes of a training step that do not depend on how it is computed.

    Attributes:
        weights: of the model, with a running mean of them if there is one.
        gradients: of the weights that are trained.
        optimizer: its state.
        largest: those of the largest weight.
        batch: inputs and truth of a whole batch.
    """

    weights: int
    gradients: int
    optimizer: int
    largest: int
    batch: int


@dataclass(frozen=True, slots=True)
class MemoryChoice:
    """Measures, and what a step takes with them.

    Attributes:
        segments: units that are computed again, as in `peak`.
        parts: micro-batches of a batch.
        host_state: whether the state of the optimizer waits in the memory of the host.
        host_activations: whether tensors saved for the gradient do.
        peak: bytes at the peak of the step.
        seconds: time that the measures add to a step, predicted.
    """

    segments: Segments
    parts: int
    host_state: bool
    host_activations: bool
    peak: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """A combination of measures that was considered.

    Attributes:
        choice: the measures, those of least time within the limit or else of the least memory.
        fits: whether they fit.
    """

    choice: MemoryChoice
    fits: bool


def attempts(
    profile: Callable[[int], PassMemory],
    state: StateBytes,
    samples: int,
    limit: int,
    *,
    host: bool,
    calls: int = 1,
) -> Iterator[Attempt]:
    """Yield measures in the order in which they are tried, until one fits.

    Args:
        profile: returns the memory of the passes for a number of samples.
        state: bytes that the measures do not change.
        samples: in a batch.
        limit: bytes.
        host: whether the device has a memory of its own, so that tensors can wait in the host's.
        calls: of the module in a step, as in a rollout.
    """
    options = ((False, False), (True, False), (True, True)) if host else ((False, False),)
    step = _Step(profile, state, limit, calls)
    kept = step.keeping(samples)
    yield Attempt(kept, kept.peak <= limit)
    if kept.peak <= limit:
        return
    for host_state, host_activations in options:
        attempt = step.attempt(samples, 1, host_state, host_activations)
        if attempt.choice != kept:  # with few units, nothing is better than to keep all
            yield attempt
        if attempt.fits:
            return
    for host_state, host_activations in options:
        found = [
            step.attempt(samples, parts, host_state, host_activations) for parts in _parts(samples)
        ]
        fitting = [x for x in found if x.fits]
        if fitting:
            yield min(fitting, key=lambda x: x.choice.seconds)
            return
        if found:
            yield min(found, key=lambda x: x.choice.peak)


def _parts(samples: int) -> Iterable[int]:
    """Return numbers of micro-batches, the least for each number of samples in the largest."""
    sizes = {ceil(samples / x) for x in range(2, samples + 1)}
    return sorted({ceil(samples / x) for x in sizes})


@dataclass(frozen=True, slots=True)
class _Step:
    """A training step whose memory is predicted for different measures."""

    profile: Callable[[int], PassMemory]
    state: StateBytes
    limit: int
    calls: int

    def keeping(self, samples: int) -> MemoryChoice:
        """Return the step without measures."""
        profile = self.profile(samples)
        size = self._total(self._passes(profile, (), 1, host=False), host_state=False)
        return MemoryChoice((), 1, False, False, size, 0.0)

    def attempt(
        self, samples: int, parts: int, host_state: bool, host_activations: bool
    ) -> Attempt:
        """Return the least recomputation that fits beside the other measures."""
        profile = self.profile(ceil(samples / parts))

        def total(segments: Segments) -> int:
            passes = self._passes(profile, segments, parts, host=host_activations)
            return self._total(passes, host_state=host_state)

        best, smallest = self._cheapest(profile, total)
        chosen = smallest if best is None else best
        seconds = parts * chosen.seconds + self._overhead(profile, parts)
        seconds += self._transfers(profile, parts, chosen, host_state, host_activations)
        choice = MemoryChoice(
            chosen.segments, parts, host_state, host_activations, chosen.peak, seconds
        )
        return Attempt(choice, best is not None)

    def _cheapest(
        self, profile: PassMemory, total: Callable[[Segments], int]
    ) -> tuple[Recomputation | None, Recomputation]:
        if self.calls == 1:
            return cheapest(profile.units, total, self.limit)
        # in a rollout each call is kept or computed again as a whole
        whole = ((0, len(profile.units)),)
        seconds = self.calls * sum(u.seconds for u in profile.units)
        both = Recomputation((), total(()), 0.0), Recomputation(whole, total(whole), seconds)
        best = next((x for x in both if x.peak <= self.limit), None)
        return best, min(both, key=lambda x: x.peak)

    def _passes(self, profile: PassMemory, segments: Segments, parts: int, *, host: bool) -> int:
        """Return the peak of forward and backward passes, with the gradients of weights."""
        later = self.state.gradients if parts > 1 or self.calls > 1 else 0
        size = later + peak(
            profile.units,
            profile.ends,
            segments if self.calls == 1 else (),
            profile.outputs,
            offloaded=host,
            accumulates=bool(later),
        )
        if self.calls == 1:
            return size
        held = (profile.ends.before if segments else sum(_saved(profile))) + profile.ends.kept
        return size + (self.calls - 1) * held

    def _total(self, passes: int, *, host_state: bool) -> int:
        state = self.state
        optimizer = 0 if host_state else state.optimizer
        moving = (
            state.optimizer * state.largest // max(1, state.weights) if host_state else optimizer
        )
        update = state.gradients + moving + 2 * state.largest
        return state.weights + state.batch + max(passes + optimizer, update)

    def _overhead(self, profile: PassMemory, parts: int) -> float:
        return CALL_SECONDS * len(profile.units) * (parts - 1) * self.calls

    def _transfers(
        self,
        profile: PassMemory,
        parts: int,
        chosen: Recomputation,
        host_state: bool,
        host_activations: bool,
    ) -> float:
        moved = 2 * self.state.optimizer if host_state else 0
        if host_activations:
            again = {i for x in chosen.segments for i in range(*x)}
            saved = (x for i, x in enumerate(_saved(profile)) if i not in again)
            moved += 2 * parts * sum(saved)
        return moved / HOST_BYTES_PER_SECOND


def _saved(profile: PassMemory) -> Iterator[int]:
    """Yield the bytes that each unit saves; a value is counted once."""
    sizes = {n: size for u in profile.units for n, size in u.reads}
    seen: set[int] = set()
    for u in profile.units:
        new = set(u.saved_values) - seen
        seen |= new
        yield u.saved + sum(sizes[n] for n in new)
