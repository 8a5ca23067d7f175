"""A node at work where samples have numbers of points of their own.

What comes in: the tensors of a node, packed where a domain of it is, (1, points of all samples,
c). What goes out: its result, packed the same way. What acts at each point alone takes packed
tensors as they are, and a module that knows packs is told the sizes; any other runs here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from opdsl.nn.points.geometry import Geometries

SampleSizes = tuple[int, ...] | None  # points of each sample, None where the domain is not packed


def run_per_sample(
    module: nn.Module,
    inputs: Sequence[Tensor],
    ragged: Sequence[SampleSizes],
    more: Mapping[str, Any],
) -> Tensor:
    """The module for each sample on its own, and the results together again.

    Args:
        module: that of a node, which has never heard of packs.
        inputs: (1, total, c) where packed, else (samples or 1, *grid, c).
        ragged: of each input, and last of the result, the points of each sample.
        more: keywords of the module; `size` and `asked` are made those of the sample.
    """
    count = next(len(x) for x in ragged if x is not None)
    pieces = [_split(x, sizes, count) for x, sizes in zip(inputs, ragged, strict=False)]
    out = ragged[-1]
    results = [
        module(
            *(x[i] for x in pieces), **_sample_keywords(more, i, None if out is None else out[i])
        )
        for i in range(count)
    ]
    return torch.cat(results, 0 if out is None else 1)


def _split(x: Tensor, sizes: SampleSizes, count: int) -> Sequence[Tensor]:
    if sizes is not None:
        return torch.split(x, list(sizes), 1)
    return torch.split(x.expand(count, *x.shape[1:]), 1)


def _sample_keywords(more: Mapping[str, Any], i: int, points: int | None) -> dict[str, Any]:
    """The keywords for sample `i`."""
    own = dict(more)
    if points is not None and "size" in own:
        own["size"] = (points,)
    if "asked" in own:
        own["asked"] = tuple(_sample_of(x, i) for x in own["asked"])
    return own


def _sample_of(x: Tensor | Geometries, i: int) -> Tensor | Geometries:
    """What was asked for, for sample `i`; a field is one for all."""
    return x if isinstance(x, Tensor) or len(x) == 1 else (x[i],)
