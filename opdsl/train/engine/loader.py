"""Sample sets as training needs them, and their batches on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from opdsl.nn.points.batch import Values, all_values, map_values, select, select_geometries
from opdsl.nn.points.geometry import Geometries, Geometry
from opdsl.parallel.division import divided
from opdsl.parallel.mesh import ALONE, ProcessMesh
from opdsl.train.engine.precision import PrecisionPolicy
from opdsl.train.engine.prefetch import LoadedBatch, Prefetch
from opdsl.train.metrics.quadrature import Samplings, field_weights

FieldValues = dict[str, Values]
Places = Mapping[str, Geometries]
Transform = Callable[[FieldValues], FieldValues]

RESIDENT = 0.25  # part of the free memory of a CUDA device that a resident set may take


class NamedSet(Protocol):
    """What sample sets have in common.

    Attributes:
        name: how the metrics call this set.
        fingerprint: changes when the values change.
        resolution: points on each axis.
    """

    @property
    def name(self) -> str: ...  # noqa: D102  the class says it
    @property
    def fingerprint(self) -> str: ...  # noqa: D102  the class says it
    @property
    def resolution(self) -> tuple[int, ...]: ...  # noqa: D102  the class says it
    def __len__(self) -> int: ...


class SampleSet(NamedSet, Protocol):
    """Inputs and outputs by name, each (samples, channels, *grid) in float32, or packed."""

    @property
    def inputs(self) -> FieldValues: ...  # noqa: D102  the class says it
    @property
    def outputs(self) -> FieldValues: ...  # noqa: D102  the class says it


@runtime_checkable
class PointSampleSet(Protocol):
    """Attributes of sample sets on points.

    Attributes:
        model_points: domain -> where its points are, for each sample or once for all; the module is
            called with them.
        weights: input or output -> quadrature weights, the length, area or volume that each point
            stands for, where the data have them, and zero where a value is masked; (samples or 1,
            channels or 1, *grid), or packed.
    """

    @property
    def model_points(self) -> dict[str, Geometries]: ...  # noqa: D102  the class says it
    @property
    def weights(self) -> FieldValues: ...  # noqa: D102  the class says it


@runtime_checkable
class StreamedSet(NamedSet, Protocol):
    """Samples that stay in their files, from which they are read batch by batch.

    Attributes:
        head: the first sample.
        workers: processes that read batches ahead of their use; 0 reads them when they are used.
    """

    @property
    def head(self) -> SampleSet: ...  # noqa: D102  the class says it
    @property
    def workers(self) -> int: ...  # noqa: D102  the class says it
    def read(self, rows: Sequence[int]) -> SampleSet:
        """Read the samples `rows`.

        Raises:
            OpError: OP0610, the values cannot be read.
        """
        ...


AnySampleSet = SampleSet | StreamedSet


def own_weights(samples: SampleSet) -> FieldValues:
    """Return the weights that come with samples, by input or output."""
    return dict(samples.weights) if isinstance(samples, PointSampleSet) else {}


def head_of(samples: AnySampleSet) -> SampleSet:
    """Return samples in memory that show names and shapes; of a streamed set the first one."""
    return samples.head if isinstance(samples, StreamedSet) else samples


@dataclass(frozen=True, slots=True)
class FieldUnits:
    """Powers of two by which the values of each field are divided, so that they are near one.

    Nothing is rounded by it, and no gradient in the unit of the data can overflow or vanish.

    Attributes:
        inputs, outputs: by name; 1 for those that are not there.
    """

    inputs: Mapping[str, float] = field(default_factory=dict)
    outputs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of samples on the device: inputs and truth.

    Attributes:
        places: of points, as in `PointSampleSet`.
        weights: output -> quadrature weights of its points, where they do not count alike.
        counts: whether the samples are those of this process; a process without samples in a batch
            computes with one of another process, of weight zero, to take part in all exchanges.
    """

    inputs: FieldValues
    truth: FieldValues
    places: Places = field(default_factory=dict)
    weights: FieldValues = field(default_factory=dict)
    counts: bool = True


@dataclass(frozen=True, slots=True)
class DeviceLoader:
    """Batches of a sample set on the device, in the dtype of the policy.

    Small sets are moved to a CUDA device once, others batch by batch; streamed sets are read batch
    by batch. A geometry stays one object, or keeps its key, so that its neighbours, which are
    cached by key, are searched once.
    """

    inputs: FieldValues
    outputs: FieldValues
    size: int
    policy: PrecisionPolicy
    places: Places = field(default_factory=dict)
    weights: FieldValues = field(default_factory=dict)
    units: FieldUnits = field(default_factory=FieldUnits)
    samplings: Samplings = field(default_factory=dict)
    streamed: Prefetch | None = None

    @classmethod
    def of(
        cls,
        samples: AnySampleSet,
        policy: PrecisionPolicy,
        samplings: Samplings | None = None,
        units: FieldUnits | None = None,
    ) -> DeviceLoader:
        """Make the loader of a set, which stays on the device if it is small enough.

        Args:
            samples: the set.
            policy: device and dtype.
            samplings: of outputs on a sphere, see `opdsl.train.metrics.quadrature`.
            units: of the values in the batches; as they are if not given.
        """
        size, units, samplings = len(samples), units or FieldUnits(), samplings or {}
        if isinstance(samples, StreamedSet):
            ahead = Prefetch(partial(_read, samples), samples.workers)
            return cls({}, {}, size, policy, units=units, samplings=samplings, streamed=ahead)
        inputs, outputs = dict(samples.inputs), dict(samples.outputs)
        places: Places = samples.model_points if isinstance(samples, PointSampleSet) else {}
        weights = field_weights(outputs, samplings, own_weights(samples))
        for x in _geometries(places):
            _ = x.key  # hashed once, on the CPU, before it moves
        tensors = [all_values(x) for fields in (inputs, outputs, weights) for x in fields.values()]
        if _fits([*tensors, *(x.points for x in _geometries(places))], policy.device):
            inputs, outputs, weights = (
                _moved(x, policy.device) for x in (inputs, outputs, weights)
            )
            places = _moved_places(places, policy.device)
        return cls(inputs, outputs, size, policy, places, weights, units, samplings)

    def take(self, rows: Tensor, transform: Transform | None = None) -> Batch:
        """Load the samples `rows`; functions are (batch, channels, *grid) or packed.

        Args:
            rows: indices of samples.
            transform: applied to inputs and outputs, in the units of the data.
        """
        (loaded,) = self.ahead([rows])
        return self.on_device(rows, loaded, transform)

    def in_order(self, batch: int, mesh: ProcessMesh = ALONE) -> Iterator[Batch]:
        """Iterate over all samples once, in the order of the set; of each batch the own part."""
        own = [self.own_part(x, mesh) for x in torch.split(torch.arange(self.size), batch)]
        order = [rows for rows, _ in own]
        for (rows, counts), loaded in zip(own, self.ahead(order), strict=True):
            yield self.on_device(rows, loaded, counts=counts)

    def own_part(self, rows: Tensor, mesh: ProcessMesh) -> tuple[Tensor, bool]:
        """Return the samples of a batch that this process computes, and whether they count.

        Several processes share a batch in contiguous parts: nearly equal ones, on points those of
        the least cost. A process without samples computes with the first one, of weight zero.
        """
        if mesh.data == 1:
            return rows, True
        own = divided(rows, mesh.data, self.costs(rows))[mesh.data_index]
        return (own, True) if len(own) else (rows[:1], False)

    def ahead(self, order: Sequence[Tensor]) -> Iterator[LoadedBatch]:
        """Iterate over batches in memory; those of a streamed set are read ahead of their use.

        Args:
            order: the indices of the samples of each batch.
        """
        if self.streamed is not None:
            yield from self.streamed.batches(order)
            return
        for rows in order:
            inputs, outputs = (
                {k: select(x, rows) for k, x in side.items()}
                for side in (self.inputs, self.outputs)
            )
            some = {k: x if len(x) == 1 else select(x, rows) for k, x in self.weights.items()}
            yield LoadedBatch(inputs, outputs, some)

    def on_device(
        self,
        rows: Tensor,
        loaded: LoadedBatch,
        transform: Transform | None = None,
        *,
        counts: bool = True,
    ) -> Batch:
        """Move a batch to the device, and divide its values by the units.

        Args:
            rows: the indices of its samples.
            loaded: the batch.
            transform: as for `take`.
            counts: whether the samples are those of this process.
        """
        inputs, outputs = self._put(loaded.inputs), self._put(loaded.outputs)
        if transform is not None:
            fields = transform(inputs | outputs)
            inputs, outputs = ({k: fields[k] for k in side} for side in (inputs, outputs))
        weights = loaded.weights
        if self.streamed is not None:
            weights = field_weights(loaded.outputs, self.samplings, weights)
        return Batch(
            _in_units(inputs, self.units.inputs),
            _in_units(outputs, self.units.outputs),
            places_on_device(self.places, rows, self.policy.device),
            self._put(weights),
            counts,
        )

    def costs(self, rows: Tensor) -> list[int] | None:
        """Return the points of each sample, where samples have different numbers of them."""
        geometries = [x for x in self.places.values() if len(x) > 1]
        if not geometries:
            return None
        return [sum(len(x[i].points) for x in geometries) for i in rows.tolist()]

    def close(self) -> None:
        """End the processes that read ahead, if there are some."""
        if self.streamed is not None:
            self.streamed.close()

    def _put(self, fields: Mapping[str, Values]) -> FieldValues:
        return {k: map_values(x, self.policy.place) for k, x in fields.items()}


def _read(samples: StreamedSet, rows: Sequence[int]) -> LoadedBatch:
    some = samples.read(rows)
    return LoadedBatch(dict(some.inputs), dict(some.outputs), own_weights(some))


def _in_units(fields: FieldValues, units: Mapping[str, float]) -> FieldValues:
    """Divide each field by its unit; the inverse of a power of two is exact."""
    return {k: _divided(x, units.get(k, 1.0)) for k, x in fields.items()}


def _divided(x: Values, unit: float) -> Values:
    return x if unit == 1 else map_values(x, lambda y: y * (1 / unit))


def places_on_device(places: Places, rows: Tensor, device: torch.device) -> Places:
    """Select the geometries of some samples and move them to a device."""
    return _moved_places({k: select_geometries(x, rows) for k, x in places.items()}, device)


def _geometries(places: Places) -> Iterator[Geometry]:
    return (x for parts in places.values() for x in parts)


def _moved(fields: FieldValues, device: torch.device) -> FieldValues:
    return {k: map_values(x, lambda y: y.to(device)) for k, x in fields.items()}


def _moved_places(places: Places, device: torch.device) -> Places:
    return {k: tuple(x.to(device) for x in parts) for k, parts in places.items()}


def _fits(tensors: Iterable[Tensor], device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return sum(x.nbytes for x in tensors) < RESIDENT * free
