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
from torch.utils.data import Dataset, IterableDataset

from opdsl.data.bind.samples import Fields
from opdsl.diagnostics import fault
from opdsl.ir.graph import Graph
from opdsl.workflow.datasets.masks import MASKS
from opdsl.workflow.datasets.named_arrays import EXAMPLE, Converter
from opdsl.workflow.datasets.sources import TEST, TRAIN, VALID, Sources

# a path; functions by name; items by name, or (input, output); what `open_dataset` returns
TrainingData: TypeAlias = "str | PathLike[str] | Mapping[str, Any] | Dataset[Any] | Fields"


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
    return Converter(graph, label).convert(data)


# ------------------------------------------------------------------------------- data sets of torch


def _collect(graph: Graph, data: Dataset[Any], label: str) -> dict[str, Any]:
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
    masks = columns.get(MASKS, [])
    if masks and all(isinstance(x, Mapping) for x in masks):  # by name, then by sample
        by_name = {k: [x[k] for x in masks if k in x] for k in masks[0]}
        return {**columns, MASKS: by_name}
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
