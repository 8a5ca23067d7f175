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
from opdsl.ir.block import Ask
from opdsl.ir.certificate import AxisPromise, certify
from opdsl.ir.graph import Graph, Port
from opdsl.ir.origins import Grid, Origin, completed, roots
from opdsl.ir.spaces import Axis, Domain

Texts = tuple[str, ...]
CASTABLE = {torch.float32, torch.bfloat16, torch.float16}  # autocast leaves float64 as it is


class Guards:
    """The checks of one graph's inputs."""

    def __init__(self, graph: Graph, sources: Mapping[str, Origin]) -> None:
        self.graph = graph
        self.sources = sources
        self.asks = graph.asks()
        self.names = (*(x.name for x in graph.inputs), *(x.name for x in self.asks))

    def bind(self, inputs: Sequence[object], named: Mapping[str, object]) -> tuple[Tensor, ...]:
        """The tensors in the order of inputs and asks, given in that order or by name.

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
            tensors: one for each input, then one for each ask.
            weight: any of the model's weights, None if it has none.

        Raises:
            OpError: OP0901, OP0902, OP0903, OP0905, OP0906, OP0907.
        """
        for ask, x in zip(self.asks, tensors[len(self.graph.inputs) :], strict=True):
            _asked(self, ask, x)
        for port, x in zip(self.graph.inputs, tensors, strict=False):
            for check in EACH:
                check(self, port, x)
            _format(self, port, x, tensors[0] if weight is None else weight)
        _batches(self, tensors)
        _grids(self, tensors)

    def check_loop(self, steps: int) -> None:
        """The model can be rolled out so many steps.

        Raises:
            OpError: OP0904.
        """
        if not self.graph.feedback:
            message = f"`{self.graph.name}` has no feedback, so it cannot be rolled out"
            cure = "say which output becomes which input: `feedback out -> in`"
            raise fault("OP0904", message, helps=(cure,), file=self.graph.name)
        if steps < 1:
            message = f"a rollout takes 1 step or more, not {steps}"
            raise fault(
                "OP0904", message, helps=("give a number above zero",), file=self.graph.name
            )

    def begin(
        self, steps: int, inputs: Sequence[object], named: Mapping[str, object]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The inputs of a rollout by name: those of the first step, and those with times.

        Raises:
            OpError: OP0904.
        """
        back = {x.input for x in self.graph.feedback}
        dims = {x.name: x.space.domain.dims for x in self.graph.inputs}
        given: dict[str, Tensor] = {}
        timed: dict[str, Tensor] = {}
        for name, x in zip(self.names, self._sorted(inputs, named), strict=True):
            if x is None and name in back:
                continue
            if not isinstance(x, Tensor):
                raise self._no_tensor(name, x)
            if name not in dims or x.ndim != dims[name] + 3:
                given[name] = x
                continue
            self._check_times(name, x, steps, back=name in back)
            timed[name] = x
        given |= self._zeros(given | {k: x[:, 0] for k, x in timed.items()}, dims)
        return given, timed

    def _check_times(self, name: str, x: Tensor, steps: int, *, back: bool) -> None:
        times = x.shape[1]
        if times == steps or (back and 1 <= times < steps):
            return
        message = f"`{name}` has {times} times, {_shape(x)}, and the rollout {steps} steps"
        cure = f"give it a value for each step: `{name}[:, :{steps}]`"
        if times < steps:
            cure = f"make {times} steps, or give more times" if times else "give some times"
        raise fault("OP0904", message, helps=(cure,), file=self.graph.name)

    def _zeros(self, first: Mapping[str, Tensor], dims: Mapping[str, int]) -> dict[str, Tensor]:
        """The inputs that begin at zero, on the grids that the others tell."""
        missing = [x for x in self.graph.inputs if x.name not in first]
        if not missing:
            return {}
        grids = {k: tuple(x.shape[2:]) for k, x in first.items() if k in dims}
        try:
            sizes = completed(self.graph, grids)
        except KeyError as error:
            name = missing[0].name
            message = f"`{name}` cannot begin at zero: nothing says how many points it has"
            cure = f"give its values: `{name} = torch.zeros(...)`"
            raise fault("OP0904", message, helps=(cure,), file=self.graph.name) from error
        like = next(iter(first.values()))
        real = like.dtype.to_real()
        return {
            x.name: like.new_zeros(
                (like.shape[0], x.space.channels, *sizes[x.name]),
                dtype=real.to_complex() if x.space.complex else real,
            )
            for x in missing
        }

    def grids(self, tensors: Sequence[Tensor]) -> list[Grid]:
        """The grid of each input, then of each ask; their axes have been checked."""
        count = len(self.graph.inputs)
        asked = zip(self.asks, tensors[count:], strict=True)
        return [tuple(x.shape[2:]) for x in tensors[:count]] + [_grid(ask, x) for ask, x in asked]

    def batch(self, tensors: Sequence[Tensor]) -> int:
        """Samples in this call."""
        if self.graph.inputs:
            return tensors[0].shape[0]
        return max((self.placed(i, x).shape[0] for i, x in enumerate(tensors)), default=1)

    def placed(self, number: int, x: Tensor) -> Tensor:
        """What is given for an ask, as blocks take it.

        Coordinates become (batch or 1, points, d), a field (1, *grid, 1).
        """
        if self.asks[number].what == "coordinates":
            return x if x.ndim == 3 else x[None]
        dims = self.asks[number].domain.dims
        return x.reshape(1, *x.shape[x.ndim - dims :], 1)

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
    wanted = x.dtype.is_complex if port.space.complex else x.dtype.is_floating_point
    if wanted:
        return
    if port.space.complex:
        cure = f"make it complex: `torch.complex({port.name}, torch.zeros_like({port.name}))`"
        message = f"input `{port.name}` holds {_kind(x)} numbers, expected complex numbers"
        raise guards.refuse("OP0905", port, message, (cure,))
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
    if domain.modes is not None:
        _frequencies(guards, port, x)
        return
    first = 0
    for part in domain.parts:
        _part(guards, port, part, tuple(x.shape[2 + first : 2 + first + part.dims]))
        first += part.dims


def _frequencies(guards: Guards, port: Port, x: Tensor) -> None:
    wanted = port.space.domain.frequencies
    if tuple(x.shape[2:]) != wanted:
        met = _times(x.shape[2:])
        message = f"input `{port.name}` has {met} frequencies, expected {_times(wanted)}"
        raise guards.refuse("OP0903", port, message, (f"the layout is {_layout(port)}",))


def _part(guards: Guards, port: Port, domain: Domain, grid: Grid) -> None:
    """The grid of an input on one factor of its domain."""
    for i, axis in enumerate(domain.axes):
        n = int(grid[i])
        promise = guards.promises.get((domain.name, axis.name))
        root = domain.root_of(i, n)
        wanted = _broken(axis, root, promise.needed if promise else 1)
        if wanted and domain.steps:
            wanted = f"{wanted} on `{domain.name}`"
        if domain.points_on(i, root) != n:
            wanted = f"a grid that is `{domain}` of some `{domain.name}`"
        if wanted:
            raise _unfit(guards, port, domain, i, n, wanted)


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


def _unfit(guards: Guards, port: Port, domain: Domain, i: int, n: int, wanted: str) -> OpError:
    """OP0903 for axis `i` of a factor, which has `n` points."""
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
    met, own = x.dtype.to_real(), weight.dtype.to_real()
    if met == own or ({met, own} <= CASTABLE and autocast(x)):
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
    if not guards.graph.inputs:
        return
    first = guards.graph.inputs[0]
    for port, x in zip(guards.graph.inputs, tensors, strict=False):
        if x.shape[0] != tensors[0].shape[0]:
            counts = f"`{first.name}` has {tensors[0].shape[0]} samples, `{port.name}` {x.shape[0]}"
            sizes = ", ".join((str(tensors[0].shape[0]), *["-1"] * (x.ndim - 1)))
            cure = f"one for all samples: `{port.name}.expand({sizes})`"
            helps = (cure,) if x.shape[0] == 1 else ("give as many samples of each input",)
            raise guards.refuse("OP0906", port, f"the batches differ: {counts}", helps)


def _grids(guards: Guards, tensors: Sequence[Tensor]) -> None:
    grids = guards.grids(tensors)
    known = roots(guards.sources, grids)
    domains = [x.space.domain for x in guards.graph.inputs] + [x.domain for x in guards.asks]
    for name, domain, grid in zip(guards.names, domains, grids, strict=True):
        expected = domain.at(known)
        if grid != expected:
            first = guards.names[guards.sources[domain.declared[0].name].port or 0]
            message = (
                f"`{first}` and `{name}` differ in size: `{domain}` has "
                f"{_times(expected)} points from `{first}`, `{name}` has {_times(grid)}"
            )
            help_ = (
                f"give coordinates for {_times(expected)} points"
                if domain.scattered
                else f"resample `{name}` to {_times(expected)}"
            )
            ports = {x.name: x for x in guards.graph.inputs}
            if name in ports:
                raise guards.refuse("OP0906", ports[name], message, (help_,))
            raise fault("OP0906", message, helps=(help_,), file=guards.graph.name)


# --- what blocks ask for ----------------------------------------------------------------------


def _grid(ask: Ask, x: Tensor) -> Grid:
    if ask.what == "coordinates":
        return (int(x.shape[-2]),)
    return tuple(x.shape[x.ndim - ask.domain.dims :])


def _asked(guards: Guards, ask: Ask, x: Tensor) -> None:
    """Coordinates (points, d) or (batch, points, d), with real numbers; fields (*grid)."""
    if not x.dtype.is_floating_point:
        message = f"`{ask.name}` holds {_kind(x)} numbers, expected real floating-point numbers"
        cure = f"convert it: `{ask.name}.float()`"
        raise fault("OP0905", message, helps=(cure,), file=guards.graph.name)
    if not _placeable(ask, x):
        wanted = _wanted(ask)
        message = f"`{ask.name}` has the shape {_shape(x)}, expected {wanted}"
        what = "the coordinates of its points" if ask.what == "coordinates" else "a static field"
        raise fault("OP0907", message, notes=(f"`{ask.name}` is {what}",), file=guards.graph.name)


def _placeable(ask: Ask, x: Tensor) -> bool:
    if ask.what == "field":
        lead = x.shape[: max(0, x.ndim - ask.domain.dims)]
        return ask.domain.dims <= x.ndim <= ask.domain.dims + 2 and all(n == 1 for n in lead)
    d, each = ask.domain.ambient, ask.domain.geometry == "per_sample"
    return x.shape[-1] == d and (x.ndim == 2 or (x.ndim == 3 and (each or x.shape[0] == 1)))


def _wanted(ask: Ask) -> str:
    if ask.what == "field":
        return f"({', '.join(x.name for x in ask.domain.axes)})"
    shared = f"(points, {ask.domain.ambient})"
    each = f" or (batch, points, {ask.domain.ambient})"
    return shared + each * (ask.domain.geometry == "per_sample")


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
