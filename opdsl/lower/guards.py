"""What a model says about tensors that do not fit, before any of its arithmetic runs.

What comes in: the graph and the tensors of a call. What goes out: the tensors in the order of the
inputs, or a diagnostic with the input, what was met, what was expected, and what to do. Values are
not looked at, only shapes, number formats and devices, so nothing here waits for a device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from opdsl.diagnostics import Label, OpError, did_you_mean, fault
from opdsl.ir.certificate import AxisPromise, certify
from opdsl.ir.graph import Graph, Port
from opdsl.ir.origins import Origin, roots
from opdsl.ir.spaces import Axis, Domain

Texts = tuple[str, ...]
CASTABLE = {torch.float32, torch.bfloat16, torch.float16}  # autocast leaves float64 as it is


class Guards:
    """The checks of one graph's inputs."""

    def __init__(self, graph: Graph, sources: Mapping[str, Origin]) -> None:
        self.graph = graph
        self.sources = sources
        self.names = tuple(x.name for x in graph.inputs)

    def bind(self, inputs: Sequence[object], named: Mapping[str, object]) -> tuple[Tensor, ...]:
        """The tensors in the order of the model's inputs, given in that order or by name.

        Raises:
            OpError: OP0904, they are not the model's inputs, or not tensors.
        """
        if named or len(inputs) != len(self.names):
            inputs = self._sorted(inputs, named)
        # a loop and no comprehension of faults: this runs at every call
        tensors = []
        for name, x in zip(self.names, inputs, strict=True):
            if not isinstance(x, Tensor):
                raise self._no_tensor(name, x)
            tensors.append(x)
        return tuple(tensors)

    def check(self, tensors: Sequence[Tensor], weight: Tensor | None) -> None:
        """The tensors fit the spaces of the inputs, each other, and the weights.

        Args:
            tensors: one for each input.
            weight: any of the model's weights, None if it has none.

        Raises:
            OpError: OP0901, OP0902, OP0903, OP0905, OP0906.
        """
        for port, x in zip(self.graph.inputs, tensors, strict=True):
            for check in EACH:
                check(self, port, x)
            _format(self, port, x, tensors[0] if weight is None else weight)
        _batches(self, tensors)
        _grids(self, tensors)

    @cached_property
    def promises(self) -> dict[tuple[str, str], AxisPromise]:
        """What the certificate says, by domain and axis."""
        found = certify(self.graph).promises
        return {(x.domain.name, x.axis.name): x for x in found}

    def _sorted(self, inputs: Sequence[object], named: Mapping[str, object]) -> Sequence[object]:
        if len(inputs) > len(self.names):
            met = f"{_inputs(len(inputs))} given, `{self.graph.name}` takes {self._expected()}"
            raise self._misfit(met)
        given = dict(zip(self.names, inputs, strict=False))
        for name in named:
            if name not in self.names:
                helps = did_you_mean(name, self.names)
                message = f"`{self.graph.name}` has no input `{name}`, it takes {self._expected()}"
                raise self._misfit(message, helps)
            if name in given:
                raise self._misfit(f"input `{name}` is given twice, by its place and by its name")
        given |= named
        missing = [x for x in self.names if x not in given]
        if missing:
            names = ", ".join(f"`{x}`" for x in missing)
            raise self._misfit(f"missing {_inputs(len(missing), count=False)} {names}")
        return [given[x] for x in self.names]

    def _expected(self) -> str:
        return f"{len(self.names)}: " + ", ".join(f"`{x}`" for x in self.names)

    def _misfit(self, message: str, helps: tuple[str, ...] = ()) -> OpError:
        call = f"call it as `model({', '.join(self.names)})` or by name"
        return fault("OP0904", message, helps=(*helps, call), file=self.graph.name)

    def _no_tensor(self, name: str, x: object) -> OpError:
        kind = f"{type(x).__module__}.{type(x).__name__}".removeprefix("builtins.")
        cures = {
            "numpy.ndarray": f"`torch.from_numpy({name})` makes a tensor of it",
            "list": f"`torch.tensor({name})` makes a tensor of it",
            "dict": "give the inputs of a dict by name: `model(**inputs)`",
        }
        cure = cures.get(kind, "give a torch tensor")
        message = f"input `{name}` is not a tensor but {kind}"
        return fault("OP0904", message, helps=(cure,), file=self.graph.name)

    def refuse(
        self, code: str, port: Port, message: str, helps: Texts, notes: Texts = ()
    ) -> OpError:
        """A diagnostic about one input; it points to the line that declares it, if there is one."""
        labels = (Label(port.span, f"declared here: `{port.space}`"),) if port.span else ()
        return fault(code, message, *labels, notes=notes, helps=helps, file=self.graph.name)


# --- one input --------------------------------------------------------------------------------


def _number(guards: Guards, port: Port, x: Tensor) -> None:
    if x.dtype.is_floating_point:
        return
    if x.dtype.is_complex:
        cure = f"give its parts as channels: `torch.cat(({port.name}.real, {port.name}.imag), 1)`"
    else:
        cure = f"convert it: `{port.name}.float()`"
    message = f"input `{port.name}` holds {_kind(x)} numbers, expected real floating-point numbers"
    raise guards.refuse("OP0905", port, message, (cure,))


def _axes(guards: Guards, port: Port, x: Tensor) -> None:
    domain = port.space.domain
    if x.ndim == domain.dims + 2:
        return
    message = f"input `{port.name}` has {x.ndim} axes, {_shape(x)}, expected {_layout(port)}"
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
    return f"give a tensor {_layout(port)}"


def _channels(guards: Guards, port: Port, x: Tensor) -> None:
    space = port.space
    if x.shape[1] == space.channels:
        return
    names = f": {', '.join(space.components)}" if space.components else ""
    met = f"input `{port.name}` has {x.shape[1]} channels, {_shape(x)}"
    message = f"{met}, expected {space.channels}{names}"
    last = x.shape[-1] == space.channels
    swap = f"the channels seem to stand last: `{port.name}.movedim(-1, 1)`"
    layout = f"the layout is {_layout(port)}"
    raise guards.refuse("OP0902", port, message, (swap, layout) if last else (layout,))


def _resolution(guards: Guards, port: Port, x: Tensor) -> None:
    domain = port.space.domain
    for i, axis in enumerate(domain.axes):
        n = int(x.shape[2 + i])
        promise = guards.promises.get((domain.name, axis.name))
        root = domain.least_root(i, n)
        wanted = _broken(axis, root, promise.needed if promise else 1)
        if wanted and domain.steps:
            wanted = f"{wanted} on `{domain.name}`"
        if domain.points_on(i, root) != n:
            wanted = f"a grid that is `{domain}` of some `{domain.name}`"
        if wanted:
            raise _unfit(guards, port, i, n, wanted)


def _broken(axis: Axis, n: int, needed: int) -> str | None:
    """What is promised and not kept by `n` points, as the program would write it."""
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


def _unfit(guards: Guards, port: Port, i: int, n: int, wanted: str) -> OpError:
    """OP0903 for axis `i`, which has `n` points."""
    domain = port.space.domain
    axis = domain.axes[i]
    promise = guards.promises.get((domain.name, axis.name))
    points = f"{n} point{'' if n == 1 else 's'} along {axis.name}"
    message = f"input `{port.name}` has {points}; `{guards.graph.name}` promises {wanted}"
    near = " or ".join(str(x) for x in _near(n, domain, i, promise))
    resample = f"resample the data to {near} points along {axis.name}"
    notes, cures = _reasons(domain.least_root(i, n), axis, promise)
    return guards.refuse("OP0903", port, message, (resample, *cures), notes)


def _reasons(root: int, axis: Axis, promise: AxisPromise | None) -> tuple[Texts, Texts]:
    """Why the operators need more, and what to change in the program, if it is for them."""
    cause = promise.cause if promise else None
    if cause is None:
        return (), ()
    if root >= cause.points:
        return (f"the operators themselves need {axis.name} >= {cause.points}",), ()
    cure = cause.bound.cure(cause.bound.domain.points_on(cause.bound.axis, root))
    notes = (f"{cause.text} ({cause.place})", cause.bound.note)
    return notes, (f"or keep less there: `{cure}`",)


def _near(n: int, domain: Domain, i: int, promise: AxisPromise | None) -> list[int]:
    """The admissible numbers of points on axis `i` next to `n`, one or two."""
    axis = domain.axes[i]
    if axis.pinned:
        return [domain.points_on(i, axis.fixed or axis.size or n)]
    step, root = axis.multiple_of, domain.least_root(i, n)
    low = -(-max(axis.min, promise.needed if promise else 1) // step) * step
    high = axis.max // step * step if axis.max is not None else None
    below = root if domain.points_on(i, root) == n else root - 1
    around = (below // step * step, -(-root // step) * step)
    fitting = {max(low, x if high is None else min(high, x)) for x in around}
    return sorted(domain.points_on(i, x) for x in fitting)


EACH: tuple[Callable[[Guards, Port, Tensor], None], ...] = (_number, _axes, _channels, _resolution)


def _format(guards: Guards, port: Port, x: Tensor, weight: Tensor) -> None:
    if x.device != weight.device:
        message = f"input `{port.name}` is on {x.device}, the model on {weight.device}"
        cure = f'move it: `{port.name}.to("{weight.device}")`'
        raise guards.refuse("OP0905", port, message, (cure,))
    if x.dtype == weight.dtype or ({x.dtype, weight.dtype} <= CASTABLE and autocast(x)):
        return
    message = f"input `{port.name}` holds {_kind(x)} numbers, the model {_kind(weight)}"
    cures = (_convert(port.name, weight.dtype), _convert("model", x.dtype))
    helps = (f"convert the input: `{cures[0]}`", f"or the model: `{cures[1]}`")
    raise guards.refuse("OP0905", port, message, helps)


def autocast(x: Tensor) -> bool:
    """Whether autocast acts on the device of `x`."""
    kind = x.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def _convert(name: str, dtype: torch.dtype) -> str:
    short = {torch.float32: "float", torch.float64: "double", torch.float16: "half"}
    return f"{name}.{short[dtype]}()" if dtype in short else f"{name}.to({dtype})"


# --- inputs among themselves ------------------------------------------------------------------


def _batches(guards: Guards, tensors: Sequence[Tensor]) -> None:
    first = guards.graph.inputs[0]
    for port, x in zip(guards.graph.inputs, tensors, strict=True):
        if x.shape[0] != tensors[0].shape[0]:
            counts = f"`{first.name}` has {tensors[0].shape[0]} samples, `{port.name}` {x.shape[0]}"
            sizes = ", ".join((str(tensors[0].shape[0]), *["-1"] * (x.ndim - 1)))
            cure = f"one for all samples: `{port.name}.expand({sizes})`"
            helps = (cure,) if x.shape[0] == 1 else ("give as many samples of each input",)
            raise guards.refuse("OP0906", port, f"the batches differ: {counts}", helps)


def _grids(guards: Guards, tensors: Sequence[Tensor]) -> None:
    grids = [tuple(x.shape[2:]) for x in tensors]
    known = roots(guards.sources, grids)
    for port, grid in zip(guards.graph.inputs, grids, strict=True):
        domain = port.space.domain
        expected = domain.points(known[domain.name])
        if grid != expected:
            first = guards.graph.inputs[guards.sources[domain.name].port or 0]
            message = (
                f"`{first.name}` and `{port.name}` differ in size: `{domain}` has "
                f"{_times(expected)} points from `{first.name}`, `{port.name}` has {_times(grid)}"
            )
            helps = (f"resample `{port.name}` to {_times(expected)}",)
            raise guards.refuse("OP0906", port, message, helps)


# --- words ------------------------------------------------------------------------------------


def _layout(port: Port) -> str:
    axes = (x.name for x in port.space.domain.axes)
    return f"({', '.join(('batch', 'channels', *axes))})"


def _shape(x: Tensor) -> str:
    return str(tuple(x.shape))


def _times(grid: Sequence[int]) -> str:
    return " x ".join(str(n) for n in grid)


def _kind(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


def _inputs(n: int, *, count: bool = True) -> str:
    word = "input" if n == 1 else "inputs"
    return f"{n} {word}" if count else word
