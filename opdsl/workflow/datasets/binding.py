"""The assignment of the fields of a data set to the inputs and outputs of a model."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from opdsl.data.arrays.mapping import ArrayMap, Windows
from opdsl.data.bind.binding import Mapped, bind_fields
from opdsl.data.bind.masks import REFUSED, MissingValues, missing_note
from opdsl.data.bind.point_sets import PointsRequest
from opdsl.data.bind.samples import FieldRequest as DataPort
from opdsl.data.bind.samples import Fields, Samples, TimeSteps
from opdsl.data.bind.suspects import suspects_warning
from opdsl.data.derive.coarsen import Layout, Resolution
from opdsl.data.io.memory_budget import data_budget
from opdsl.diagnostics import fault
from opdsl.ir.dims import decided
from opdsl.ir.graph import Graph, Port
from opdsl.ir.origins import completed
from opdsl.nn.points.batch import Values, all_values
from opdsl.train.config.data_section import CoordinateCheck
from opdsl.train.config.schema import Settings
from opdsl.workflow.datasets.coordinates.comparison import compare_with_domains
from opdsl.workflow.datasets.point_layouts import layout_of_ports, refuse_other_sampling
from opdsl.workflow.datasets.reading.handles import Handle
from opdsl.workflow.datasets.reading.mapped import DataMap
from opdsl.workflow.datasets.reading.masks import MASKS
from opdsl.workflow.datasets.reading.sources import Sources, in_memory, stored_bytes
from opdsl.workflow.datasets.reading.streamed import AnySamples, StreamedSamples, appraise, bytes_of
from opdsl.workflow.datasets.resampling import Resampling
from opdsl.workflow.errors import Warn, ignore

COPIES = 2  # of a data set in memory: as it is stored, and in float32
MOST_PACKED = 8  # files that are smaller than memory by this factor are not looked into
ABSENT = "none"  # the field of a port that the file does not have


@dataclass(frozen=True, slots=True)
class Binding:
    """An assignment of the fields of a data set to the inputs and outputs of a model.

    Attributes:
        graph: the model.
        fields: field names by the name of the port; `none` for what the file does not have.
        steps: in time, of the outputs and of the inputs that do not come back.
        axes, windows: what the program says about the arrays of its data.
        warn: receives warnings about the samples.
        coordinates: whether those that a file states have to be those of the domains.
        masks: input or output -> the array or arrays that mask it.
        missing: what becomes of values that are NaN.
        kind: a published layout of the files, or any other word.
        memory: bytes of a data set that stay in memory; a larger one is read batch by batch.
        workers: processes that read batches ahead of their use.
        resample: points on each axis of another grid, on which samples are evaluated by series.
    """

    graph: Graph
    fields: Mapped | None = None
    steps: TimeSteps | None = None
    warn: Warn = ignore
    axes: Mapping[str, Sequence[str]] | None = None
    windows: Windows | None = None
    coordinates: CoordinateCheck = "check"
    masks: Mapped | None = None
    missing: MissingValues = REFUSED
    kind: str = "auto"
    memory: int = 1 << 62
    workers: int = 0
    resample: Resolution | None = None

    @property
    def data_map(self) -> DataMap:
        """What the program says about the arrays of its data."""
        stored = self.fields or {}
        fields = {k: _texts(v) for k, v in stored.items() if v != ABSENT}
        masks = {k: _texts(v) for k, v in (self.masks or {}).items()}
        axes = {k: tuple(v) for k, v in (self.axes or {}).items()}
        steps = self.steps.count if self.steps else None
        names = {x.name for x in self.graph.outputs} - {x.name for x in self._outputs()}
        map_ = ArrayMap(fields, axes, self.windows, steps)
        return DataMap(self.graph, map_, self.absent | names, masks, self.kind)

    def __call__(self, fields: Fields, *, whole: bool = True) -> Samples:
        """Bind inputs and outputs, and warn of samples that look corrupt.

        Args:
            fields: of a data set.
            whole: whether these are all samples, whose values can be judged.
        """
        refuse_other_sampling(self.graph, fields)
        fields = self._compared(fields, (*self._present(), *self._output_ports()))
        if doubt := suspects_warning(fields):
            self.warn([doubt])
        samples = self._resampled(self._bound(fields, self._outputs(), self._mapping(fields)))
        lost = missing_note(samples.missing, fields.source) if whole else ()
        judged = samples.warnings if whole else ()
        self.warn([*fields.notes, *lost, *judged])
        return samples

    def read(
        self,
        sources: Sources,
        path: str,
        *,
        split: str | None = None,
        resolution: Resolution | None = None,
        samples: int | None = None,
    ) -> AnySamples:
        """Read a data set, or open it to be read batch by batch if it is large.

        Raises:
            OpError: OP0610 to OP0616, what is wrong with the data.
        """
        how: dict[str, Any] = {"split": split, "layout": self.layout, "data_map": self.data_map}
        handle, memory = None, min(self.memory, data_budget() // COPIES)
        if self.windows is not None or stored_bytes(path) * MOST_PACKED > memory:
            handle = sources.handle(path, resolution=resolution, **how)
        if handle is not None and (samples or 0) <= len(handle):
            head, count = handle.read([0]), samples or len(handle)
            if bytes_of(head, count) > memory:
                return self._streamed(handle, head, count)
        return self(sources.open(path, resolution=resolution, samples=samples, **how))

    def _streamed(self, handle: Handle, fields: Fields, count: int) -> StreamedSamples:
        """Open samples of a data set, after every one has been looked at once."""
        head = self(fields, whole=False)
        timed = [x.name for x in self._outputs() if x.steps]
        looked = appraise(handle, fields, count, lambda x: self.piece(x, judged=True), timed)
        if doubt := suspects_warning(replace(fields, suspects=looked.suspects)):
            self.warn([doubt])
        self.warn(looked.warnings)
        return StreamedSamples(
            handle, self.piece, range(count), head, head.name, looked.fingerprint, self.workers
        )

    def piece(self, fields: Fields, *, judged: bool = False) -> Samples:
        """Bind some samples of a data set without warnings about it."""
        ports = (*self._present(), *self._output_ports())
        fields, _ = compare_with_domains(ports, fields, self.coordinates)
        samples = self._bound(fields, self._outputs(), self._mapping(fields), judged=judged)
        return self._resampled(samples)

    def _resampled(self, samples: Samples) -> Samples:
        """Evaluate samples on the grid of `resample`, if there is one."""
        size = self.resample
        return samples if size is None else Resampling(self.graph, size)(samples)

    @property
    def layout(self) -> Layout | None:
        """Where the program declares the points of its grid; None if it does not."""
        return layout_of_ports((*self.graph.inputs, *self.graph.outputs))

    def inputs(self, fields: Fields) -> Samples:
        """Bind inputs alone, for predictions."""
        refuse_other_sampling(self.graph, fields)
        fields = self._compared(fields, self._present())
        names = {x.name for x in self.graph.inputs} | {x.name for x in sites(self.graph)}
        mapping = {k: v for k, v in self._mapping(fields, names).items() if k in names}
        samples = self._bound(fields, (), mapping)
        if not fields.start:
            self.warn(tuple(missing_note(samples.missing, fields.source)))
        return samples

    def _compared(self, fields: Fields, ports: Sequence[Port]) -> Fields:
        """Compare coordinates with the domains of ports; warn once of the pieces of a file."""
        fields, warnings = compare_with_domains(ports, fields, self.coordinates)
        if not fields.start:
            self.warn(warnings)
        return fields

    def _present(self) -> list[Port]:
        """Select the inputs that the file has."""
        return [x for x in self.graph.inputs if x.name not in self.absent]

    def _mapping(self, fields: Fields, needed: Container[str] | None = None) -> Mapped:
        """Return the field names by port; mapped arrays are named as the ports themselves.

        Args:
            fields: of the data.
            needed: names of inputs and outputs that must be there; all if None.
        """
        if fields.mapped or in_memory(fields.source):
            self._refuse_missing(fields, needed)
            return {k: k for k in (*fields.values, *fields.places)}
        return {k: v for k, v in (self.fields or {}).items() if v != ABSENT}

    def _bound(
        self,
        fields: Fields,
        outputs: Sequence[DataPort],
        mapping: Mapped,
        *,
        judged: bool = True,
    ) -> Samples:
        """Bind the fields; an input that begins at zero is added."""
        inputs = self._timed(self._present())
        self._refuse_without_masks(fields, {x.name for x in (*inputs, *outputs)})
        points, missing = sites(self.graph), self.missing
        samples = bind_fields(fields, inputs, outputs, mapping, points, missing, judged=judged)
        return replace(samples, inputs=samples.inputs | self._zeros(samples))

    def _refuse_missing(self, fields: Fields, wanted: Container[str] | None) -> None:
        """Refuse arrays in memory if one that the model needs is missing.

        Raises:
            OpError: OP0611, the name and the shape that it should have.
        """
        outputs = {x.name for x in self._outputs()}
        for port in (*self.graph.inputs, *self.graph.outputs):
            needed = port.name in outputs or port in self.graph.inputs
            needed = needed and (wanted is None or port.name in wanted)
            if needed and port.name not in {*fields.values, *self.absent}:
                role = "output" if port.name in outputs else "input"
                message = f"the {role} `{port.name}` of `{self.graph.name}` is missing"
                shape = ", ".join(("samples", str(port.space.channels), *_axes(port)))
                helps = (f'add it by its name: `{{"{port.name}": array}}`, ({shape})',)
                raise fault("OP0611", message, helps=helps, file=fields.source)

    def _refuse_without_masks(self, fields: Fields, names: Container[str]) -> None:
        """Refuse arrays in memory without the masks that the program names.

        Raises:
            OpError: OP0681, the name that a mask should have.
        """
        for name in self.masks or {}:
            if name in names and name not in fields.masks and in_memory(fields.source):
                message = f"the program names a mask of `{name}`, and the arrays have none"
                helps = (f'add it: `{{"{MASKS}": {{"{name}": array}}}}`, 1 where a value counts',)
                raise fault("OP0681", message, helps=helps, file=fields.source)

    @property
    def absent(self) -> frozenset[str]:
        """The inputs that begin at zero.

        Raises:
            OpError: OP0604, an input without feedback, which would stay zero.
        """
        declared = {k for k, v in (self.fields or {}).items() if v == ABSENT}
        absent = {x.name for x in self.graph.inputs} & declared
        back = {x.input for x in self.graph.feedback}
        for name in sorted(absent - back if self.steps else absent):
            message = f"`data.fields.{name} = none`, but `{name}` "
            message += "does not come back" if self.steps else "comes back in a `rollout` only"
            helps = ("an input that comes back by `feedback` may begin at zero in a `rollout`",)
            raise fault("OP0604", message, helps=helps)
        return frozenset(absent)

    @property
    def states(self) -> frozenset[str]:
        """The outputs that are fed back as inputs beginning at zero: the memory of the model."""
        return frozenset(x.output for x in self.graph.feedback if x.input in self.absent)

    def _outputs(self) -> list[DataPort]:
        return self._timed(self._output_ports())

    def _output_ports(self) -> list[Port]:
        """Select the outputs that the file has; those that become absent inputs may be missing."""
        mapping = self.fields or {}
        gone = {k for k, v in mapping.items() if v == ABSENT} | (self.states - set(mapping))
        return [x for x in self.graph.outputs if x.name not in gone]

    def _timed(self, of: Sequence[Port]) -> list[DataPort]:
        back = {x.input for x in self.graph.feedback}
        pairs = zip(ports(of), of, strict=True)
        return [x if y.name in back else replace(x, steps=self.steps) for x, y in pairs]

    def _zeros(self, samples: Samples) -> dict[str, Values]:
        if not self.absent:
            return {}
        axes = {x.name: x.space.domain.dims for x in self.graph.inputs}
        shapes = {k: all_values(x).shape for k, x in samples.inputs.items()}
        grids = {k: tuple(x[len(x) - axes[k] :]) for k, x in shapes.items()}
        sizes = completed(self.graph, grids)
        return {
            x.name: torch.zeros(1, decided(x.space.channels), *sizes[x.name]).expand(
                len(samples), -1, *(-1 for _ in sizes[x.name])
            )
            for x in self.graph.inputs
            if x.name in self.absent
        }


def _texts(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _axes(port: Port) -> list[str]:
    domain = port.space.domain
    return ["points"] if domain.scattered else [x.name for x in domain.axes]


def binding_of(
    graph: Graph, settings: Settings, *, testing: bool = False, warn: Warn = ignore
) -> Binding:
    """Return how the settings of a run bind data, for training or for tests.

    Raises:
        OpError: OP0604, a setting is about steps in time, but there is one step.
    """
    count = settings.rollout
    step_settings = (("eval.rollout", settings.eval.rollout), ("data.start", settings.data.start))
    idle = [key for key, value in step_settings if value and not count]
    if idle:
        message = f"`{idle[0]}` has no effect without `rollout`"
        raise fault("OP0604", message, helps=("`rollout = 16` learns sixteen steps in time",))
    if testing and count:
        count = settings.eval.rollout or count
    fields = dict(settings.data.fields or {})
    if testing and without_truth(graph, settings) == {x.name for x in graph.outputs}:
        # a model that learns from equations alone is tested on solutions
        fields = {k: v for k, v in fields.items() if k not in without_truth(graph, settings)}
    if settings.band.of:
        fields.setdefault(settings.band.width, ABSENT)
    steps = TimeSteps(count, settings.data.start) if count else None
    windows = Windows(**settings.data.windows) if settings.data.windows is not None else None
    return Binding(
        graph,
        fields,
        steps,
        warn,
        settings.data.axes,
        windows,
        settings.data.coordinates,
        settings.data.masks,
        missing_values(settings),
        settings.data.kind,
        settings.data.memory_bytes,
        settings.data.workers,
        _resolution(settings.data.resample),
    )


def without_truth(graph: Graph, settings: Settings) -> set[str]:
    """Return the outputs of which the training data have no values: `data.fields.u = none`."""
    declared = {k for k, v in (settings.data.fields or {}).items() if v == ABSENT}
    states = {x.output for x in graph.feedback if x.input in declared}
    return declared & {x.name for x in graph.outputs} - states


def _resolution(size: int | list[int] | None) -> Resolution | None:
    return tuple(size) if isinstance(size, list) else size


def missing_values(settings: Settings) -> MissingValues:
    """Return what the settings of a run say about values that are missing."""
    data = settings.data
    return MissingValues(data.missing == "mask", None if data.fill == "mean" else float(data.fill))


def ports(of: Iterable[Port]) -> list[DataPort]:
    """Describe inputs or outputs of the model to `opdsl.data`."""
    return [
        DataPort(
            x.name,
            decided(x.space.channels),
            x.space.components,
            x.space.domain.dims,
            domain=x.space.domain.name,
            scattered=x.space.domain.scattered,
        )
        for x in of
    ]


def sites(graph: Graph) -> list[PointsRequest]:
    """Describe the domains of points of the model to `opdsl.data`."""
    domains = {x.domain.name for x in graph.side_inputs() if x.what == "coordinates"}
    return [
        PointsRequest(
            x.name,
            x.ambient,
            shared=x.geometry == "shared",
            required=x.name in domains,
            measure=x.measure or "uniform",
            period=x.period,
        )
        for x in graph.domains
        if x.scattered
    ]
