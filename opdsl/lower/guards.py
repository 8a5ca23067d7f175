"""What a model says about tensors that do not fit, before any of its arithmetic runs.

What comes in: the graph and the tensors of a call. What goes out: the tensors in the order of the
inputs, or a diagnostic with the input, what was met, what was expected, and what to do. Values are
not looked at, only shapes, number formats and devices, so nothing here waits for a device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from opdsl.diagnostics import Label, OpError, did_you_mean, fault
from opdsl.ir.block import SideInput
from opdsl.ir.certificate import AxisPromise, certify
from opdsl.ir.graph import Graph, Port
from opdsl.ir.origins import Grid, Origin, completed, roots
from opdsl.ir.spaces import Axis, Domain
from opdsl.lower.call_arguments import (
    Argument,
    Coordinates,
    PackedSizes,
    as_coordinates,
    field_argument,
    grid_of,
    packed_sizes,
    representative,
    sample_count,
)
from opdsl.nn.points.geometry import Geometries, point_counts
from opdsl.nn.points.packed import Packed

Texts = tuple[str, ...]
CASTABLE = {torch.float32, torch.bfloat16, torch.float16}  # autocast leaves float64 as it is
NO_POINTS = "leave out samples without points"


class Guards:
    """The checks of one graph's inputs."""

    def __init__(self, graph: Graph, sources: Mapping[str, Origin]) -> None:
        self.graph = graph
        self.sources = sources
        self.asks = graph.side_inputs()
        self.names = (*(x.name for x in graph.inputs), *(x.name for x in self.asks))
        prediction = graph.outputs[0].name
        self.states = frozenset(x.input for x in graph.feedback if x.output != prediction)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the certificate, whose cures are functions that cannot be pickled."""
        return {k: x for k, x in vars(self).items() if k != "promises"}

    def bind(self, inputs: Sequence[object], named: Mapping[str, object]) -> tuple[Argument, ...]:
        """The values in the order of inputs and asks, given in that order or by name.

        A state, an input to which an output behind the first comes back, may be left out or None:
        it is zero.

        Raises:
            OpError: OP0904, they are not the model's inputs, or not tensors; OP0907, coordinates
                are neither tensors nor geometries.
        """
        if named or len(inputs) != len(self.names):
            inputs = self._sorted(inputs, named)
        # a loop and no comprehension of faults: this runs at every call
        count = len(self.graph.inputs)
        if self.states and any(x is None for x in inputs[:count]):
            inputs = self._with_states(inputs)
        given: list[Argument] = []
        for i, x in enumerate(inputs):
            if i >= count and self.asks[i - count].what == "coordinates":
                given.append(self._place(self.asks[i - count], x))
            elif isinstance(x, Tensor) or (i < count and isinstance(x, Packed)):
                given.append(x)
            else:
                raise self._no_tensor(self.names[i], x)
        return tuple(given)

    def by_name(self, inputs: Sequence[object], named: Mapping[str, object]) -> dict[str, object]:
        """The values of a call by the names of inputs and asks.

        Raises:
            OpError: OP0904, they are not the model's inputs.
        """
        given = self._with_states(self._sorted(inputs, named))
        return dict(zip(self.names, given, strict=True))

    def _with_states(self, inputs: Sequence[object]) -> Sequence[object]:
        """The inputs, with zeros for the states that are None."""
        told = dict(zip(self.names, inputs, strict=True))
        dims = {x.name: x.space.domain.dims for x in self.graph.inputs}
        first = {k: x for k, x in told.items() if k in dims and isinstance(x, Tensor)}
        missing = [k for k in dims if k not in first]
        if not first or not self.states.issuperset(missing):
            return inputs
        zeros = self._zeros(first, dims)
        return [zeros.get(k, x) for k, x in told.items()]

    def _place(self, ask: SideInput, x: object) -> Coordinates:
        found = as_coordinates(x)
        if found is None and not isinstance(x, Tensor | list | tuple):
            raise self._no_tensor(ask.name, x)
        if found is None:
            met = f"the shape {_shape(x)}" if isinstance(x, Tensor) else "a list of other things"
            raise _misplaced(self, ask, met)
        return found

    def check(self, given: Sequence[Argument], weight: Tensor | None) -> None:
        """The values fit the spaces of the inputs, each other, and the weights.

        Args:
            given: one for each input, then one for each ask.
            weight: any of the model's weights, None if it has none.

        Raises:
            OpError: OP0901, OP0902, OP0903, OP0905, OP0906, OP0907.
        """
        for ask, x in zip(self.asks, given[len(self.graph.inputs) :], strict=True):
            _check_asked(self, ask, x)
        for port, x in zip(self.graph.inputs, given, strict=False):
            for check in TENSOR_CHECKS:
                check(self, port, representative(x))
            _check_sizes(self, port, x)
            _check_format(
                self,
                port,
                representative(x),
                representative(given[0]) if weight is None else weight,
            )
        _check_batches(self, given)
        _check_grids(self, given)

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

    def rollout_inputs(
        self, steps: int, inputs: Sequence[object], named: Mapping[str, object]
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The inputs of a rollout by name: those of the first step, and those with times.

        Raises:
            OpError: OP0904.
        """
        back = {x.input for x in self.graph.feedback}
        dims = {x.name: x.space.domain.dims for x in self.graph.inputs}
        given: dict[str, Any] = {}
        timed: dict[str, Tensor] = {}
        for name, x in zip(self.names, self._sorted(inputs, named), strict=True):
            if x is None and name in back:
                continue
            if name not in dims and as_coordinates(x):
                given[name] = x
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

    def grids(self, given: Sequence[Argument]) -> list[Grid]:
        """The grid of each input, then of each ask; their axes have been checked."""
        sizes = self.packed(given)
        domains = [x.space.domain for x in self.graph.inputs] + [x.domain for x in self.asks]
        return [grid_of(x, domain, sizes) for x, domain in zip(given, domains, strict=True)]

    def packed(self, given: Sequence[Argument]) -> PackedSizes:
        """The points of each sample, for the domains whose samples are packed in this call."""
        return packed_sizes(self.graph.inputs, self.asks, given)

    def batch(self, given: Sequence[Argument]) -> int:
        """Samples in this call."""
        if self.graph.inputs:
            return sample_count(given[0])
        return max((sample_count(x) for x in given if isinstance(x, Coordinates)), default=1)

    def asked(self, number: int, x: Argument) -> Tensor | Geometries:
        """What is given for an ask, as blocks take it; a field becomes (1, *grid, 1)."""
        if isinstance(x, Coordinates):
            return x.geometry
        return field_argument(representative(x), self.asks[number].domain.dims)

    @cached_property
    def promises(self) -> dict[tuple[str, str], AxisPromise]:
        """What the certificate says, by domain and axis."""
        found = certify(self.graph).promises
        return {(x.domain.name, x.axis.name): x for x in found}

    def _sorted(self, inputs: Sequence[object], named: Mapping[str, object]) -> Sequence[object]:
        if len(inputs) > len(self.names):
            met = f"{_input_count(len(inputs))} given, `{self.graph.name}` takes {self._expected()}"
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
        missing = [x for x in self.names if x not in given and x not in self.states]
        if missing:
            names = ", ".join(f"`{x}`" for x in missing)
            raise self._misfit(f"missing {_input_count(len(missing), count=False)} {names}")
        return [given.get(x) for x in self.names]

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


def _check_number_format(guards: Guards, port: Port, x: Tensor) -> None:
    wanted = x.dtype.is_complex if port.space.complex else x.dtype.is_floating_point
    if wanted:
        return
    if port.space.complex:
        cure = f"make it complex: `torch.complex({port.name}, torch.zeros_like({port.name}))`"
        message = f"input `{port.name}` holds {_dtype_name(x)} numbers, expected complex numbers"
        raise guards.refuse("OP0905", port, message, (cure,))
    if x.dtype.is_complex:
        cure = f"give its parts as channels: `torch.cat(({port.name}.real, {port.name}.imag), 1)`"
    else:
        cure = f"convert it: `{port.name}.float()`"
    message = (
        f"input `{port.name}` holds {_dtype_name(x)} numbers, expected real floating-point numbers"
    )
    raise guards.refuse("OP0905", port, message, (cure,))


def _check_axes(guards: Guards, port: Port, x: Tensor) -> None:
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


def _check_channels(guards: Guards, port: Port, x: Tensor) -> None:
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
    wanted = port.space.domain.frequencies
    if tuple(x.shape[2:]) != wanted:
        met = _size_text(x.shape[2:])
        message = f"input `{port.name}` has {met} frequencies, expected {_size_text(wanted)}"
        raise guards.refuse("OP0903", port, message, (f"the layout is {_layout(port)}",))


def _check_factor(guards: Guards, port: Port, domain: Domain, grid: Grid) -> None:
    """The grid of an input on one factor of its domain."""
    for i, axis in enumerate(domain.axes):
        n = int(grid[i])
        promise = guards.promises.get((domain.name, axis.name))
        root = domain.root_of(i, n) if domain.steps else n
        wanted = _broken_promise(axis, root, promise.needed if promise else 1)
        if wanted and domain.steps:
            wanted = f"{wanted} on `{domain.name}`"
        if domain.points_on(i, root) != n:
            wanted = f"a grid that is `{domain}` of some `{domain.name}`"
        if wanted:
            raise _unfit_size(guards, port, domain, i, n, wanted)


def _broken_promise(axis: Axis, n: int, needed: int) -> str | None:
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


def _unfit_size(guards: Guards, port: Port, domain: Domain, i: int, n: int, wanted: str) -> OpError:
    """OP0903 for axis `i` of a factor, which has `n` points."""
    axis = domain.axes[i]
    promise = guards.promises.get((domain.name, axis.name))
    along = "" if domain.scattered else f" along {axis.name}"
    points = f"{n} point{'' if n == 1 else 's'}{along}"
    message = f"input `{port.name}` has {points}; `{guards.graph.name}` promises {wanted}"
    near = " or ".join(str(x) for x in _nearest_sizes(n, domain, i, promise))
    resample = f"resample the data to {near} points{along}"
    if domain.scattered and n == 0:
        resample = NO_POINTS
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


def _nearest_sizes(n: int, domain: Domain, i: int, promise: AxisPromise | None) -> list[int]:
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


TENSOR_CHECKS: tuple[Callable[[Guards, Port, Tensor], None], ...] = (
    _check_number_format,
    _check_axes,
    _check_channels,
)


def _check_format(guards: Guards, port: Port, x: Tensor, weight: Tensor) -> None:
    if x.device != weight.device:
        message = f"input `{port.name}` is on {x.device}, the model on {weight.device}"
        cure = f'move it: `{port.name}.to("{weight.device}")`'
        raise guards.refuse("OP0905", port, message, (cure,))
    met, own = x.dtype.to_real(), weight.dtype.to_real()
    if met == own or ({met, own} <= CASTABLE and autocast(x)):
        return
    message = f"input `{port.name}` holds {_dtype_name(x)} numbers, the model {_dtype_name(weight)}"
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


def _check_sizes(guards: Guards, port: Port, x: Argument) -> None:
    """Samples of different sizes are for points that are declared so; each keeps the promise."""
    if not isinstance(x, Packed):
        _check_resolution(guards, port, representative(x))
        return
    domain = port.space.domain
    if not domain.scattered or domain.geometry != "per_sample":
        message = f"input `{port.name}` is packed, but all samples share the points of `{domain}`"
        cure = f"declare it so: `{domain} = {domain.kind}({domain.ambient}, geometry = per_sample)`"
        helps = (cure,) if domain.scattered else (f"give a tensor {_layout(port)}",)
        raise guards.refuse("OP0906", port, message, helps)
    for n in sorted(set(x.sizes)):
        _check_factor(guards, port, domain, (n,))


def _check_batches(guards: Guards, given: Sequence[Argument]) -> None:
    whole = guards.batch(given)
    for port, x in zip(guards.graph.inputs, given, strict=False):
        if sample_count(x) != whole:
            first = guards.graph.inputs[0].name
            counts = f"`{first}` has {whole} samples, `{port.name}` {sample_count(x)}"
            shape = ", ".join((str(whole), *["-1"] * (representative(x).ndim - 1)))
            cure = f"one for all samples: `{port.name}.expand({shape})`"
            alone = isinstance(x, Tensor) and sample_count(x) == 1
            helps = (cure,) if alone else ("give as many samples of each input",)
            raise guards.refuse("OP0906", port, f"the batches differ: {counts}", helps)
    for ask, y in zip(guards.asks, given[len(guards.graph.inputs) :], strict=True):
        if isinstance(y, Coordinates) and sample_count(y) not in {1, whole}:
            message = f"`{ask.name}` has coordinates for {sample_count(y)} samples of {whole}"
            helps = ("give coordinates for each sample, or one set for all",)
            raise fault("OP0906", message, helps=helps, file=guards.graph.name)
    _check_packed_sizes(guards, given)


def _check_packed_sizes(guards: Guards, given: Sequence[Argument]) -> None:
    """Samples that are packed on one domain have one number of points each."""
    sizes = guards.packed(given)
    domains = [x.space.domain for x in guards.graph.inputs] + [x.domain for x in guards.asks]
    for name, domain, x in zip(guards.names, domains, given, strict=True):
        wanted = sizes.get(domain.name)
        if wanted is None or not (isinstance(x, Coordinates) or domain.name in sizes):
            continue
        met = x.sizes if isinstance(x, Packed) else _argument_sizes(x)
        if met != wanted:
            message = f"`{name}` {_difference(met, wanted)} on `{domain}`"
            helps = ("give for each sample as many values as coordinates",)
            raise fault("OP0906", message, helps=helps, file=guards.graph.name)


def _difference(met: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    if len(met) != len(wanted):
        return f"has {len(met)} samples of {len(wanted)}"
    i = next(i for i, (a, b) in enumerate(zip(met, wanted, strict=True)) if a != b)
    return f"has {met[i]} points in sample {i}, where others have {wanted[i]}"


def _argument_sizes(x: Argument) -> tuple[int, ...]:
    if isinstance(x, Coordinates):
        return point_counts(x.geometry)
    y = representative(x)
    return (int(y.shape[-1]),) * int(y.shape[0])


def _check_grids(guards: Guards, given: Sequence[Argument]) -> None:
    grids = guards.grids(given)
    known = roots(guards.sources, grids)
    domains = [x.space.domain for x in guards.graph.inputs] + [x.domain for x in guards.asks]
    for name, domain, met in zip(guards.names, domains, grids, strict=True):
        expected = domain.at(known)
        if met != expected:
            first = guards.names[guards.sources[domain.declared[0].name].port or 0]
            message = (
                f"`{first}` and `{name}` differ in size: `{domain}` has "
                f"{_size_text(expected)} points from `{first}`, `{name}` has {_size_text(met)}"
            )
            help_ = (
                f"give coordinates for {_size_text(expected)} points"
                if domain.scattered
                else f"resample `{name}` to {_size_text(expected)}"
            )
            ports = {x.name: x for x in guards.graph.inputs}
            if name in ports:
                raise guards.refuse("OP0906", ports[name], message, (help_,))
            raise fault("OP0906", message, helps=(help_,), file=guards.graph.name)


# --- what blocks ask for ----------------------------------------------------------------------


def _check_asked(guards: Guards, ask: SideInput, x: Argument) -> None:
    """Coordinates (points, d) of each sample or for all, with real numbers; fields (*grid)."""
    y = representative(x)
    if not y.dtype.is_floating_point:
        message = (
            f"`{ask.name}` holds {_dtype_name(y)} numbers, expected real floating-point numbers"
        )
        cure = f"convert it: `{ask.name}.float()`"
        raise fault("OP0905", message, helps=(cure,), file=guards.graph.name)
    if isinstance(x, Coordinates):
        _check_coordinates(guards, ask, x)
    elif not _fits_domain(ask, y):
        raise _misplaced(guards, ask, f"the shape {_shape(y)}")


def _check_coordinates(guards: Guards, ask: SideInput, x: Coordinates) -> None:
    each = ask.domain.geometry == "per_sample"
    wrong = [y.points for y in x.geometry if y.points.shape[-1] != ask.domain.ambient]
    if wrong:
        raise _misplaced(guards, ask, f"points with {wrong[0].shape[-1]} coordinates")
    if len(x.geometry) > 1 and not each:
        raise _misplaced(guards, ask, f"coordinates for {len(x.geometry)} samples")
    if not x.listed and len({len(y) for y in x.geometry}) > 1:
        raise _misplaced(guards, ask, "samples of different sizes")
    for n in sorted({len(y) for y in x.geometry}):
        wanted = _broken_promise(ask.domain.axes[0], n, 1)
        if wanted:
            message = f"`{ask.name}` has {n} points; `{guards.graph.name}` promises {wanted}"
            helps = (NO_POINTS,) if n == 0 else ()
            raise fault("OP0903", message, helps=helps, file=guards.graph.name)


def _misplaced(guards: Guards, ask: SideInput, met: str) -> OpError:
    what = "the coordinates of its points" if ask.what == "coordinates" else "a static field"
    message = f"`{ask.name}` has {met}, expected {_expected_shape(ask)}"
    return fault("OP0907", message, notes=(f"`{ask.name}` is {what}",), file=guards.graph.name)


def _fits_domain(ask: SideInput, x: Tensor) -> bool:
    lead = x.shape[: max(0, x.ndim - ask.domain.dims)]
    return ask.domain.dims <= x.ndim <= ask.domain.dims + 2 and all(n == 1 for n in lead)


def _expected_shape(ask: SideInput) -> str:
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


def _size_text(grid: Sequence[int]) -> str:
    return " x ".join(str(n) for n in grid)


def _dtype_name(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


def _input_count(n: int, *, count: bool = True) -> str:
    word = "input" if n == 1 else "inputs"
    return f"{n} {word}" if count else word
