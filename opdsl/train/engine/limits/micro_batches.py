"""Parts of a batch, whose gradients are added up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from opdsl.nn.points.batch import Values, count_samples, select, select_geometries
from opdsl.train.engine.loader import Batch, FieldValues


def micro_batches(batch: Batch, parts: int, *, always: bool = False) -> Iterator[Batch]:
    """Yield nearly equal parts of a batch, in its order; functions on grids are views.

    Args:
        batch: any batch.
        parts: how many; of fewer samples each is a part.
        always: whether there are as many parts even so, the further ones with a sample that does
            not count, as processes that share a batch have to call the model equally often.
    """
    count = count_samples(batch.inputs, batch.places)
    if parts == 1 or (count < 2 and not always):
        yield batch
        return
    for rows in torch.tensor_split(torch.arange(count), parts if always else min(parts, count)):
        counts = batch.counts and len(rows) > 0
        yield _part(replace(batch, counts=counts), rows if len(rows) else torch.arange(1))


def _part(batch: Batch, rows: Tensor) -> Batch:
    return replace(
        batch,
        inputs=_some(batch.inputs, rows),
        truth=_some(batch.truth, rows),
        places={k: select_geometries(x, rows) for k, x in batch.places.items()},
        weights=_some(batch.weights, rows),
    )


def _some(fields: FieldValues, rows: Tensor) -> FieldValues:
    return {k: x if len(x) == 1 else _rows(x, rows) for k, x in fields.items()}


def _rows(x: Values, rows: Tensor) -> Values:
    return x[int(rows[0]) : int(rows[-1]) + 1] if isinstance(x, Tensor) else select(x, rows)
