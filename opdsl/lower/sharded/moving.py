"""Blocks whose points come from other parts: stencils, padding, and maps of each channel alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from opdsl.lower.sharded.site import NodeSite, StepArguments, by_class, of_class, own_forward
from opdsl.nn.grid.conv import Conv
from opdsl.nn.grid.difference import DifferenceConv
from opdsl.nn.grid.disco import DiscoConv
from opdsl.nn.grid.pad import Crop, Pad
from opdsl.parallel.exchanges import fetch, narrow, transpose
from opdsl.sampling import spacings


def halo(
    site: NodeSite, module: nn.Module, inputs: Sequence[Tensor], _more: StepArguments
) -> Tensor:
    """Run a stencil on the own points and the halo around them, and cut the halo off.

    The stencil fills the ends of the window as those of the axis; at ends within the axis these
    values reach the halo only.
    """
    (x,), a, n, reach = inputs, site.axis, site.points, site.rule.points
    own, periodic = site.space.own(n), site.step.node.space.domain.periodic[a]
    window = range(own.start - reach, own.stop + reach)
    x = fetch(
        x, site.space, a + 1, n, [_within(r, reach, n, periodic) for r in site.space.parts(n)]
    )
    first = window.start
    if not periodic:
        first = max(first, 0)
    elif len(window) >= n:  # the whole axis came, once
        x = x.index_select(a + 1, torch.arange(window.start, window.stop, device=x.device) % n)
    if periodic and not _wraps(module, a):
        inside = range(max(window.start, 0), min(window.stop, n))
        x, first = x.narrow(a + 1, inside.start - first, len(inside)), inside.start
    y = own_forward(_on_window(module, a, n, x.shape[a + 1]), x)
    return y.narrow(a + 1, own.start - first, len(own))


def _within(part: range, reach: int, n: int, periodic: bool) -> range:
    """Return the points of a part and its halo, each once, as `fetch` takes them."""
    wide = range(part.start - reach, part.stop + reach)
    if periodic:
        return range(n) if len(wide) >= n else wide
    return range(max(wide.start, 0), min(wide.stop, n))


def shift(
    site: NodeSite, module: nn.Module, inputs: Sequence[Tensor], _more: StepArguments
) -> Tensor:
    """Pad with zeros, or crop: each process fetches the points that its part of the result has."""
    (x,), a, size = inputs, site.axis, site.grids[-1]
    n, before = site.points, site.rule.before
    wanted = [
        range(max(0, r.start - before), max(0, r.start - before, min(r.stop - before, n)))
        for r in site.space.parts(size[a])
    ]
    first = of_class(OTHER_AXES_FIRST, module)
    if first:
        x = own_forward(module, x, (*size[:a], x.shape[a + 1], *size[a + 1 :]))
    x = fetch(x, site.space, a + 1, n, wanted)
    own, had = site.space.own(size[a]), wanted[site.space.index]
    if not len(had):
        had = range(own.start - before, own.start - before)
    zeros = (had.start + before - own.start, own.stop - had.stop - before)
    x = functional.pad(x, (*(0, 0) * (x.ndim - 2 - a), *zeros))
    if not first:
        x = own_forward(module, x, (*size[:a], x.shape[a + 1], *size[a + 1 :]))
    return x


def channels(
    site: NodeSite, module: nn.Module, inputs: Sequence[Tensor], more: StepArguments
) -> Tensor:
    """Run a map of each group of channels alone on whole grids, for the own groups."""
    space, group = site.space, site.rule.group
    whole = []
    for x, axis, grid in zip(inputs, site.axes, site.grids, strict=False):
        groups = x.reshape(*x.shape[:-1], x.shape[-1] // group, group)
        if axis is None:
            groups = narrow(groups, x.ndim - 1, space.own(groups.shape[-2]))
        else:
            groups = transpose(groups, space, axis + 1, grid[axis], x.ndim - 1)
        whole.append(groups.flatten(-2))
    count = inputs[0].shape[-1] // group
    y: Tensor = module(
        *whole, **(dict(more) | ({"size": site.grids[-1]} if "size" in more else {}))
    )
    axis = site.axes[-1]
    assert axis is not None, "the result of a map of channels is sharded"
    parts = y.reshape(*y.shape[:-1], y.shape[-1] // group, group)
    return transpose(parts, space, y.ndim - 1, count, axis + 1).flatten(-2)


def _wraps(module: nn.Module, axis: int) -> bool:
    if by_class(IN_UNITS_OF_LENGTH, module) is None:
        return cast("Conv", module).periodic[axis]
    return cast("DifferenceConv | DiscoConv", module).edges[axis] == "wrap"


def _on_window(module: nn.Module, axis: int, n: int, width: int) -> nn.Module:
    """Return the stencil for a window that keeps the spacing of n points on the whole axis."""
    kind = by_class(IN_UNITS_OF_LENGTH, module)
    if kind is None:
        return module
    # a copy that shares the weights, of the class itself: those that FSDP makes cannot be copied
    result = cast("DifferenceConv | DiscoConv", kind.__new__(kind))
    vars(result).update(vars(module))
    sampling, lengths = result.samplings[axis], list(result.lengths)
    lengths[axis] *= spacings(sampling, width) / spacings(sampling, n)
    result.lengths = tuple(lengths)
    return result


# whether a shift runs along the other axes first: a crop, which leaves less to send
OTHER_AXES_FIRST: dict[type[nn.Module], bool] = {Crop: True, Pad: False}
# stencils that depend on the spacing of the points
IN_UNITS_OF_LENGTH: dict[type[nn.Module], type[nn.Module]] = {
    DifferenceConv: DifferenceConv,
    DiscoConv: DiscoConv,
}
