"""`TorchSet`: a data set of torch, whose items are samples, read when they are asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from opdsl.data.bind.samples import Fields
from opdsl.data.derive.coarsen import Layout, Resolution
from opdsl.diagnostics import fault
from opdsl.ir.graph import Graph
from opdsl.workflow.datasets.reading.coarser import coarser
from opdsl.workflow.datasets.reading.masks import MASKS
from opdsl.workflow.datasets.reading.named_arrays import Converter


class TorchSet:
    """A data set of torch as a handle; its items are functions by name, or (inputs, outputs)."""

    def __init__(
        self,
        graph: Graph,
        data: Dataset[Any],
        source: str,
        resolution: Resolution | None = None,
        layout: Layout | None = None,
    ) -> None:
        self._graph, self._data, self.source = graph, data, source
        self._resolution, self._layout = resolution, layout

    def at(self, resolution: Resolution | None, layout: Layout | None) -> TorchSet:
        """Return the handle of the same samples on every k-th point."""
        return TorchSet(self._graph, self._data, self.source, resolution, layout)

    def __len__(self) -> int:
        try:
            return len(self._data)  # type: ignore[arg-type]  # torch declares no length
        except TypeError as error:
            message = f"a data set of torch, `{type(self._data).__name__}`, has no length"
            helps = (
                "define `__len__`, the number of samples",
                "or derive it from `IterableDataset`: it is then read whole",
            )
            raise fault("OP0610", message, helps=helps, file=self.source) from error

    def first(self, count: int | None) -> Fields:
        """Read the first samples, or all, at the resolution of the data set.

        Raises:
            OpError: OP0610, there are none; OP0611 or OP0613, an item does not fit the model.
        """
        if isinstance(self._data, IterableDataset):
            items: Iterable[Any] = self._data
        else:
            items = (self._data[i] for i in range(len(self)))
        return self._fields(islice(items, count), judged=True)

    def read(self, rows: Sequence[int]) -> Fields:
        """Read samples; see `Handle.read`."""
        fields = self.stored(rows)
        if self._layout is not None and fields.layout == "periodic":
            fields = replace(fields, layout=self._layout)
        return fields if self._resolution is None else coarser(fields, self._resolution)

    def stored(self, rows: Sequence[int], names: Collection[str] | None = None) -> Fields:
        """Read fields; see `Handle.stored`."""
        fields = self._fields((self._data[i] for i in rows), judged=False)
        fields = replace(fields, start=min(rows, default=0))
        if names is None:
            return fields
        return replace(fields, values={k: x for k, x in fields.values.items() if k in names})

    def _fields(self, items: Iterable[Any], *, judged: bool) -> Fields:
        columns = _columns(self._graph, items, self.source)
        return Converter(self._graph, self.source, judged=judged).convert(columns)


def _columns(graph: Graph, items: Iterable[Any], label: str) -> dict[str, Any]:
    """Gather items of a data set of torch by the names of the functions.

    Raises:
        OpError: OP0613, an item is neither a dictionary nor (inputs, outputs) of the model, or has
            other names than the first; OP0681, it has masks of other functions.
    """
    columns: dict[str, list[Any]] = {}
    masked: list[str] = []
    for i, item in enumerate(items):
        functions = dict(item) if isinstance(item, Mapping) else _by_position(graph, item, label)
        masks = functions.get(MASKS)
        names = sorted(map(str, masks)) if isinstance(masks, Mapping) else []
        masked = masked if columns else names
        if names != masked:
            message = f"item {i} has masks of {names}, the first has those of {masked}"
            helps = ("where all values of an item count, its mask is 1 everywhere",)
            raise fault("OP0681", message, helps=helps, file=label)
        if columns and set(functions) != set(columns):
            message = f"item {i} has the names {list(functions)}, the first has {list(columns)}"
            raise fault("OP0613", message, file=label)
        for name, x in functions.items():
            columns.setdefault(name, []).append(torch.as_tensor(x) if np.isscalar(x) else x)
    if not columns:
        raise fault("OP0610", "there are no samples, at least one is needed", file=label)
    every = columns.get(MASKS, [])
    if every and all(isinstance(x, Mapping) for x in every):  # by name, then by sample
        return {**columns, MASKS: {k: [x[k] for x in every] for k in every[0]}}
    return columns


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
