"""The order of samples in an epoch, and the part of each batch that this process has.

The order is a function of (seed, epoch) and of nothing that went before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from opdsl.parallel.mesh import ProcessMesh
from opdsl.train.engine.loader import Batch, DeviceLoader, Transform
from opdsl.train.engine.prefetch import LoadedBatch


def permutation(seed: int, epoch: int, size: int) -> Tensor:
    """Return `size` indices, ordered by draws of the counter-based Philox, key (seed, epoch).

    Sorting raw draws keeps the order the same in every version of numpy.

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    key = np.array([seed, epoch], dtype=np.uint64)
    draws = np.random.Philox(key=key).random_raw(size)
    return torch.from_numpy(np.argsort(draws, kind="stable"))


@dataclass(frozen=True, slots=True)
class StepPart:
    """The samples of a batch, and of them those of this process.

    Attributes:
        rows: the indices of all samples of the batch.
        own: those of this process.
        counts: whether they count; see `Batch`.
    """

    rows: Tensor
    own: Tensor
    counts: bool

    @classmethod
    def of(cls, rows: Tensor, loader: DeviceLoader, mesh: ProcessMesh) -> StepPart:
        """Divide a batch among the processes of a mesh."""
        return cls(rows, *loader.own_part(rows, mesh))


def on_device(
    loader: DeviceLoader,
    parts: Sequence[StepPart],
    loaded: Sequence[LoadedBatch],
    transform: Transform | None,
) -> list[Batch]:
    """Move the samples of a step to the device.

    Args:
        loader: of the samples.
        parts: the samples of each batch.
        loaded: the values of those of this process.
        transform: as for `DeviceLoader.take`.
    """
    return [
        loader.on_device(x.own, some, transform, counts=x.counts)
        for x, some in zip(parts, loaded, strict=True)
    ]
