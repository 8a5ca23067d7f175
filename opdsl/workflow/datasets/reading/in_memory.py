"""Arrays, tensors and data sets of torch as a data set of ours.

Every function is named as an input or an output of the model, and the coordinates of points as
their domain. The first axis counts samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any, TypeAlias

from torch.utils.data import Dataset, IterableDataset

from opdsl.data.bind.samples import Fields
from opdsl.diagnostics import fault
from opdsl.ir.graph import Graph
from opdsl.train.config.schema import joined_paths
from opdsl.workflow.datasets.reading.named_arrays import EXAMPLE, Converter
from opdsl.workflow.datasets.reading.sources import TEST, TRAIN, VALID, Sources
from opdsl.workflow.datasets.reading.torch_sets import TorchSet

# a path or a list of them; functions by name; items by name, or (input, output); `open_dataset`'s
Paths: TypeAlias = "str | PathLike[str] | Sequence[str | PathLike[str]]"
TrainingData: TypeAlias = "Paths | Mapping[str, Any] | Dataset[Any] | Fields"


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
    memory: dict[str, Fields | TorchSet] = {}
    settings: dict[str, Any] = {}

    def register(value: Any, label: str) -> Any:
        path = as_path(value)
        if path is not None:
            return path
        memory[label] = registered(graph, value, label)
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


def as_path(value: Any) -> str | None:
    """Return a path, or that of a list of paths, as settings have it; None for other data."""
    if isinstance(value, str | PathLike):
        return fspath(value)
    if isinstance(value, list | tuple) and all(isinstance(x, str | PathLike) for x in value):
        return str(joined_paths([fspath(x) for x in value]))
    return None


def registered(graph: Graph, data: Any, label: str) -> Fields | TorchSet:
    """Convert a data set in memory, but leave a data set of torch to be read when it is needed.

    Raises:
        OpError: as `as_sources`.
    """
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        return TorchSet(graph, data, label)
    return as_fields(graph, data, label)


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
        return TorchSet(graph, data, label).first(None)
    if not isinstance(data, Mapping):
        message = (
            f"{label} is a {type(data).__name__}, expected a path, arrays by name or a Dataset"
        )
        raise fault("OP0611", message, helps=(f"name each array, {EXAMPLE}",), file=label)
    return Converter(graph, label).convert(data)
