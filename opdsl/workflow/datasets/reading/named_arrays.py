"""Arrays named as the inputs, outputs and domains of a model, as a data set of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from opdsl.data.bind.masks import filled
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
from opdsl.workflow.datasets.reading.masks import MASKS, as_mask
from opdsl.workflow.runs.arrays import as_tensors

EXAMPLE = 'as `data={"a": a, "u": u}`'


class Converter:
    """Convert arrays by name to `Fields`, and report all errors together."""

    def __init__(self, graph: Graph, label: str, *, judged: bool = True) -> None:
        self.graph, self.label, self.judged = graph, label, judged
        self.ports = {x.name: x for x in (*graph.inputs, *graph.outputs)}
        self.scattered = {x.name: x for x in graph.domains if x.scattered}
        self.errors: list[OpError] = []
        self.static: set[str] = set()  # inputs that all samples share

    def convert(self, data: Mapping[str, Any]) -> Fields:
        """Convert all arrays.

        Raises:
            OpError: what is wrong with names and shapes.
        """
        self._names(data)
        ports = [x for k, x in self.ports.items() if k in data]
        values = {x.name: self._values(x, data[x.name]) for x in ports}
        places = {k: self._places(k, data[k]) for k in self.scattered if k in data}
        values = self._repeated(values, places)
        masks = self._masks(values, data)
        counts = {k: len(x) for k, x in values.items() if x is not None and k not in self.static}
        counts |= {k: len(x) for k, x in places.items() if x is not None and len(x) > 1}
        self._counts(counts)
        if self.errors:
            raise OpError(*(y for x in self.errors for y in x.diagnostics))
        return self._fields(
            {k: x for k, x in values.items() if x is not None},
            {k: x for k, x in places.items() if x is not None},
            masks,
        )

    def _fields(
        self, values: dict[str, Values], places: dict[str, Geometries], masks: dict[str, Values]
    ) -> Fields:
        homes = {
            k: x.space.domain.name
            for k, x in self.ports.items()
            if k in values and x.space.domain.name in places
        }
        own = [k for k in values if _own(places, homes, k)]
        values = {k: _packed(x) if k in own else x for k, x in values.items()}
        masks = {k: _packed(x) if k in own else x for k, x in masks.items()}
        values |= {k: filled(values[k], x) for k, x in masks.items()}
        inputs = {x.name for x in self.graph.inputs}
        roles: dict[str, Role] = {k: "input" if k in inputs else "output" for k in values}
        on_grids = (x for k, x in self.ports.items() if k in values and k not in homes)
        grid = next((x for x in on_grids if x.space.domain.dims), None)
        domain = None if grid is None else grid.space.domain
        array = None if grid is None else values[grid.name]
        return Fields(
            name=self.graph.name,
            values=values,
            roles=roles,
            axes=() if domain is None else tuple(f"axis_{i}" for i in range(domain.dims)),
            resolution=tuple(array.shape[2:]) if isinstance(array, Tensor) else (),
            suspects=suspects(values, roles) if self.judged else (),
            source=self.label,
            fingerprint=fingerprint(_identity(values, masks), places) if self.judged else "",
            layout=_layout(domain),
            places=places,
            homes=homes,
            mapped=True,
            masks=masks,
        )

    # ------------------------------------------------------------------------------------ mistakes

    def _error(self, code: str, message: str, *helps: str) -> None:
        self.errors.append(fault(code, message, helps=helps, file=self.label))

    def _names(self, data: Mapping[str, Any]) -> None:
        """Refuse unknown names; missing functions are refused where they are bound."""
        names = [*self.ports, *self.scattered]
        for name in data:
            if name not in names and not _are_masks(name, data):
                near = did_you_mean(str(name), names) or (f"name each array, {EXAMPLE}",)
                has = " and ".join(f"`{x}`" for x in names)
                message = f"`{name}` is no input, output or domain of `{self.graph.name}`, "
                self._error("OP0611", f"{message}which has {has}", *near)
        only_points = not self.graph.inputs and any(x in data for x in self.scattered)
        if not only_points and not any(x in data for x in self.ports):
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

    def _masks(
        self, values: Mapping[str, Values | None], data: Mapping[str, Any]
    ) -> dict[str, Values]:
        """Return the masks of functions; those that do not fit are errors."""
        masks: dict[str, Values] = {}
        for name, mask in (data[MASKS] if _are_masks(MASKS, data) else {}).items():
            x = values.get(name)
            if name not in self.ports:
                near = did_you_mean(str(name), self.ports)
                has = " and ".join(f"`{y}`" for y in self.ports)
                message = f"a mask is named for `{name}`, but the model has {has}"
                self._error("OP0681", message, *near)
            elif x is not None:
                try:
                    masks[name] = as_mask(name, mask, x, source=self.label)
                except OpError as error:
                    self.errors.append(error)
        return masks

    def _repeated(
        self, values: dict[str, Values | None], places: Mapping[str, Geometries | None]
    ) -> dict[str, Values | None]:
        """Repeat inputs that all samples share, without copies, as often as there are samples."""
        others = [x for k, x in values.items() if x is not None and k not in self.static]
        count = len(others[0]) if others else max((len(x) for x in places.values() if x), default=1)
        return {
            k: x.expand(count, *x.shape[1:]) if k in self.static and isinstance(x, Tensor) else x
            for k, x in values.items()
        }

    def _values(self, port: Port, x: Any) -> Values | None:
        """Return an array as (samples, channels, *grid), or packed; None where that fails."""
        try:
            array = as_tensors(port.name, x)
        except OpError as error:
            self.errors.append(error)
            return None
        if isinstance(array, list) and all(isinstance(y, Tensor) for y in array):
            shapes = [tuple(y.shape) for y in array]
            other = next((i for i, y in enumerate(shapes) if y != shapes[0]), None)
            if other is not None and not port.space.domain.scattered:
                message = f"`{port.name}` has shape {shapes[other]} in sample {other}, and "
                message += f"{shapes[0]} in the first"
                self._error("OP0613", message, "samples of one data set have one resolution")
                return None
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
        axes, channels = _dims(port.space.domain), port.space.channels
        if x.ndim == axes + 2:
            return x
        if x.ndim == axes + 1 and channels == 1:
            return x.unsqueeze(1)
        shared = (axes, 1) if channels == 1 else (axes + 1, x.shape[0] if x.ndim else 0)
        may_be_static = len(self.graph.inputs) > 1  # the only input has to vary
        if (x.ndim, channels) == shared and x.ndim and may_be_static and port in self.graph.inputs:
            self.static.add(port.name)
            return x[None, None] if channels == 1 else x[None]
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


def _identity(values: dict[str, Values], masks: dict[str, Values]) -> dict[str, Values]:
    """Return what the identity of a data set is made of: its values, and its masks if any."""
    return values | {f"{MASKS}.{k}": x for k, x in masks.items()}


def _layout(domain: Domain | None) -> Layout:
    """Return where the points of a grid are; one word for all axes unless samplings are declared.

    The rule without samplings is that of older versions, which had one layout for all axes.
    """
    declared = None if domain is None else declared_layout(domain)
    if declared is not None:
        return declared
    return "periodic" if domain is None or all(domain.periodic) else "node"


def _dims(domain: Domain) -> int:
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


def _are_masks(name: str, data: Mapping[str, Any]) -> bool:
    """Whether a key holds masks by the names of inputs and outputs."""
    return name == MASKS and isinstance(data.get(name), Mapping)


def _packed(x: Values) -> Packed:
    return x if isinstance(x, Packed) else Packed.of(x.unbind(0))
