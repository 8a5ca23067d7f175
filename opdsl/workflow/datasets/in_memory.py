"""Arrays, tensors and data sets of torch as a data set of ours.

Every function is named as an input or an output of the model, and the coordinates of points as
their domain. The first axis counts samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike, fspath
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from opdsl.data.bind.samples import Fields, Role
from opdsl.data.bind.suspects import suspects
from opdsl.data.derive.coarsen import Layout
from opdsl.data.io.joining import fingerprint
from opdsl.diagnostics import OpError, did_you_mean, fault
from opdsl.ir.graph import Graph, Port
from opdsl.ir.spaces import Domain
from opdsl.lower.call_arguments import as_coordinates
from opdsl.nn.points.batch import Values
from opdsl.nn.points.geometry import Geometries
from opdsl.nn.points.packed import Packed
from opdsl.workflow.datasets.point_layouts import declared_layout
from opdsl.workflow.datasets.sources import TEST, TRAIN, VALID, Sources
from opdsl.workflow.runs.arrays import as_tensors

# a path; functions by name; items by name, or (input, output); what `open_dataset` returns
TrainingData: TypeAlias = "str | PathLike[str] | Mapping[str, Any] | Dataset[Any] | Fields"

EXAMPLE = 'as `data={"a": a, "u": u}`'


def as_sources(
    graph: Graph,
    data: TrainingData | None,
    valid: TrainingData | float | None = None,
    test: TrainingData | Sequence[TrainingData] | None = None,
) -> tuple[Sources, dict[str, Any]]:
    """Register data sets in memory, and return the settings of `data` that lead to all of them.

    Args:
        graph: the model, whose inputs and outputs the arrays are named as.
        data: to learn from.
        valid: what chooses the weights; also a part of `data`, or a word of `data.valid`.
        test: to measure the final weights on.

    Raises:
        OpError: OP0610, no samples; OP0611, a name that the model does not have, or that is
            missing; OP0613, a shape that does not fit.
    """
    memory: dict[str, Fields] = {}
    settings: dict[str, Any] = {}

    def register(value: Any, label: str) -> Any:
        if isinstance(value, str | PathLike):
            return fspath(value)
        memory[label] = as_fields(graph, value, label)
        return label

    if data is not None:
        settings["path"] = register(data, TRAIN)
    if valid is not None:
        part = float(valid) if isinstance(valid, int | float) else None
        settings["valid"] = register(valid, VALID) if part is None else part
    if test is not None:
        several = test if isinstance(test, list | tuple) else [test]
        labels = [f"{TEST[:-1]}{i}>" if i else TEST for i in range(len(several))]
        paths = [register(x, k) for x, k in zip(several, labels, strict=True)]
        settings["test"] = paths if len(paths) > 1 else paths[0]
    return Sources(memory), settings


def as_fields(graph: Graph, data: Any, label: str) -> Fields:
    """Convert a data set in memory.

    Args:
        graph: the model.
        data: functions by name, a data set of torch, or fields that were read from a file.
        label: how diagnostics and the folder of the run call it.

    Raises:
        OpError: as `as_sources`.
    """
    if isinstance(data, Fields):
        return data
    if isinstance(data, Dataset):
        data = _collect(graph, data, label)
    if not isinstance(data, Mapping):
        message = (
            f"{label} is a {type(data).__name__}, expected a path, arrays by name or a Dataset"
        )
        raise fault("OP0611", message, helps=(f"name each array, {EXAMPLE}",), file=label)
    return _Converter(graph, label).convert(data)


class _Converter:
    """Convert arrays by name to `Fields`, and report all errors together."""

    def __init__(self, graph: Graph, label: str) -> None:
        self.graph, self.label = graph, label
        self.ports = {x.name: x for x in (*graph.inputs, *graph.outputs)}
        self.scattered = {x.name: x for x in graph.domains if x.scattered}
        self.errors: list[OpError] = []

    def convert(self, data: Mapping[str, Any]) -> Fields:
        """Convert all arrays.

        Raises:
            OpError: what is wrong with names and shapes.
        """
        self._names(data)
        ports = [x for k, x in self.ports.items() if k in data]
        values = {x.name: self._values(x, data[x.name]) for x in ports}
        places = {k: self._places(k, data[k]) for k in self.scattered if k in data}
        counts = {k: len(x) for k, x in values.items() if x is not None}
        counts |= {k: len(x) for k, x in places.items() if x is not None and len(x) > 1}
        self._counts(counts)
        if self.errors:
            raise OpError(*(y for x in self.errors for y in x.diagnostics))
        return self._fields(
            {k: x for k, x in values.items() if x is not None},
            {k: x for k, x in places.items() if x is not None},
        )

    def _fields(self, values: dict[str, Values], places: dict[str, Geometries]) -> Fields:
        homes = {
            k: x.space.domain.name
            for k, x in self.ports.items()
            if k in values and x.space.domain.name in places
        }
        values = {k: _packed(x) if _own(places, homes, k) else x for k, x in values.items()}
        inputs = {x.name for x in self.graph.inputs}
        roles: dict[str, Role] = {k: "input" if k in inputs else "output" for k in values}
        grid = next((x for k, x in self.ports.items() if k in values and k not in homes), None)
        domain = None if grid is None else grid.space.domain
        array = None if grid is None else values[grid.name]
        return Fields(
            name=self.graph.name,
            values=values,
            roles=roles,
            axes=() if domain is None else tuple(f"axis_{i}" for i in range(domain.dims)),
            resolution=tuple(array.shape[2:]) if isinstance(array, Tensor) else (),
            suspects=suspects(values, roles),
            source=self.label,
            fingerprint=fingerprint(values, places),
            layout=_layout(domain),
            places=places,
            homes=homes,
        )

    # ------------------------------------------------------------------------------------ mistakes

    def _error(self, code: str, message: str, *helps: str) -> None:
        self.errors.append(fault(code, message, helps=helps, file=self.label))

    def _names(self, data: Mapping[str, Any]) -> None:
        """Refuse unknown names; missing functions are refused where they are bound."""
        names = [*self.ports, *self.scattered]
        for name in data:
            if name not in names:
                near = did_you_mean(str(name), names) or (f"name each array, {EXAMPLE}",)
                has = " and ".join(f"`{x}`" for x in names)
                message = f"`{name}` is no input, output or domain of `{self.graph.name}`, "
                self._error("OP0611", f"{message}which has {has}", *near)
        if not data or not any(x in data for x in self.ports):
            self._error("OP0611", "there are no functions to learn from", f"name them, {EXAMPLE}")
        for port in (x for k, x in self.ports.items() if k in data):
            domain = port.space.domain
            if domain.scattered and domain.name not in data:
                message = f"`{port.name}` is on the points of `{domain.name}`, which are missing"
                cure = f'add `"{domain.name}": coordinates`, (points, {domain.ambient}) for all '
                self._error("OP0611", message, f"{cure}samples, or a list with one for each")

    def _counts(self, counts: Mapping[str, int]) -> None:
        if len(set(counts.values())) > 1:
            numbers = " and ".join(f"{n} of `{k}`" for k, n in counts.items())
            self._error("OP0613", f"the numbers of samples differ: {numbers}")
        elif 0 in counts.values():
            self._error("OP0610", "there are no samples, at least one is needed")

    def _values(self, port: Port, x: Any) -> Values | None:
        """Return an array as (samples, channels, *grid), or packed; None where that fails."""
        try:
            array = as_tensors(port.name, x)
        except OpError as error:
            self.errors.append(error)
            return None
        if isinstance(array, list) and all(isinstance(y, Tensor) for y in array):
            array = _from_list(array, port)
        if isinstance(array, Packed):
            return array.map(Tensor.detach).map(Tensor.cpu)
        if not isinstance(array, Tensor):
            message = f"`{port.name}` is a {type(x).__name__}, expected an array or a tensor"
            self._error("OP0613", message)
            return None
        if array.is_complex():
            message = f"`{port.name}` is complex, and models are trained on real numbers"
            self._error("OP0613", message, "give real and imaginary parts as channels")
            return None
        return self._with_channels(port, array.detach().cpu())

    def _with_channels(self, port: Port, x: Tensor) -> Tensor | None:
        axes, channels = _axes(port.space.domain), port.space.channels
        if x.ndim == axes + 2:
            return x
        if x.ndim == axes + 1 and channels == 1:
            return x.unsqueeze(1)
        if x.ndim == axes + 3 and self.graph.feedback:
            return x.flatten(1, 2)  # steps in time become channels, as in files
        grid = ["points"] if port.space.domain.scattered else _names_of_axes(port.space.domain)
        shape = ", ".join(["samples", str(channels), *grid])
        message = f"`{port.name}` has shape {tuple(x.shape)}, expected ({shape})"
        self._error("OP0613", message)
        return None

    def _places(self, name: str, x: Any) -> Geometries | None:
        """Return where the points of a domain are; None where that fails."""
        domain = self.scattered[name]
        try:
            coordinates = as_coordinates(as_tensors(name, x))
        except OpError as error:
            self.errors.append(error)
            return None
        if coordinates is None or coordinates.lead.shape[-1] != domain.ambient:
            message = f"the coordinates of `{name}` do not have the expected shape"
            cure = f"give (points, {domain.ambient}) for all samples, or a list with one for each"
            self._error("OP0613", message, cure)
            return None
        return coordinates.geometry


def _layout(domain: Domain | None) -> Layout:
    """Return where the points of a grid are; one word for all axes unless samplings are declared.

    The rule without samplings is that of older versions, which had one layout for all axes.
    """
    declared = None if domain is None else declared_layout(domain)
    if declared is not None:
        return declared
    return "periodic" if domain is None or all(domain.periodic) else "node"


def _axes(domain: Domain) -> int:
    return 1 if domain.scattered else domain.dims


def _names_of_axes(domain: Domain) -> list[str]:
    names = [x.name for x in domain.axes]
    return names if len(names) == domain.dims else [f"n{i}" for i in range(domain.dims)]


def _from_list(parts: Sequence[Tensor], port: Port) -> Tensor | Packed:
    """Stack samples of equal shape; pack samples whose numbers of points differ."""
    if len({x.shape for x in parts}) == 1 and not port.space.domain.scattered:
        return torch.stack(list(parts))
    return Packed.of(x if x.ndim > 1 else x[None] for x in parts)


def _own(places: Mapping[str, Geometries], homes: Mapping[str, str], name: str) -> bool:
    """Return whether each sample of a function has its own points."""
    return name in homes and len(places[homes[name]]) > 1


def _packed(x: Values) -> Packed:
    return x if isinstance(x, Packed) else Packed.of(x.unbind(0))


# ------------------------------------------------------------------------------- data sets of torch


def _collect(graph: Graph, data: Dataset[Any], label: str) -> dict[str, list[Any]]:
    """Read all items of a data set of torch.

    Raises:
        OpError: OP0613, an item is neither a dictionary nor (inputs, outputs) of the model.
    """
    columns: dict[str, list[Any]] = {}
    for i, item in enumerate(_items(data)):
        functions = dict(item) if isinstance(item, Mapping) else _by_position(graph, item, label)
        if columns and set(functions) != set(columns):
            message = f"item {i} has the names {list(functions)}, the first has {list(columns)}"
            raise fault("OP0613", message, file=label)
        for name, x in functions.items():
            columns.setdefault(name, []).append(torch.as_tensor(x) if np.isscalar(x) else x)
    if not columns:
        raise fault("OP0610", "there are no samples, at least one is needed", file=label)
    return columns


def _items(data: Any) -> Iterator[Any]:
    if isinstance(data, IterableDataset):
        yield from data
    else:
        yield from (data[i] for i in range(len(data)))


def _by_position(graph: Graph, item: Any, label: str) -> dict[str, Any]:
    names = [x.name for x in (*graph.inputs, *graph.outputs)]
    leaves = list(_leaves(item))
    if not isinstance(item, tuple | list) or len(leaves) != len(names):
        message = f"an item of the data set is a {type(item).__name__} of {len(leaves)}, expected "
        message += f"({', '.join(names)}), or a dictionary with these names"
        raise fault("OP0613", message, file=label)
    return dict(zip(names, leaves, strict=True))


def _leaves(item: Any) -> Iterator[Any]:
    if isinstance(item, tuple | list):
        for x in item:
            yield from _leaves(x)
    else:
        yield item
