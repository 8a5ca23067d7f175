"""Read batches of a streamed sample set ahead of their use, in processes beside the training.

The batches and their order do not depend on the number of processes.

Source: torch.utils.data.DataLoader runs the processes.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from opdsl.diagnostics import fault
from opdsl.nn.points.batch import Values, all_values

# open files and the model's graph are inherited, as other systems do not allow or not safely
FORKS = sys.platform == "linux"
AHEAD = 2  # batches that each process reads before they are needed
PlainFields = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class LoadedBatch:
    """Some samples in memory: inputs, outputs and quadrature weights by name."""

    inputs: dict[str, Values]
    outputs: dict[str, Values]
    weights: dict[str, Values]


Read = Callable[[Sequence[int]], LoadedBatch]


class Prefetch:
    """The batches of a streamed set; `close` ends the processes.

    Args:
        read: reads the samples of some indices.
        workers: the number of processes; 0 reads batches when they are used.
    """

    def __init__(self, read: Read, workers: int) -> None:
        self._read, self._workers = read, workers
        self._order = _Order()
        self._loader: DataLoader[Any] | None = None

    def batches(self, order: Sequence[Tensor]) -> Iterator[LoadedBatch]:
        """Yield the samples of each batch.

        Args:
            order: the indices of the samples of each batch.

        Raises:
            OpError: OP0610, values cannot be read; OP0630, a process was ended by the system.
        """
        if not self._workers or not FORKS:
            yield from (self._read(x.tolist()) for x in order)
            return
        self._order.batches = [x.tolist() for x in order]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about more processes than processors
            self._loader = self._loader or _loader(self._read, self._workers, self._order)
            with _watched():
                items = iter(self._loader)
        for _ in order:
            with _watched():
                item = next(items)
            if isinstance(item, Exception):
                raise item
            yield LoadedBatch(*map(_tensors, item))

    def close(self) -> None:
        """End the processes."""
        self._loader = None


class _Order:
    """What DataLoader takes for a sampler: the batches of an epoch, which `Prefetch` sets."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Batches(Dataset[Any]):
    """What DataLoader takes for a data set, whose items are batches as plain arrays.

    They come through pipes: the shared memory of a container is small.
    """

    def __init__(self, read: Read) -> None:
        self._read = read

    def __getitem__(self, rows: Any) -> tuple[PlainFields, ...] | Exception:
        try:
            batch = self._read(rows)
        except Exception as error:  # noqa: BLE001  a user's data set may raise any; `batches` does
            return error
        return tuple(_arrays(x) for x in (batch.inputs, batch.outputs, batch.weights))


def _tensors(arrays: PlainFields) -> dict[str, Values]:
    return {k: torch.from_numpy(x) for k, x in arrays.items()}


def _arrays(fields: Mapping[str, Values]) -> PlainFields:
    return {k: np.ascontiguousarray(all_values(x).numpy()) for k, x in fields.items()}


def _loader(read: Read, workers: int, order: _Order) -> DataLoader[Any]:
    return DataLoader(
        _Batches(read),
        sampler=order,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=AHEAD,
        persistent_workers=True,
        multiprocessing_context="fork",
        collate_fn=_as_it_is,
        worker_init_fn=_prepare_process,
        generator=torch.Generator(),  # else it draws from the generator of the run
    )


def _as_it_is(item: Any) -> Any:
    return item


def _prepare_process(_: int) -> None:
    """Leave Ctrl-C to the training process, and end without an error when asked to.

    A process that ends with an error makes torch raise one in the training process, in the middle
    of whatever it does.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


@contextmanager
def _watched() -> Iterator[None]:
    """Turn what torch raises about a process that has ended into OP0630."""
    try:
        yield
    except RuntimeError as error:
        if str(error).startswith("Caught "):  # an item of the user's data set raised it
            raise
        message = "a process that reads samples has ended before its time"
        notes = ("the system ends processes when memory is short",)
        helps = (
            "lower `batch` or `data.workers`; `data.workers = 0` reads in the training process",
        )
        raise fault("OP0630", message, notes=notes, helps=helps) from error
