"""Data at three stages: `Fields` of a file, `FieldRequest`s of a model, `Samples` for training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from opdsl.data.bind.coordinates import AxesCoordinates
from opdsl.data.derive.coarsen import Layout, Resolution, every_kth, refuse_on_points
from opdsl.diagnostics import Diagnostic
from opdsl.nn.points.batch import (
    SampleIndices,
    Values,
    all_values,
    count_samples,
    select,
    select_geometries,
)
from opdsl.nn.points.geometry import Geometries, point_counts
from opdsl.nn.points.packed import Packed

Role = Literal["input", "output", "unknown"]
VECTOR = 2  # axes of the values of vectors, (samples, channels), which are on no grid


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """The contents of a data set, before a model is known.

    Attributes:
        name: the data set's name.
        values: field -> (samples, channels, *grid), in the number format of the file; on points
            (samples, channels, points) where all samples share them, else packed.
        roles: field -> its role, as the file declares it.
        axes: names of the axes of the grid, in order; none where all fields are on points.
        resolution: points on each axis.
        suspects: indices of samples that look corrupt (see `suspects`).
        source: the path as the user wrote it.
        fingerprint: SHA-256 of the names and contents of the fields read, in hexadecimal.
        layout: which points a coarser grid may keep.
        places: set of points -> where they are, for each sample or once for all.
        homes: field on points -> the set.
        start: how many samples of the file come before these.
        coordinates: axis of the grid -> where its points are; only those that the file states.
        times: field whose channels are times and components, the times first -> the times.
        orders: field on a grid -> order of its tensors, where the file states more than scalars.
        mapped: whether the names are those of the inputs, outputs and domains of the model.
        notes: about the layout that is assumed, for the user.
        windows: how many samples in a row are windows of one trajectory.
        masks: field -> which of its values count, (samples, channels or 1, *grid) or packed, bool;
            all of them where it is not there.
        query_rows: which row of the file each point is, those of the first sample first, where a
            row is a query; (queries,).
    """

    name: str
    values: dict[str, Values]
    roles: dict[str, Role]
    axes: tuple[str, ...]
    resolution: tuple[int, ...]
    suspects: tuple[int, ...]
    source: str
    fingerprint: str
    layout: Layout = "periodic"
    places: Mapping[str, Geometries] = field(default_factory=dict)
    homes: Mapping[str, str] = field(default_factory=dict)
    start: int = 0
    coordinates: AxesCoordinates = field(default_factory=dict)
    times: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    orders: Mapping[str, int] = field(default_factory=dict)
    mapped: bool = False
    notes: tuple[Diagnostic, ...] = ()
    windows: int = 1
    masks: Mapping[str, Values] = field(default_factory=dict)
    query_rows: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class MissingCount:
    """How much is missing of an input or output.

    Attributes:
        values: missing values.
        samples: samples with missing values.
        total: samples.
        outcome: what becomes of the values, in words.
    """

    values: int
    samples: int
    total: int
    outcome: str

    def plus(self, other: MissingCount) -> MissingCount:
        """Add the counts of other samples."""
        values, samples = self.values + other.values, self.samples + other.samples
        return MissingCount(values, samples, self.total + other.total, self.outcome)


@dataclass(frozen=True, slots=True)
class TimeSteps:
    """Steps in time of a field: `count` of them, after the first `skipped` ones."""

    count: int
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class FieldRequest:
    """What an input or output of a model requires of its data.

    Attributes:
        name: the name in the program.
        channels: their number.
        components: their names, where the program gives them.
        axes: number of axes of the grid.
        steps: steps in time, which a file keeps as channels, the time before the components. An
            input may have them or not.
        domain: the name of the domain.
        scattered: whether that is a set of points.
    """

    name: str
    channels: int
    components: tuple[str, ...] | None
    axes: int
    steps: TimeSteps | None = None
    domain: str = ""
    scattered: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Inputs and outputs for training: (samples, channels, *grid), float32, all finite.

    Where there are steps in time, (samples, steps, channels, *grid). On points (samples, channels,
    points) where all samples share them, else packed.

    Attributes:
        inputs: by the name of the port.
        outputs: by the name of the port.
        name, source, fingerprint, layout: as in `Fields`.
        resolution: points on each axis of a grid.
        places: domain of points -> where they are, for each sample or once for all.
        required: the domains whose points are arguments of the model.
        homes: input or output on points -> its domain.
        weights: input or output on points -> (samples or 1, 1, points), or packed, the length,
            area or volume that each point stands for; those without are not there. What is masked
            has the weight zero: (samples, channels or 1, *grid), with steps in time as the values;
            bool where there are no lengths, areas or volumes.
        warnings: about the values, for the user.
        windows: as in `Fields`.
        missing: field -> how many of its values are missing, where these are masked.
    """

    inputs: dict[str, Values]
    outputs: dict[str, Values]
    name: str
    source: str
    fingerprint: str
    resolution: tuple[int, ...]
    layout: Layout = "periodic"
    places: dict[str, Geometries] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    homes: dict[str, str] = field(default_factory=dict)
    weights: dict[str, Values] = field(default_factory=dict)
    warnings: tuple[Diagnostic, ...] = ()
    windows: int = 1
    missing: Mapping[str, MissingCount] = field(default_factory=dict)

    def __len__(self) -> int:
        return count_samples(self.inputs | self.outputs, self.places)

    @property
    def model_points(self) -> dict[str, Geometries]:
        """The points that are arguments of the model, by domain."""
        return {k: self.places[k] for k in self.required}

    @property
    def extent(self) -> str:
        """Number of points of an output as text: `33x33`, `3586 points`, `900 to 1200 points`."""
        on = [self.homes[k] for k in (*self.outputs, *self.inputs) if k in self.homes]
        if not on or on[0] not in self.places:
            return "x".join(map(str, self.resolution))
        sizes = point_counts(self.places[on[0]])
        low, high = min(sizes), max(sizes)
        return f"{low} points" if low == high else f"{low} to {high} points"

    def first(self, n: int) -> Samples:
        """Return the first n samples, or all if there are fewer."""
        if self.places:
            return self.take(range(min(n, len(self))))
        return self._each(lambda x: x[:n])

    def last(self, n: int) -> Samples:
        """Return the last n samples, or all if there are fewer."""
        if self.places:
            return self.take(range(max(0, len(self) - n), len(self)))
        return self._each(lambda x: x[max(0, len(x) - n) :])

    def take(self, rows: SampleIndices) -> Samples:
        """Select samples, in this order."""
        return replace(
            self,
            inputs={k: select(x, rows) for k, x in self.inputs.items()},
            outputs={k: select(x, rows) for k, x in self.outputs.items()},
            places={k: select_geometries(x, rows) for k, x in self.places.items()},
            weights={k: select(x, rows) if _own(x) else x for k, x in self.weights.items()},
        )

    def at(self, resolution: Resolution) -> Samples:
        """Return the samples on every k-th point of the grid.

        Raises:
            OpError: OP0614, no step leads there.
        """
        refuse_on_points(resolution if self.places else None, self.source)
        kept = every_kth(self.resolution, resolution, self.layout, source=self.source)
        thin = (slice(None), slice(None), *kept)
        size = (resolution,) * len(kept) if isinstance(resolution, int) else tuple(resolution)
        coarse = self._each(lambda x: x if x.ndim == VECTOR else x[thin].contiguous())
        return replace(coarse, resolution=size)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Samples:
        """Apply `change` to every input, output and mask; all must be on grids."""
        return replace(
            self,
            inputs={k: change(all_values(x)) for k, x in self.inputs.items()},
            outputs={k: change(all_values(x)) for k, x in self.outputs.items()},
            weights={k: change(all_values(x)) for k, x in self.weights.items()},
        )


def _own(weights: Values) -> bool:
    """Whether each sample has its own weights."""
    return isinstance(weights, Packed) or len(weights) > 1
