"""Statistics of training samples in one pass, from which the scales of a normaliser are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from opdsl.diagnostics import fault
from opdsl.nn.points.batch import Values, all_values, map_values, select, split_samples
from opdsl.nn.points.packed import Packed
from opdsl.train.config.schema import Normalise, statistics_source
from opdsl.train.engine.loader import AnySampleSet, FieldValues, StreamedSet, head_of, own_weights
from opdsl.train.engine.rollout import Rollout, shift_window
from opdsl.train.metrics.norms import step_weights
from opdsl.train.metrics.quadrature import Samplings, field_weights
from opdsl.train.scaling.axis_rules import PointRule
from opdsl.train.scaling.moments import Moments
from opdsl.train.scaling.pointwise import PointwiseMaps
from opdsl.train.scaling.scales import (
    ChannelScale,
    PointScale,
    SampleScale,
    ValueScale,
    along,
    point_deviation,
    positive_deviation,
    sample_statistics,
)

CHUNK = 64  # samples that are looked at together, at most
CHUNK_BYTES = 32 << 20  # bytes of them; the same for every machine, on which the last digits depend
VECTOR = 2  # axes of values without a grid, (samples, channels)

PointRules = Mapping[str, Sequence[PointRule]]


@dataclass(frozen=True, slots=True)
class SampleChunk:
    """Some samples in a row.

    Attributes:
        inputs, outputs: by name, as in `SampleSet`.
        weights: quadrature weights by name, of the fields that have some.
        start: how many samples come before.
    """

    inputs: FieldValues
    outputs: FieldValues
    weights: Mapping[str, Values]
    start: int


def sample_chunks(train: AnySampleSet, samplings: Samplings | None = None) -> Iterator[SampleChunk]:
    """Yield the samples of a set once, some at a time; a streamed set is read so.

    Args:
        train: the samples.
        samplings: of fields on a sphere, see `opdsl.train.metrics.quadrature`.
    """
    for rows in _pieces(train):
        if isinstance(train, StreamedSet):
            some = train.read(rows)
            inputs, outputs, own = dict(some.inputs), dict(some.outputs), own_weights(some)
        else:
            inputs, outputs = (
                {k: _rows(x, rows) for k, x in side.items()}
                for side in (train.inputs, train.outputs)
            )
            own = {k: _rows(w, rows) if len(w) > 1 else w for k, w in own_weights(train).items()}
        weights = field_weights(inputs | outputs, samplings or {}, own)
        yield SampleChunk(inputs, outputs, weights, rows.start)


def _pieces(train: AnySampleSet) -> Iterator[range]:
    """Divide the samples into pieces of bounded size."""
    head = head_of(train)
    fields = [x for x in (*head.inputs.values(), *head.outputs.values()) if len(x)]
    size = sum(all_values(x).nbytes // len(x) for x in fields)
    step = max(1, min(CHUNK, CHUNK_BYTES // max(size, 1)))
    count = len(train) if isinstance(train, StreamedSet) else len(fields[0]) if fields else 0
    for start in range(0, count, step):
        yield range(start, min(start + step, count))


def _rows(x: Values, rows: range) -> Values:
    return select(x, rows) if isinstance(x, Packed) else x[rows.start : rows.stop]


@dataclass(slots=True)
class NormaliserFit:
    """The statistics of training samples, to which chunks are added one after the other.

    Attributes:
        kinds: which statistics.
        loop: how steps in time follow each other, if there is an axis of time.
        rules: of the axes of the grid of each input and output.
        maps: pointwise maps by name, which come before the statistics.
        moments: of each channel, by `in_` or `out_` and the name.
        points: of each point, likewise.
    """

    kinds: Normalise
    loop: Rollout | None = None
    rules: PointRules = field(default_factory=dict)
    maps: Mapping[str, PointwiseMaps] = field(default_factory=dict)
    moments: dict[str, Moments] = field(default_factory=dict)
    points: dict[str, Moments] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    vectors: set[str] = field(default_factory=set)

    def add_all(self, chunks: Iterable[SampleChunk]) -> NormaliserFit:
        """Add every chunk of an iterator, which is consumed once."""
        for chunk in chunks:
            self.add(chunk)
        return self

    def add(self, chunk: SampleChunk) -> None:
        """Add some samples.

        Raises:
            OpError: OP0670, statistics of points that each sample has of its own; OP0671, a value
                for which a map is not defined.
        """
        self.inputs, self.outputs = tuple(chunk.inputs), tuple(chunk.outputs)
        for name, x in (chunk.inputs | chunk.outputs).items():
            if name in self.maps:  # inputs are filled below a mask, and reach the network there
                weights = None if name in chunk.inputs else chunk.weights.get(name)
                refuse_outside(name, x, self.maps[name], chunk.start, weights)
        for name, x in chunk.inputs.items():
            steps = bool(self.loop and self.loop.timed(name, x))
            self._add("in", name, x, chunk, self.kinds.inputs, steps=steps)
        for name, x in chunk.outputs.items():
            if self.source:
                self._add_residual(name, x, self.source, chunk)
            else:
                self._add("out", name, x, chunk, self.kinds.outputs, steps=self.loop is not None)

    @property
    def idle(self) -> bool:
        """Whether nothing but the number of channels is wanted."""
        return self.kinds.inputs == self.kinds.outputs == "none" and not self.maps

    @property
    def source(self) -> str | None:
        """The input whose statistics the outputs take, sample by sample."""
        return statistics_source(self.kinds.outputs)

    def _add(
        self, side: str, name: str, x: Values, chunk: SampleChunk, kind: str, *, steps: bool
    ) -> None:
        mapped = self._mapped(name, x, steps=steps)
        if mapped.dim() == VECTOR:
            self.vectors.add(name)
        weights = _weights_of(chunk, name, x, len(mapped), steps=steps)
        key = f"{side}_{name}"
        if kind == "point" and mapped.dim() > VECTOR:
            if isinstance(x, Packed):
                raise own_points(name)
            _into(self.points, key, Moments.of(mapped, weights, points=True))
        else:
            _into(self.moments, key, Moments.of(mapped, weights))

    def _add_residual(self, name: str, x: Values, source: str, chunk: SampleChunk) -> None:
        """Add an output less the mean of its input, by its deviation, without constant samples."""
        weights = _weights_of(chunk, name, x, 0, steps=False)
        for i, (inputs, output) in enumerate(_steps(chunk, x, self.loop)):
            given = map_values(inputs[source], lambda v: self._map(source, v.double()))
            m, s = sample_statistics(given, self.rules.get(source, ()), None)
            counted = (s > 0).to(s.dtype)
            v = map_values(output, lambda y: self._map(name, y.double()))
            m, s, w = (along(y, v) for y in (m, torch.where(s > 0, s, 1.0), counted))
            w = w.amin(1, keepdim=True)
            if weights is not None:
                timed = self.loop is not None and weights.dim() > all_values(v).dim()
                w = w * (weights[:, min(i, weights.shape[1] - 1)] if timed else weights)
            _into(self.moments, f"residual_{name}", Moments.of((all_values(v) - m) / s, w))

    def _map(self, name: str, x: Tensor) -> Tensor:
        maps = self.maps.get(name)
        return maps(x) if maps is not None else x

    def _mapped(self, name: str, x: Values, *, steps: bool) -> Tensor:
        values = all_values(x)
        return self._map(name, (values.flatten(0, 1) if steps else values).double())

    def scales(self) -> tuple[dict[str, ValueScale], dict[str, ValueScale]]:
        """Return the scales of the inputs and of the outputs, by name."""
        ins = {k: self._input_scale(k) for k in self.inputs}
        return ins, {k: self._output_scale(k) for k in self.outputs}

    def _input_scale(self, name: str) -> ValueScale:
        kind, key = self.kinds.inputs, f"in_{name}"
        if kind == "sample" and name not in self.vectors:
            one = self.moments[key]
            size = positive_deviation(one.std, one.mean)
            zero, rules = torch.zeros_like(size), self.rules.get(name, ())
            number = sorted(self.inputs).index(name)
            return SampleScale(one.mean, size, zero, zero + 1, rules, number)
        return self._scale(key, name, "channel" if kind == "sample" else kind, exact=False)

    def _output_scale(self, name: str) -> ValueScale:
        source = self.source
        if source is None:
            return self._scale(f"out_{name}", name, self.kinds.outputs, exact=True)
        of_source, one = self._of_channels(f"in_{source}"), self.moments[f"residual_{name}"]
        size = positive_deviation(of_source.std, of_source.mean)
        std = positive_deviation(one.std, one.mean)
        rules, number = self.rules.get(source, ()), sorted(self.inputs).index(source)
        return SampleScale(of_source.mean, size, one.mean, std, rules, number)

    def _of_channels(self, key: str) -> Moments:
        return self.points[key].pooled() if key in self.points else self.moments[key]

    def _scale(self, key: str, name: str, kind: str, *, exact: bool) -> ValueScale:
        if key in self.points:
            one = self.points[key]
            channel = one.pooled()
            typical = positive_deviation(channel.std, channel.mean)
            std = point_deviation(one.std, one.mean, typical, exact=exact)
            return PointScale(one.mean, std, self.rules.get(name, ()))
        one = self.moments[key]
        if kind == "none":
            return ChannelScale(torch.zeros_like(one.mean), torch.ones_like(one.mean))
        return ChannelScale(one.mean, positive_deviation(one.std, one.mean))


def refuse_outside(
    name: str,
    x: Values,
    maps: PointwiseMaps,
    start: int = 0,
    weights: Values | None = None,
    file: str | None = None,
) -> None:
    """Refuse values for which a map is not defined.

    Args:
        name: of the input or output.
        x: its values, in physical units.
        maps: of it.
        start: how many samples come before.
        weights: points of weight zero do not count.
        file: of the values, for the error.

    Raises:
        OpError: OP0671, with the first sample and value.
    """
    bad = None if not maps.maps else maps.outside(all_values(x))
    if bad is None or not bool(bad.any()):
        return
    if isinstance(weights, Tensor) and not isinstance(x, Packed):
        bad = bad & (weights > 0)
    samples = split_samples(Packed(bad, x.sizes)) if isinstance(x, Packed) else bad.unbind(0)
    row = next((i for i, one in enumerate(samples) if bool(one.any())), None)
    if row is None:
        return
    value = float(split_samples(x)[row][samples[row]][0])
    word = next(m for m in maps.maps if m.word.above is not None)
    message = f"`{name}` is {value:g} in sample {start + row}, and `{word}` takes values above "
    message += f"{word.word.above:g} only"
    helps = (
        "leave such samples out, or take `asinh`, which every number has",
        f"or bound an input before: `{name} = [clip(1e-6, inf), {word}]`",
    )
    raise fault("OP0671", message, helps=helps, file=file)


def own_points(name: str) -> Exception:
    """Make the OP0670 for statistics of points that samples do not share."""
    message = f"statistics of each point of `{name}`, whose points each sample has of its own"
    helps = ("take `channel` or `sample` instead of `point`",)
    return fault("OP0670", message, helps=helps)


def _steps(
    chunk: SampleChunk, x: Values, loop: Rollout | None
) -> Iterator[tuple[FieldValues, Values]]:
    """Yield the inputs and one output of each step in time, the truth being fed back."""
    if loop is None:
        yield chunk.inputs, x
        return
    timed = {k for k, v in chunk.inputs.items() if loop.timed(k, v)}
    current = {k: v for k, v in chunk.inputs.items() if k not in timed}
    for i in range(all_values(x).shape[1]):
        yield current | {k: all_values(chunk.inputs[k])[:, i] for k in timed}, all_values(x)[:, i]
        for output, to in loop.feedback:
            if output in chunk.outputs:
                new = all_values(chunk.outputs[output])[:, i]
                current = current | {to: shift_window(current[to], new)}


def _into(found: dict[str, Moments], key: str, moments: Moments) -> None:
    found[key] = found[key] + moments if key in found else moments


def _weights_of(
    chunk: SampleChunk, name: str, x: Values, count: int, *, steps: bool
) -> Tensor | None:
    """Return the weights of a field, of each of its steps in time if those are samples.

    Args:
        chunk: the samples.
        name: of the field.
        x: its values.
        count: samples and steps together.
        steps: whether the values have an axis of time that becomes one of samples.
    """
    weights = chunk.weights.get(name)
    weights = step_weights(weights, x) if steps else weights
    if weights is None:
        return None
    values = all_values(weights)
    if steps and 1 < len(values) < count:
        return values.repeat_interleave(count // len(values), 0)
    return values
