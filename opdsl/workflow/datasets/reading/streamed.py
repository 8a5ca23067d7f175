"""`StreamedSamples`: samples that stay in their files and are read batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from opdsl.data.bind.masks import added, empty_samples, empty_warning, missing_note
from opdsl.data.bind.samples import Fields, MissingCount, Samples
from opdsl.data.bind.suspects import (
    SizesAndEnds,
    far_samples,
    sizes_and_ends,
    zero_truth_warning,
    zero_truths,
)
from opdsl.data.derive.coarsen import Layout
from opdsl.data.io.joining import FieldsDigest
from opdsl.data.io.memory_budget import data_budget, too_large_for_memory
from opdsl.diagnostics import Diagnostic
from opdsl.nn.points.batch import all_values
from opdsl.workflow.datasets.reading.handles import Handle
from opdsl.workflow.datasets.reading.masks import MASKS

PIECE = 32 << 20  # bytes of samples that are looked at together
MOST = 64  # samples of them

Bind = Callable[[Fields], Samples]


@dataclass(frozen=True, slots=True, eq=False)
class StreamedSamples:
    """Samples of a data set that is read batch by batch; the attributes are those of `Samples`.

    Attributes:
        handle: reads the data set.
        bind: makes inputs and outputs of the fields of some samples.
        rows: the samples of the data set that these are.
        head: the first of them.
        workers: processes that read ahead.
    """

    handle: Handle
    bind: Bind
    rows: range
    head: Samples
    name: str
    fingerprint: str
    workers: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def source(self) -> str:
        """The path as the user wrote it."""
        return self.head.source

    @property
    def resolution(self) -> tuple[int, ...]:
        """Points on each axis of a grid."""
        return self.head.resolution

    @property
    def layout(self) -> Layout:
        """Which points a coarser grid may keep."""
        return self.head.layout

    @property
    def extent(self) -> str:
        """Number of points as text."""
        return self.head.extent

    @property
    def windows(self) -> int:
        """How many samples in a row are windows of one trajectory."""
        return self.head.windows

    def first(self, n: int) -> StreamedSamples:
        """Return the first n samples, or all if there are fewer."""
        return replace(self, rows=self.rows[:n])

    def last(self, n: int) -> StreamedSamples:
        """Return the last n samples, or all if there are fewer."""
        return replace(self, rows=self.rows[max(0, len(self) - n) :])

    def few(self) -> Samples:
        """Read some samples, evenly spaced, as many as are looked at together."""
        count = len(next(_pieces(self.handle.read([0]), len(self))))
        return self.read([i * (len(self) - 1) // max(1, count - 1) for i in range(count)])

    def read(self, rows: Sequence[int]) -> Samples:
        """Read samples by their place among these.

        Raises:
            OpError: OP0610, the values cannot be read.
        """
        return self.bind(self.handle.read([self.rows[i] for i in rows]))


AnySamples = Samples | StreamedSamples


def loaded(samples: AnySamples) -> Samples:
    """Return samples in memory, all of them.

    Raises:
        OpError: OP0610, they do not fit.
    """
    if isinstance(samples, Samples):
        return samples
    size = bytes_of(samples.handle.read([0]), len(samples))
    if size > (cap := data_budget()):
        raise too_large_for_memory(f"{len(samples)} samples", size, cap, samples.source)
    return samples.read(range(len(samples)))


def few_of(samples: AnySamples) -> Samples:
    """Return samples in memory: all, or some of a streamed set, evenly spaced."""
    return samples if isinstance(samples, Samples) else samples.few()


def head_of(samples: AnySamples) -> Samples:
    """Return samples in memory that show names, shapes and places; the first one of a stream."""
    return samples.head if isinstance(samples, StreamedSamples) else samples


def bytes_of(head: Fields, count: int) -> int:
    """Return the bytes that samples like the first one take in float32."""
    return 4 * count * sum(all_values(x).numel() for x in head.values.values())


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What reading a data set once has shown.

    Attributes:
        fingerprint, suspects: as in `Fields`.
        warnings: about its values.
    """

    fingerprint: str
    suspects: tuple[int, ...]
    warnings: tuple[Diagnostic, ...]


def appraise(
    handle: Handle, head: Fields, count: int, bind: Bind, timed: Sequence[str]
) -> Appraisal:
    """Read the first `count` samples of a data set once for its identity, and once to judge it.

    Args:
        handle: the data set.
        head: its first sample.
        count: number of samples.
        bind: makes inputs and outputs of some samples, and judges their values.
        timed: outputs with an axis of time.

    Raises:
        OpError: OP0612, OP0619, about values; OP0610, they cannot be read.
    """
    fingerprint, suspects = _identity(handle, count)
    zeros: dict[str, list[int]] = {}
    empty: dict[str, list[int]] = {}
    others: list[Diagnostic] = []
    missing: Mapping[str, MissingCount] = {}
    for rows in _pieces(head, count):
        samples = bind(handle.read(rows))
        missing = added(missing, samples.missing)
        masks = {k: x for k, x in samples.weights.items() if k in samples.outputs}
        for name, indices in zero_truths(samples.outputs, timed, rows.start, masks).items():
            zeros.setdefault(name, []).extend(indices)
        for name, indices in empty_samples(masks, tuple(samples.outputs), rows.start).items():
            empty.setdefault(name, []).extend(indices)
        others += [x for x in samples.warnings if x.code not in {"OP0631", "OP0682"}]
    warnings = [zero_truth_warning(k, x, handle.source, timed=k in timed) for k, x in zeros.items()]
    warnings += [empty_warning(k, x, handle.source) for k, x in empty.items()]
    by_code: Mapping[str, Diagnostic] = {x.code: x for x in reversed(others)}
    lost = missing_note(missing, handle.source)
    return Appraisal(fingerprint, suspects, (*lost, *by_code.values(), *warnings))


def _identity(handle: Handle, count: int) -> tuple[str, tuple[int, ...]]:
    """Return fingerprint and suspects, as of fields that are read whole."""
    head = handle.stored([0])
    digest, statistics = FieldsDigest(), []
    masks = {f"{MASKS}.{k}": k for k in head.masks}
    for name in sorted([*head.values, *masks]):
        one = all_values(head.masks[masks[name]] if name in masks else head.values[name])
        digest.field(name, one.dtype, (count, *one.shape[1:]))
        parts: list[SizesAndEnds] = []
        for rows in _pieces(head, count):
            fields = handle.stored(rows, names=(masks.get(name, name),))
            x = all_values(fields.masks[masks[name]] if name in masks else fields.values[name])
            digest.values(x)
            if name in head.values and head.roles[name] != "input":
                parts.append(sizes_and_ends(x))
        if parts:
            size, low, high = (torch.cat(x) for x in zip(*parts, strict=True))
            statistics.append((size, low, high))
    return digest.hexdigest(), far_samples(statistics)


def _pieces(head: Fields, count: int) -> Iterator[range]:
    """Divide samples into pieces of bounded size, the same for every machine."""
    size = sum(all_values(x).nbytes for x in head.values.values())
    step = max(1, min(MOST, PIECE // max(size, 1)))
    for start in range(0, count, step):
        yield range(start, min(start + step, count))
