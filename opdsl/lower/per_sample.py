"""A node run sample by sample, where samples differ in their number of points.

Pointwise modules take packed tensors (1, points of all samples, c) as they are, and some modules
support packed tensors through `ragged`; every other module runs here.
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
    """Run a module for each sample on its own, and concatenate the results.

    Args:
        module: of a node, without support for packed tensors.
        inputs: (1, total, c) where packed, else (samples or 1, *grid, c).
        ragged: of each input, and last of the result, the points of each sample.
        more: keywords of the module; `size` and `asked` are narrowed to the sample.
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
    """Select the keyword arguments of sample `i`."""
    own = dict(more)
    if points is not None and "size" in own:
        own["size"] = (points,)
    if "asked" in own:
        own["asked"] = tuple(_sample_of(x, i) for x in own["asked"])
    return own


def _sample_of(x: Tensor | Geometries, i: int) -> Tensor | Geometries:
    """Select the geometry of sample `i`; a static field is shared by all samples."""
    return x if isinstance(x, Tensor) or len(x) == 1 else (x[i],)
