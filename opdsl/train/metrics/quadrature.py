"""Quadrature weights of grids whose cells are not equal: the latitudes of a sphere.

Norms, means and quantiles of functions on such a grid are weighted by them; on a grid of equal
cells plain sums are the same up to a factor, and there are no weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from opdsl.nn.points.batch import Values, all_values
from opdsl.nn.points.packed import Packed
from opdsl.nn.sphere.sampling import latitudes

Samplings = Mapping[str, tuple[str | None, ...]]


def grid_weights(samplings: Sequence[str | None], size: Sequence[int]) -> Tensor | None:
    """Return quadrature weights of a grid, with mean 1; None if all cells are equal.

    Args:
        samplings: for each axis, the rule by which its points are latitudes of a sphere, see
            `opdsl.nn.sphere.sampling.latitudes`; None for an axis of equal cells.
        size: points on each axis.

    Returns:
        (1, 1, *size), with 1 on axes of equal cells, float64.
    """
    weights = torch.ones((1,) * len(size), dtype=torch.float64)
    for axis, (rule, n) in enumerate(zip(samplings, size, strict=True)):
        if rule is not None and n > 1:
            shape = [n if i == axis else 1 for i in range(len(size))]
            weights = weights * (latitudes(n, rule)[1] * (n / 2)).reshape(shape)
    return weights[None, None] if weights.numel() > 1 else None


def field_weights(
    fields: Mapping[str, Values], samplings: Samplings, own: Mapping[str, Values]
) -> dict[str, Values]:
    """Return weights of each field by name, without those whose values all count alike.

    Args:
        fields: (samples, channels, *grid) or with an axis of time before the channels; or packed.
        samplings: of the fields that are on grids with unequal cells.
        own: weights that came with the data, which win; or masks (bool), by which the weights of a
            grid are multiplied: values where they are false do not count.
    """
    weights_by_name = {k: w for k, w in own.items() if k in fields}
    for name, x in fields.items():
        rules = samplings.get(name, ())
        if any(rules) and not isinstance(x, Packed):
            weights = grid_weights(rules, all_values(x).shape[-len(rules) :])
            mask = weights_by_name.get(name)
            if weights is not None and mask is None:
                weights_by_name[name] = weights
            elif weights is not None and isinstance(mask, Tensor) and mask.dtype == torch.bool:
                weights_by_name[name] = mask * weights.float()
    return weights_by_name
