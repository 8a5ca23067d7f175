"""Checks of one input of a call: axes, channels, resolution, number format, device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from opdsl.diagnostics import OpError
from opdsl.ir.axes import Axis
from opdsl.ir.certificate import AxisPromise
from opdsl.ir.graph import Port
from opdsl.ir.origins import Grid
from opdsl.ir.spaces import Domain
from opdsl.lower.call_arguments import CallArgument, representative
from opdsl.lower.shape_texts import dtype_name, layout_text, shape_text, size_text
from opdsl.nn.points.packed import Packed

if TYPE_CHECKING:
    from opdsl.lower.guards import Guards

Texts = tuple[str, ...]
CASTABLE = {torch.float32, torch.bfloat16, torch.float16}  # autocast leaves float64 as it is
NO_POINTS = "leave out samples without points"


def check_input(guards: Guards, port: Port, x: CallArgument, weight: Tensor) -> None:
    """Check one input against its space and against the weights.

    Args:
        guards: those of the graph.
        port: the input.
        x: its value.
        weight: a tensor with the number format and the device of the model.

    Raises:
        OpError: OP0901, it has not the axes of its domain; OP0902, another number of channels;
            OP0903, a resolution that is not promised; OP0905, another number format or device;
            OP0906, it is packed where samples share their points.
    """
    tensor = representative(x)
    for check in (_check_number_format, _check_axes, _check_channels):
        check(guards, port, tensor)
    _check_sizes(guards, port, x)
    _check_format(guards, port, tensor, weight)


def _check_number_format(guards: Guards, port: Port, x: Tensor) -> None:
    fits = x.dtype.is_complex if port.space.complex else x.dtype.is_floating_point
    if fits:
        return
    if port.space.complex:
        cure = f"make it complex: `torch.complex({port.name}, torch.zeros_like({port.name}))`"
        message = f"input `{port.name}` holds {dtype_name(x)} numbers, expected complex numbers"
        raise guards.refuse("OP0905", port, message, (cure,))
    if x.dtype.is_complex:
        cure = f"give its parts as channels: `torch.cat(({port.name}.real, {port.name}.imag), 1)`"
    else:
        cure = f"convert it: `{port.name}.float()`"
    message = (
        f"input `{port.name}` holds {dtype_name(x)} numbers, expected real floating-point numbers"
    )
    raise guards.refuse("OP0905", port, message, (cure,))


def _check_axes(guards: Guards, port: Port, x: Tensor) -> None:
    domain = port.space.domain
    if x.ndim == domain.dims + 2:
        return
    message = (
        f"input `{port.name}` has {x.ndim} axes, {shape_text(x)}, expected {layout_text(port)}"
    )
    raise guards.refuse("OP0901", port, message, (_axes_cure(port, x),))


def _axes_cure(port: Port, x: Tensor) -> str:
    dims, channels, name = port.space.domain.dims, port.space.channels, port.name
    if x.ndim == dims:
        return f"the batch and channel axes are missing: `{name}[None, None]`"
    if x.ndim == dims + 1 and channels == 1:
        return f"the channel axis seems to be missing: `{name}.unsqueeze(1)`"
    if x.ndim == dims + 1 and x.shape[0] == channels:
        return f"the batch axis seems to be missing: `{name}.unsqueeze(0)`"
    if x.ndim == dims + 1 and x.shape[-1] == channels:
        return f"one sample with its channels last? `{name}.movedim(-1, 0).unsqueeze(0)`"
    if x.ndim == dims + 3:
        return "a time axis can be merged with the channels: `flatten(1, 2)`"
    return f"give a tensor {layout_text(port)}"


def _check_channels(guards: Guards, port: Port, x: Tensor) -> None:
    space = port.space
    if x.shape[1] == space.channels:
        return
    names = f": {', '.join(space.components)}" if space.components else ""
    mismatch = f"input `{port.name}` has {x.shape[1]} channels, {shape_text(x)}"
    message = f"{mismatch}, expected {space.channels}{names}"
    last = x.shape[-1] == space.channels
    swap = f"the channels seem to stand last: `{port.name}.movedim(-1, 1)`"
    layout = f"the layout is {layout_text(port)}"
    raise guards.refuse("OP0902", port, message, (swap, layout) if last else (layout,))


def _check_resolution(guards: Guards, port: Port, x: Tensor) -> None:
    domain = port.space.domain
    if domain.modes is not None:
        _check_frequencies(guards, port, x)
        return
    first = 0
    for part in domain.parts:
        _check_factor(guards, port, part, tuple(x.shape[2 + first : 2 + first + part.dims]))
        first += part.dims


def _check_frequencies(guards: Guards, port: Port, x: Tensor) -> None:
    expected = port.space.domain.frequencies
    if tuple(x.shape[2:]) != expected:
        size = size_text(x.shape[2:])
        message = f"input `{port.name}` has {size} frequencies, expected {size_text(expected)}"
        raise guards.refuse("OP0903", port, message, (f"the layout is {layout_text(port)}",))


def _check_factor(guards: Guards, port: Port, domain: Domain, grid: Grid) -> None:
    """Check the grid of an input on one factor of its domain."""
    for i, axis in enumerate(domain.axes):
        n = int(grid[i])
        promise = guards.promises.get((domain.name, axis.name))
        root = domain.root_of(i, n) if domain.steps else n
        expected = broken_promise(axis, root, promise.needed if promise else 1)
        if expected and domain.steps:
            expected = f"{expected} on `{domain.name}`"
        if domain.points_on(i, root) != n:
            expected = f"a grid that is `{domain}` of some `{domain.name}`"
        if expected:
            raise _unfit_size(guards, port, domain, i, n, expected)


def broken_promise(axis: Axis, n: int, needed: int) -> str | None:
    """Write the promise that `n` points break as in a program; None if all are kept."""
    least = max(axis.least, needed)
    if axis.pinned and n != (axis.fixed or axis.size):
        return f"{axis.name} = {axis.fixed or axis.size} only"
    if n < least:
        return f"{axis.name} >= {least}"
    if axis.max is not None and n > axis.max:
        return f"{axis.name} <= {axis.max}"
    if n % axis.multiple_of:
        return f"multiples of {axis.multiple_of} along {axis.name}"
    return None


def _unfit_size(guards: Guards, port: Port, domain: Domain, i: int, n: int, wanted: str) -> OpError:
    """Make OP0903 for axis `i` of a factor, which has `n` points."""
    axis = domain.axes[i]
    promise = guards.promises.get((domain.name, axis.name))
    along = "" if domain.scattered else f" along {axis.name}"
    points = f"{n} point{'' if n == 1 else 's'}{along}"
    message = f"input `{port.name}` has {points}; `{guards.graph.name}` promises {wanted}"
    sizes = " or ".join(str(x) for x in _nearest_sizes(n, domain, i, promise))
    resample = f"resample the data to {sizes} points{along}"
    if domain.scattered and n == 0:
        resample = NO_POINTS
    notes, cures = _reasons(domain.least_root(i, n), axis, promise)
    return guards.refuse("OP0903", port, message, (resample, *cures), notes)


def _reasons(root: int, axis: Axis, promise: AxisPromise | None) -> tuple[Texts, Texts]:
    """Return notes on the operator that needs more points, and how to change it."""
    cause = promise.cause if promise else None
    if cause is None:
        return (), ()
    if root >= cause.points:
        return (f"the operators themselves need {axis.name} >= {cause.points}",), ()
    cure = cause.bound.cure(cause.bound.domain.points_on(cause.bound.axis, root))
    notes = (f"{cause.text} ({cause.place})", cause.bound.note)
    return notes, (f"or keep less there: `{cure}`",)


def _nearest_sizes(n: int, domain: Domain, i: int, promise: AxisPromise | None) -> list[int]:
    """Find the one or two admissible numbers of points on axis `i` nearest to `n`."""
    axis = domain.axes[i]
    if axis.pinned:
        return [domain.points_on(i, axis.fixed or axis.size or n)]
    step, root = axis.multiple_of, domain.least_root(i, n)
    low = -(-max(axis.min, promise.needed if promise else 1) // step) * step
    high = axis.max // step * step if axis.max is not None else None
    below = root if domain.points_on(i, root) == n else root - 1
    around = (below // step * step, -(-root // step) * step)
    sizes = {max(low, x if high is None else min(high, x)) for x in around}
    return sorted(domain.points_on(i, x) for x in sizes)


def _check_format(guards: Guards, port: Port, x: Tensor, weight: Tensor) -> None:
    if x.device != weight.device:
        message = f"input `{port.name}` is on {x.device}, the model on {weight.device}"
        cure = f'move it: `{port.name}.to("{weight.device}")`'
        raise guards.refuse("OP0905", port, message, (cure,))
    dtype, own = x.dtype.to_real(), weight.dtype.to_real()
    if dtype == own or ({dtype, own} <= CASTABLE and autocast(x)):
        return
    message = f"input `{port.name}` holds {dtype_name(x)} numbers, the model {dtype_name(weight)}"
    cures = (_convert(port.name, weight.dtype), _convert("model", x.dtype))
    helps = (f"convert the input: `{cures[0]}`", f"or the model: `{cures[1]}`")
    raise guards.refuse("OP0905", port, message, helps)


def autocast(x: Tensor) -> bool:
    """Return whether autocast is active on the device of `x`."""
    kind = x.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def _convert(name: str, dtype: torch.dtype) -> str:
    short = {torch.float32: "float", torch.float64: "double", torch.float16: "half"}
    return f"{name}.{short[dtype]}()" if dtype in short else f"{name}.to({dtype})"


def _check_sizes(guards: Guards, port: Port, x: CallArgument) -> None:
    """Check the resolution, sample by sample if packed, which only per-sample points may be."""
    if not isinstance(x, Packed):
        _check_resolution(guards, port, representative(x))
        return
    domain = port.space.domain
    if not domain.scattered or domain.geometry != "per_sample":
        message = f"input `{port.name}` is packed, but all samples share the points of `{domain}`"
        cure = f"declare it so: `{domain} = {domain.kind}({domain.ambient}, geometry = per_sample)`"
        helps = (cure,) if domain.scattered else (f"give a tensor {layout_text(port)}",)
        raise guards.refuse("OP0906", port, message, helps)
    for n in sorted(set(x.sizes)):
        _check_factor(guards, port, domain, (n,))
