"""Memory of a training step over time, for any choice of the units that are computed again.

Forward, values live until their last reader has run, and longer if the gradient needs them;
backward, a segment that is computed again first takes the memory of its forward pass. No torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

Segments = tuple[tuple[int, int], ...]  # first unit and the one behind the last, computed again


@dataclass(frozen=True, slots=True)
class StoredValue:
    """The result of a unit.

    Attributes:
        number: of the value.
        size: bytes of its storage; 0 if it is a view of an input of the unit.
        alias: number of the value whose storage it has, if it is a view.
        saved: whether the unit saves it for the gradient.
    """

    number: int
    size: int
    alias: int | None = None
    saved: bool = False


@dataclass(frozen=True, slots=True)
class UnitMemory:
    """Bytes that a unit takes, beyond its inputs.

    Attributes:
        reads: numbers and bytes of the values that it reads.
        result: its result.
        saved_values: numbers of the values it reads that it saves for the gradient.
        saved: bytes of other tensors that it saves.
        forward: peak of the forward pass that saves tensors, with result and saved tensors.
        discarding: peak of the forward pass that saves nothing, with the result.
        differentiable: whether the result depends on weights.
        backward: peak of the backward pass; what it frees of saved tensors meanwhile is subtracted.
        backward_alone: the peak where nothing else holds the values that it saves, so that they are
            freed on the way.
        gradients: numbers and bytes of the gradients of inputs; 0 bytes: the tensor is that of the
            gradient of the result.
        weight_gradients: bytes of the gradients of its weights.
        seconds: predicted time of the forward pass.
    """

    reads: tuple[tuple[int, int], ...]
    result: StoredValue
    saved_values: tuple[int, ...]
    saved: int
    forward: int
    discarding: int
    differentiable: bool = False
    backward: int = 0
    backward_alone: int | None = None
    gradients: tuple[tuple[int, int], ...] = ()
    weight_gradients: int = 0
    seconds: float = 0.0

    @property
    def saves(self) -> bool:
        """Whether the unit saves tensors for the gradient."""
        return bool(self.saved or self.saved_values or self.result.saved)

    def at(self, samples: int, twice: UnitMemory) -> UnitMemory:
        """Extrapolate from this profile, of one sample, and that of two."""

        def line(one: int, two: int) -> int:
            return max(0, one + (two - one) * (samples - 1))

        def pairs(
            one: Iterable[tuple[int, int]], two: Iterable[tuple[int, int]]
        ) -> tuple[tuple[int, int], ...]:
            sizes = dict(two)
            return tuple((n, line(x, sizes.get(n, x))) for n, x in one)

        return replace(
            self,
            reads=pairs(self.reads, twice.reads),
            result=replace(self.result, size=line(self.result.size, twice.result.size)),
            saved=line(self.saved, twice.saved),
            forward=line(self.forward, twice.forward),
            discarding=line(self.discarding, twice.discarding),
            backward=line(self.backward, twice.backward),
            backward_alone=None
            if self.backward_alone is None or twice.backward_alone is None
            else line(self.backward_alone, twice.backward_alone),
            gradients=pairs(self.gradients, twice.gradients),
            weight_gradients=line(self.weight_gradients, twice.weight_gradients),
            seconds=self.seconds + (twice.seconds - self.seconds) * (samples - 1),
        )


@dataclass(frozen=True, slots=True)
class StepEnds:
    """Bytes before and behind the units of a module.

    Attributes:
        before: the normalised inputs, which live through the forward pass.
        forward: peak between the last unit and the loss.
        kept: outputs and what the gradient of the loss needs.
        backward: peak of the backward pass from the loss to the outputs, beyond `kept`.
        after: bytes that are alive behind it: the outputs and their gradient.
    """

    before: int
    forward: int
    kept: int
    backward: int
    after: int

    def at(self, samples: int, twice: StepEnds) -> StepEnds:
        """Extrapolate from one sample to `samples`, given two."""
        names = ("before", "forward", "kept", "backward", "after")
        pairs = ((getattr(self, x), getattr(twice, x)) for x in names)
        return StepEnds(*(max(0, a + (b - a) * (samples - 1)) for a, b in pairs))


class _Ledger:
    """Storages that are alive, with the number of their holders."""

    def __init__(self, base: int) -> None:
        self.now = self.peak = base
        self.holders: Counter[object] = Counter()
        self.sizes: dict[object, int] = {}

    def hold(self, key: object, size: int) -> None:
        if not self.holders[key]:
            self.sizes[key] = size
            self.now += size
        self.holders[key] += 1
        self.peak = max(self.peak, self.now)

    def drop(self, key: object) -> None:
        if not self.holders[key]:
            return
        self.holders[key] -= 1
        if not self.holders[key]:
            self.now -= self.sizes.pop(key)

    def touch(self, more: int) -> None:
        self.peak = max(self.peak, self.now + more)


@dataclass(frozen=True, slots=True)
class _Segment:
    """Units that are computed again together.

    Attributes:
        first, end: the first unit, and the one behind the last.
        freed: the unit behind whose backward pass nothing of the segment is alive.
        trigger: the last unit that saves tensors: its backward pass begins the recomputation, which
            ends with its tensors.
        inner: numbers of the results of the units.
        reads: numbers of the values from outside.
    """

    first: int
    end: int
    freed: int
    trigger: int
    inner: frozenset[int]
    reads: frozenset[int]


def peak(
    units: Sequence[UnitMemory],
    ends: StepEnds,
    again: Segments = (),
    outputs: Iterable[int] = (),
    *,
    offloaded: bool = False,
    accumulates: bool = False,
) -> int:
    """Return the peak of a forward and a backward pass, without weights, optimizer and batch.

    Args:
        units: of the schedule.
        ends: around them.
        again: the segments that are computed again, ascending.
        outputs: numbers of the values that are outputs.
        offloaded: whether saved tensors wait in the memory of the host.
        accumulates: whether gradients of weights are added to those of an earlier pass, which the
            caller counts.
    """
    step = _Pass(units, ends, again, frozenset(outputs), offloaded, accumulates)
    return step.run()


class _Pass:
    """One forward and backward pass."""

    def __init__(
        self,
        units: Sequence[UnitMemory],
        ends: StepEnds,
        again: Segments,
        outputs: frozenset[int],
        offloaded: bool,
        accumulates: bool,
    ) -> None:
        self.units, self.ends, self.outputs = units, ends, outputs
        self.offloaded, self.accumulates = offloaded, accumulates
        parts = [part for x in again if (part := self._part(*x))]
        self.segment = {i: x for x in parts for i in range(x.first, x.end)}
        self.ledger = _Ledger(ends.before)
        self.sizes = {n: size for u in units for n, size in u.reads}
        self.sizes |= {u.result.number: u.result.size for u in units}
        self.root = {u.result.number: u.result.number for u in units}
        for u in units:
            if u.result.alias is not None:
                self.root[u.result.number] = self._root(u.result.alias)
        last: dict[int, int] = {}
        for i, u in enumerate(units):
            for n, _ in u.reads:
                last[n] = i
        self.dying: dict[int, list[int]] = {}
        for n, i in last.items():
            if n not in outputs:
                self.dying.setdefault(i, []).append(n)
        self.last = last

    def _part(self, first: int, end: int) -> _Segment | None:
        """Return a segment, or None for one that saves nothing: it keeps nothing alive."""
        units = range(first, end)
        saving = [i for i in units if self.units[i].saves]
        if not saving:
            return None
        inner = frozenset(self.units[i].result.number for i in units)
        reads = frozenset(n for i in units for n, _ in self.units[i].reads) - inner
        return _Segment(first, end, saving[0], saving[-1], inner, reads)

    def _root(self, n: int) -> int:
        return self.root.get(n, n)

    def run(self) -> int:
        self._forward()
        self._loss()
        self._backward()
        return self.ledger.peak

    # a value is held by the list of values under its own number, and by each unit that saves it

    def _forward(self) -> None:
        ledger, units = self.ledger, self.units
        produced = {u.result.number for u in units}
        for n in {n for u in units for n, _ in u.reads} - produced:
            # counted with `ends.before`, held by the caller and by the list of values
            ledger.holders[self._root(n)] += 2
            ledger.sizes[self._root(n)] = 0
        for i, u in enumerate(units):
            segment = self.segment.get(i)
            ledger.touch(u.discarding if segment else u.forward)
            self._hold_value(u.result.number)
            if segment is None:
                self._save(i)
            elif i == segment.first and not self.offloaded:
                for n in segment.reads:
                    self._hold_value(n)
            self._release(i, segment)

    def _hold_value(self, n: int) -> None:
        self.ledger.hold(self._root(n), self.sizes[self._root(n)])

    def _save(self, i: int) -> None:
        """Hold what a kept unit saves; offloaded tensors leave the device at once."""
        if not self.offloaded:
            for n in self._saved_values(i):
                self._hold_value(n)
            self.ledger.hold(("saved", i), self.units[i].saved)

    def _release(self, i: int, segment: _Segment | None) -> None:
        """Drop values behind their last reader; what a segment reads lives until its end."""
        if segment is None:
            for n in self.dying.get(i, ()):
                self.ledger.drop(self._root(n))
            return
        units = range(segment.first, segment.end)
        dead = [n for n in self.dying.get(i, ()) if n in segment.inner]
        if i == segment.end - 1:
            dead += [n for j in units for n in self.dying.get(j, ()) if n in segment.reads]
        for n in dead:
            self.ledger.drop(self._root(n))

    def _loss(self) -> None:
        ledger, ends = self.ledger, self.ends
        ledger.now -= ends.before  # normalised inputs that no unit saves are dropped
        produced = {u.result.number for u in self.units}
        for n in {n for u in self.units for n, _ in u.reads} - produced:
            root = self._root(n)
            saved = ledger.holders[root] > 1
            ledger.sizes[root] = self.sizes[n] if saved else 0
            ledger.now += ledger.sizes[root]
            ledger.drop(root)
        ledger.touch(ends.forward)
        ledger.hold("ends", ends.kept)
        ledger.touch(ends.backward)
        for n in self.outputs:
            self.ledger.drop(self._root(n))
        self.ledger.drop("ends")
        ledger.hold("ends", ends.after)

    def _backward(self) -> None:
        gradients: dict[int, object] = dict.fromkeys(self.outputs, "ends")
        for i in reversed(range(len(self.units))):
            u, segment = self.units[i], self.segment.get(i)
            if segment is not None and i == segment.trigger:
                self._recompute(segment)
            if u.result.number in gradients and u.differentiable:
                if segment is None and self.offloaded:
                    self._fetch(i)
                self._gradient(i, gradients)
            self._forget(i, segment)

    def _fetch(self, i: int) -> None:
        self.ledger.hold(("saved", i), self.units[i].saved)
        for n in self._saved_values(i):
            self.ledger.hold(("fetched", i, n), self.sizes[self._root(n)])

    def _recompute(self, segment: _Segment) -> None:
        """Run the forward pass of a segment again, up to its last saved tensor."""
        ledger = self.ledger
        if self.offloaded:
            for n in segment.reads:
                self._hold_value(n)
        units = range(segment.first, segment.trigger + 1)
        last = {n: i for i in units for n, _ in self.units[i].reads if n in segment.inner}
        for i in units:
            u, final = self.units[i], i == segment.trigger
            ledger.touch(max(u.forward - u.result.size, u.saved) if final else u.forward)
            if not final:
                self._hold_copy(u.result.number, segment)
            for n in self._saved_values(i):
                self._hold_copy(n, segment)
            ledger.hold(("saved", i), u.saved)
            for n in [n for n, j in last.items() if j == i]:
                self._drop_copy(n, segment)
        for n in {self.units[i].result.number for i in units[:-1]} - set(last):
            self._drop_copy(n, segment)

    def _saved_values(self, i: int) -> tuple[int, ...]:
        """Return the numbers of the values that a unit saves, maybe its own result."""
        u = self.units[i]
        return (*u.saved_values, u.result.number) if u.result.saved else u.saved_values

    def _hold_copy(self, n: int, segment: _Segment) -> None:
        if (root := self._root(n)) in segment.inner:
            self.ledger.hold(("copy", root), self.sizes[root])

    def _drop_copy(self, n: int, segment: _Segment) -> None:
        if (root := self._root(n)) in segment.inner:
            self.ledger.drop(("copy", root))

    def _gradient(self, i: int, gradients: dict[int, object]) -> None:
        """Run a unit backward, and hold the gradients of what it reads."""
        ledger, u = self.ledger, self.units[i]
        ledger.touch(self._rise(i))
        own = gradients.pop(u.result.number)
        for n, size in u.gradients:
            key: object = own if size == 0 else ("gradient", i, n)
            if n in gradients and size == 0:
                continue  # added to the gradient that is there
            if n in gradients:
                ledger.touch(size)
                continue
            ledger.hold(key, size)
            gradients[n] = key
        if own != "ends":
            ledger.drop(own)
        if not self.accumulates:
            ledger.hold(("weights", i), u.weight_gradients)

    def _rise(self, i: int) -> int:
        """Return the peak of the backward pass of a unit above the bytes that are alive."""
        u, segment = self.units[i], self.segment.get(i)
        if u.backward_alone is None or segment is not None or self.offloaded:
            return u.backward
        holders = Counter(self._root(n) for n in self._saved_values(i))
        alone = all(self.ledger.holders[k] == n for k, n in holders.items())
        return u.backward_alone if alone else u.backward

    def _forget(self, i: int, segment: _Segment | None) -> None:
        """Free what the gradient of a unit needed."""
        ledger = self.ledger
        ledger.drop(("saved", i))
        for n in self._saved_values(i):
            if segment is not None:
                self._drop_copy(n, segment)
            elif self.offloaded:
                ledger.drop(("fetched", i, n))
            else:
                ledger.drop(self._root(n))
        if segment is not None and i == segment.freed:
            for n in segment.reads:
                ledger.drop(self._root(n))
