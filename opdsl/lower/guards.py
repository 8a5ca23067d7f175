"""Checks of the arguments of a call, before any arithmetic of the model runs.

Only shapes, number formats and devices are checked, not values, so nothing here waits for a device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from torch import Tensor

from opdsl.diagnostics import Label, OpError, did_you_mean, fault
from opdsl.ir.block import SideInput
from opdsl.ir.certificate import AxisPromise, certify
from opdsl.ir.dims import decided
from opdsl.ir.graph import Graph, Port
from opdsl.ir.origins import Grid, Origin, completed
from opdsl.lower.call_arguments import (
    CallArgument,
    Coordinates,
    PackedSizes,
    as_coordinates,
    field_argument,
    grid_of,
    packed_sizes,
    representative,
    sample_count,
)
from opdsl.lower.call_checks import check_batches, check_grids, check_side_input, wrong_coordinates
from opdsl.lower.input_checks import Texts, check_input
from opdsl.lower.shape_texts import input_count_text, shape_text
from opdsl.nn.points.geometry import Geometries
from opdsl.nn.points.packed import Packed


class Guards:
    """Binds and checks the arguments of calls of one graph.

    Attributes:
        side_inputs: what blocks need beside the inputs, such as coordinates.
        names: of all arguments, the inputs first.
        states: inputs to which an output behind the first is fed back; they may be left out.
    """

    def __init__(self, graph: Graph, sources: Mapping[str, Origin]) -> None:
        self.graph = graph
        self.sources = sources
        self.side_inputs = graph.side_inputs()
        self.names = (*(x.name for x in graph.inputs), *(x.name for x in self.side_inputs))
        prediction = graph.outputs[0].name
        self.states = frozenset(x.input for x in graph.feedback if x.output != prediction)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the certificate, whose cures are functions that cannot be pickled."""
        return {k: x for k, x in vars(self).items() if k != "promises"}

    def bind(
        self, inputs: Sequence[object], named: Mapping[str, object]
    ) -> tuple[CallArgument, ...]:
        """Put the arguments of a call in the order of inputs and side inputs.

        A state, an input to which an output behind the first is fed back, may be left out or None:
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
        arguments: list[CallArgument] = []
        for i, x in enumerate(inputs):
            if i >= count and self.side_inputs[i - count].what == "coordinates":
                arguments.append(self._place(self.side_inputs[i - count], x))
            elif isinstance(x, Tensor) or (i < count and isinstance(x, Packed)):
                arguments.append(x)
            else:
                raise self._no_tensor(self.names[i], x)
        return tuple(arguments)

    def by_name(self, inputs: Sequence[object], named: Mapping[str, object]) -> dict[str, object]:
        """Return the arguments of a call by the names of inputs and side inputs.

        Raises:
            OpError: OP0904, they are not the model's inputs.
        """
        arguments = self._with_states(self._sorted(inputs, named))
        return dict(zip(self.names, arguments, strict=True))

    def _with_states(self, inputs: Sequence[object]) -> Sequence[object]:
        """Replace states that are None by zeros."""
        values = dict(zip(self.names, inputs, strict=True))
        dims = {x.name: x.space.domain.dims for x in self.graph.inputs}
        first = {k: x for k, x in values.items() if k in dims and isinstance(x, Tensor)}
        missing = [k for k in dims if k not in first]
        if not first or not self.states.issuperset(missing):
            return inputs
        zeros = self._zeros(first, dims)
        return [zeros.get(k, x) for k, x in values.items()]

    def _place(self, ask: SideInput, x: object) -> Coordinates:
        result = as_coordinates(x)
        if result is None and not isinstance(x, Tensor | list | tuple):
            raise self._no_tensor(ask.name, x)
        if result is None:
            description = (
                f"the shape {shape_text(x)}" if isinstance(x, Tensor) else "a list of other things"
            )
            raise wrong_coordinates(self, ask, description)
        return result

    def check(self, arguments: Sequence[CallArgument], weight: Tensor | None) -> None:
        """Check values against the spaces of the inputs, each other, and the weights.

        Args:
            arguments: one for each input, then one for each ask.
            weight: any of the model's weights, None if it has none.

        Raises:
            OpError: OP0901, the number of axes; OP0902, the number of channels; OP0903, the
                resolution; OP0905, number format or device; OP0906, inputs do not fit each other;
                OP0907, coordinates or fields have another shape.
        """
        for side_input, x in zip(
            self.side_inputs, arguments[len(self.graph.inputs) :], strict=True
        ):
            check_side_input(self, side_input, x)
        like = representative(arguments[0]) if weight is None else weight
        for port, x in zip(self.graph.inputs, arguments, strict=False):
            check_input(self, port, x, like)
        check_batches(self, arguments)
        check_grids(self, arguments)

    def check_loop(self, steps: int) -> None:
        """Check that the model can be rolled out `steps` steps.

        Raises:
            OpError: OP0904, it has no feedback, or `steps` is not positive.
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
        """Split the inputs of a rollout: values of the first step, and those with an axis of time.

        Raises:
            OpError: OP0904, they are not the model's inputs, or have too few times.
        """
        fed_back = {x.input for x in self.graph.feedback}
        dims = {x.name: x.space.domain.dims for x in self.graph.inputs}
        arguments: dict[str, Any] = {}
        series: dict[str, Tensor] = {}
        for name, x in zip(self.names, self._sorted(inputs, named), strict=True):
            if x is None and name in fed_back:
                continue
            if name not in dims and as_coordinates(x):
                arguments[name] = x
                continue
            if not isinstance(x, Tensor):
                raise self._no_tensor(name, x)
            if name not in dims or x.ndim != dims[name] + 3:
                arguments[name] = x
                continue
            self._check_times(name, x, steps, back=name in fed_back)
            series[name] = x
        arguments |= self._zeros(arguments | {k: x[:, 0] for k, x in series.items()}, dims)
        return arguments, series

    def _check_times(self, name: str, x: Tensor, steps: int, *, back: bool) -> None:
        times = x.shape[1]
        if times == steps or (back and 1 <= times < steps):
            return
        message = f"`{name}` has {times} times, {shape_text(x)}, and the rollout {steps} steps"
        cure = f"give it a value for each step: `{name}[:, :{steps}]`"
        if times < steps:
            cure = f"make {times} steps, or give more times" if times else "give some times"
        raise fault("OP0904", message, helps=(cure,), file=self.graph.name)

    def _zeros(self, first: Mapping[str, Tensor], dims: Mapping[str, int]) -> dict[str, Tensor]:
        """Make zeros for the inputs that are left out, on the grids that the others determine."""
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
                (like.shape[0], decided(x.space.channels), *sizes[x.name]),
                dtype=real.to_complex() if x.space.complex else real,
            )
            for x in missing
        }

    def grids(self, arguments: Sequence[CallArgument]) -> list[Grid]:
        """Return the grid of each input, then of each side input, after their axes were checked."""
        sizes = self.packed(arguments)
        domains = [x.space.domain for x in self.graph.inputs] + [x.domain for x in self.side_inputs]
        return [grid_of(x, domain, sizes) for x, domain in zip(arguments, domains, strict=True)]

    def packed(self, arguments: Sequence[CallArgument]) -> PackedSizes:
        """Return the points per sample, for the domains whose samples are packed in this call."""
        return packed_sizes(self.graph.inputs, self.side_inputs, arguments)

    def batch(self, arguments: Sequence[CallArgument]) -> int:
        """Return the number of samples in this call."""
        if self.graph.inputs:
            return sample_count(arguments[0])
        return max((sample_count(x) for x in arguments if isinstance(x, Coordinates)), default=1)

    def asked(self, number: int, x: CallArgument) -> Tensor | Geometries:
        """Convert a side input to the layout of blocks; a field becomes (1, *grid, 1)."""
        if isinstance(x, Coordinates):
            return x.geometry
        return field_argument(representative(x), self.side_inputs[number].domain.dims)

    @cached_property
    def promises(self) -> dict[tuple[str, str], AxisPromise]:
        """Promises of the certificate, by the names of domain and axis."""
        result = certify(self.graph).promises
        return {(x.domain.name, x.axis.name): x for x in result}

    def _sorted(self, inputs: Sequence[object], named: Mapping[str, object]) -> Sequence[object]:
        if len(inputs) > len(self.names):
            count = input_count_text(len(inputs))
            excess = f"{count} given, `{self.graph.name}` takes {self._expected()}"
            raise self._misfit(excess)
        arguments = dict(zip(self.names, inputs, strict=False))
        for name in named:
            if name not in self.names:
                helps = did_you_mean(name, self.names)
                message = f"`{self.graph.name}` has no input `{name}`, it takes {self._expected()}"
                raise self._misfit(message, helps)
            if name in arguments:
                raise self._misfit(f"input `{name}` is given twice, by its place and by its name")
        arguments |= named
        missing = [x for x in self.names if x not in arguments and x not in self.states]
        if missing:
            names = ", ".join(f"`{x}`" for x in missing)
            raise self._misfit(f"missing {input_count_text(len(missing), count=False)} {names}")
        return [arguments.get(x) for x in self.names]

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
        """Make a diagnostic about one input, at the line that declares it if there is one."""
        labels = (Label(port.span, f"declared here: `{port.space}`"),) if port.span else ()
        return fault(code, message, *labels, notes=notes, helps=helps, file=self.graph.name)
