"""The exchanges of one node, from the rule of its block and the spaces at its ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from opdsl.ir.dims import decided
from opdsl.ir.sharding.exchanges import (
    Exchange,
    ExchangeKind,
    all_to_all,
    fetched,
    gathered,
    halo_ranges,
    reduced,
    scattered,
)
from opdsl.ir.sharding.layout import FunctionLayout
from opdsl.ir.sharding.rules import Rule, RuleKind, Strategy
from opdsl.ir.spaces import Space
from opdsl.parallel.parts import parts
from opdsl.precisions import BYTES

Grid = tuple[int, ...]
Sent = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CallSetting:
    """What a call is planned for.

    Attributes:
        ranks: processes that share a sample.
        batch: samples of the call.
        dtype: name of the number format of values.
    """

    ranks: int
    batch: int
    dtype: str

    @property
    def value_bytes(self) -> int:
        """Bytes of a real number of a function."""
        return BYTES.get(self.dtype, BYTES["float32"])

    @property
    def wide_bytes(self) -> int:
        """Bytes of a real number of sums and coefficients, which are in float32 at least."""
        return max(self.value_bytes, BYTES["float32"])


@dataclass(frozen=True, slots=True)
class NodeEnd:
    """A function at an end of a node: an input or the result.

    Attributes:
        space: its space.
        layout: its layout.
        grid: the points of its domain on each axis.
        trained: whether it depends on weights, so that its gradient is computed.
    """

    space: Space
    layout: FunctionLayout
    grid: Grid
    trained: bool = True

    @property
    def axis(self) -> int:
        """The index of the sharded axis."""
        assert self.layout.axis is not None, "only sharded sides exchange points"
        return self.layout.axis

    @property
    def axis_name(self) -> str:
        """The name of the sharded axis."""
        return self.space.domain.axes[self.axis].name

    @property
    def points(self) -> int:
        """The points of the sharded axis."""
        return self.grid[self.axis]

    @property
    def rest(self) -> int:
        """The points of all other axes together."""
        return math.prod(self.grid) // max(1, self.points)

    @property
    def periodic(self) -> bool:
        """Whether the sharded axis closes on itself."""
        return self.space.domain.periodic[self.axis]

    @property
    def channels(self) -> int:
        """The number of channels."""
        return decided(self.space.channels)

    @property
    def numbers(self) -> int:
        """Real numbers at a point."""
        return self.channels * self.space.width


@dataclass(frozen=True, slots=True)
class NodeCall:
    """A node in a call: its rule, its ends, and what is planned.

    Attributes:
        path: the node.
        rule: the rule of its block.
        inputs: its inputs.
        result: its result.
        setting: the processes, the batch and the dtype.
    """

    path: str
    rule: Rule
    inputs: tuple[NodeEnd, ...]
    result: NodeEnd
    setting: CallSetting

    @property
    def sharded_inputs(self) -> tuple[NodeEnd, ...]:
        """The inputs of which each process has a part."""
        return tuple(x for x in self.inputs if x.layout.sharded)

    def parts(self, n: int) -> tuple[range, ...]:
        """Divide points, modes or channels among the processes."""
        return parts(n, self.setting.ranks)

    def point_bytes(self, side: NodeEnd, *, of_channel: bool = False) -> int:
        """Return the bytes at one point of the sharded axis, of all channels or of one."""
        numbers = side.space.width if of_channel else side.numbers
        return self.setting.value_bytes * self.setting.batch * side.rest * numbers

    def mode_bytes(self, side: NodeEnd) -> int:
        """Return the bytes of one coefficient of all channels and terms."""
        numbers = self.rule.terms * self.rule.width * side.channels
        return self.setting.wide_bytes * self.setting.batch * numbers

    def exchange(
        self, kind: ExchangeKind, both: tuple[Sent, Sent], text: str, *, trained: bool
    ) -> Exchange:
        """Return an exchange of this node; without weights before it there is no gradient."""
        forward, backward = both
        none = (0,) * len(forward)
        return Exchange(self.path, kind, forward, backward if trained else none, text)


def exchanges_of(call: NodeCall) -> tuple[Rule, tuple[Exchange, ...]]:
    """Return the rule with its strategy, and the exchanges of a node."""
    if call.rule.kind == "spectral":
        return _spectral(call)
    make = EXCHANGES.get(call.rule.kind)
    return call.rule, tuple(make(call)) if make and call.sharded_inputs else ()


def gather_output(path: str, side: NodeEnd, setting: CallSetting) -> Exchange | None:
    """Return the all-gather that makes an output whole; its gradient is the own part of it."""
    if not side.layout.sharded:
        return None
    size = setting.value_bytes * setting.batch * side.rest * side.numbers
    own = parts(side.points, setting.ranks)
    none = (0,) * setting.ranks
    return Exchange(path, "all_gather", gathered(own, size), none, f"the output, {side.space}")


# --- the exchanges of each kind of rule -----------------------------------------------------


def _halo(call: NodeCall) -> Iterator[Exchange]:
    width = call.rule.points
    for x in call.sharded_inputs:
        own = call.parts(x.points)
        need = [halo_ranges(p, width, x.points, periodic=x.periodic) for p in own]
        both = fetched(own, need, call.point_bytes(x))
        yield call.exchange("halo", both, f"{width} points on each side", trained=x.trained)


def _shift(call: NodeCall) -> Iterator[Exchange]:
    x, before = call.inputs[0], call.rule.before
    need = [
        (range(max(0, p.start - before), max(0, min(p.stop - before, x.points))),)
        for p in call.parts(call.result.points)
    ]
    # the other axes are cropped before points move, or padded after that
    smaller = min(x, call.result, key=lambda side: side.rest)
    both = fetched(call.parts(x.points), need, call.point_bytes(smaller))
    text = f"points that other processes have on `{call.result.space.domain}`"
    yield call.exchange("halo", both, text, trained=x.trained)


def _channels(call: NodeCall) -> Iterator[Exchange]:
    group = call.rule.group
    for x in call.sharded_inputs:
        size = group * call.point_bytes(x, of_channel=True)
        both = all_to_all(call.parts(x.points), call.parts(x.channels // group), size)
        text = f"{x.axis_name} whole, channels in parts"
        yield call.exchange("all_to_all", both, text, trained=x.trained)
    y = call.result
    size = group * call.point_bytes(y, of_channel=True)
    both = all_to_all(call.parts(y.channels // group), call.parts(y.points), size)
    text = f"channels whole, {y.axis_name} in parts"
    yield call.exchange("all_to_all", both, text, trained=any(x.trained for x in call.inputs))


def _reduce(call: NodeCall) -> Iterator[Exchange]:
    if not call.inputs[0].layout.sharded:
        return
    rule, setting = call.rule, call.setting
    samples = 1 if rule.per_batch else setting.batch
    trained = any(x.trained for x in call.inputs)
    if rule.maximum:
        size = setting.value_bytes * samples * rule.numbers
        sent = (size * (setting.ranks - 1),) * setting.ranks
        text = f"{rule.numbers} maxima of each sample"
        yield call.exchange("all_gather", (sent, sent), text, trained=trained)
        return
    sent = reduced(setting.wide_bytes * samples * rule.numbers, setting.ranks)
    of = "the batch, in training only" if rule.per_batch else "each sample"
    yield call.exchange("all_reduce", (sent, sent), f"{rule.numbers} sums of {of}", trained=trained)


def _gather(call: NodeCall) -> Iterator[Exchange]:
    for x in (call.inputs[i] for i in call.rule.whole):
        if x.layout.sharded:
            own, size = call.parts(x.points), call.point_bytes(x)
            both = gathered(own, size), scattered(own, size)
            yield call.exchange("all_gather", both, f"{x.space} whole", trained=x.trained)


EXCHANGES: dict[RuleKind, Callable[[NodeCall], Iterator[Exchange]]] = {
    "halo": _halo,
    "shift": _shift,
    "channels": _channels,
    "reduce": _reduce,
    "analysis": _reduce,
    "gather": _gather,
}

# --- convolutions by coefficients -------------------------------------------------------------


def _spectral(call: NodeCall) -> tuple[Rule, tuple[Exchange, ...]]:
    """Choose the strategy that sends the fewest bytes in a training step."""
    choices: dict[Strategy, tuple[Exchange, ...]] = {"partial_sums": _partial_sums(call)}
    if len(call.rule.counts) > 1:
        choices = {"transpose": _transpose(call), **choices}
    best = min(choices, key=lambda x: sum(y.step_bytes_per_rank for y in choices[x]))
    return replace(call.rule, strategy=best), choices[best]


def _transpose(call: NodeCall) -> tuple[Exchange, ...]:
    x, y, counts = call.inputs[0], call.result, call.rule.counts
    others = math.prod(counts) // counts[x.axis]
    modes = call.parts(others)
    there = all_to_all(call.parts(x.points), modes, call.mode_bytes(x))
    back = all_to_all(modes, call.parts(y.points), call.mode_bytes(y))
    texts = (
        f"{x.axis_name} whole, {others} modes of the others in parts",
        f"{others} modes whole, {y.axis_name} in parts",
    )
    return (
        call.exchange("all_to_all", there, texts[0], trained=x.trained),
        call.exchange("all_to_all", back, texts[1], trained=True),
    )


def _partial_sums(call: NodeCall) -> tuple[Exchange, ...]:
    x, y, count = call.inputs[0], call.result, math.prod(call.rule.counts)
    modes, size, out = call.parts(count), call.mode_bytes(x), call.mode_bytes(y)
    there = scattered(modes, size), gathered(modes, size)
    back = gathered(modes, out), scattered(modes, out)
    return (
        call.exchange("reduce_scatter", there, f"sums of {count} modes", trained=x.trained),
        call.exchange("all_gather", back, f"{count} modes", trained=True),
    )
