"""`OperatorModule`: a graph as a torch module for every resolution that the program promises.

Tensors are (batch, channels, *grid) outside and (batch, *grid, channels) inside; keys of the
state_dict are `path.parameter`.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from opdsl.ir.dims import decided
from opdsl.ir.graph import Graph, Node
from opdsl.ir.live import constants, live
from opdsl.ir.origins import Grid, origins, roots
from opdsl.lower.call_arguments import (
    CallArgument,
    PackedSizes,
    representative,
    signature,
    to_channels_last,
)
from opdsl.lower.fuse.running import ordinary_call
from opdsl.lower.guards import Guards
from opdsl.lower.input_checks import autocast
from opdsl.lower.plan.planner import KernelPlan, plan_kernels
from opdsl.lower.plan.schedule import Unit, units
from opdsl.lower.plan.timings import Timings, users_timings
from opdsl.lower.plan.tune import Tuner
from opdsl.lower.plan.tuning_case import Timer
from opdsl.lower.precision_mix import PrecisionMix
from opdsl.lower.recompute import CutsSchedule, Wanted, segments
from opdsl.lower.run_weights import NORMALISER, refuse_weights_of_run
from opdsl.lower.steps import NodeStep, float_weights, own_weights, steps_of, value_number
from opdsl.nn.module_tree import Branch, children, place
from opdsl.nn.points.geometry import Geometry
from opdsl.nn.points.packed import Packed
from opdsl.nn.spectral.mode_limits import gradient_by_mode, greatest_modes, limit_modes

if TYPE_CHECKING:
    from opdsl.lower.sharded.running import ShardedCall, Sharding

CACHED_CALLS = 16  # resolutions, batches and formats whose plans are cached

StepArguments = Mapping[str, Any]
Points = Tensor | Geometry | Sequence[Tensor | Geometry]  # of a domain, as a user gives them
Result = Tensor | Packed | dict[str, Tensor | Packed]


def lower(graph: Graph) -> OperatorModule:
    """Build the module of a graph, with fresh weights from torch's global random generator."""
    return OperatorModule(graph)


class OperatorModule(Branch):
    """An operator between function spaces, called with tensors (batch, channels, *grid).

    Attributes:
        graph: the graph that it computes.
        steps: the nodes that the outputs need, in the order in which they run.
        force_kernel: a kernel that every node which has it must use, for comparisons; None: the
            plan decides.
        ends: the last nodes of the subgraphs that may run as one operation.
        fuse: whether subgraphs run as one operation; None: the plan decides.
        constant_values: numbers of the values that depend on no input, whose batch is one.
        latest: the plan of the latest ordinary call; a tracer (export, compile) takes its kernels.
        recomputed: whether results of the node at a path are computed again for the gradient, or a
            plan of segments of the schedule.
        planned_batch: number of samples for which kernels are chosen; None: those of the call.
        timer: measures times for the plan; None: they are predicted. See `autotune`.
        node_precision: the precision of nodes that have one of their own; see `mix_precision`.
        mix: the dtypes of products that follow from it.
        sharding: how processes compute it together, see `shard`; None: this one computes all.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.steps = tuple(steps_of(graph))
        self.force_kernel: str | None = None
        self.fuse: bool | None = None
        self.units: Iterable[Unit] = units(graph, self.steps)
        self.ends = frozenset(x.fused.fusion.end for x in self.units if x.fused is not None)
        self.latest: KernelPlan | None = None
        self.timer: Timer | None = None
        self.node_precision: Mapping[str, str] = {}
        self.mix = PrecisionMix()
        self.recomputed: Wanted | CutsSchedule | None = None
        self.planned_batch: int | None = None
        self.sharding: Sharding | None = None
        self.sources = origins(graph)
        self.guards = Guards(graph, self.sources)
        self.results = tuple((x, value_number(graph, x.source)) for x in graph.outputs)
        alone = constants(graph)
        self.constant_values = {value_number(graph, x.path) for x in live(graph) if x.path in alone}
        self.calls: dict[tuple[object, ...], tuple[KernelPlan, list[StepArguments]]] = {}
        for step in self.steps:
            if step.node.shares is None:
                place(self, step.node.path, step.module)
        self.sample = next(float_weights(self), None)

    def forward(self, /, *inputs: Tensor | Packed, **named: Points | Packed) -> Result:
        """Compute the outputs: a tensor if there is one, else a dict by name.

        Args:
            inputs: (batch, channels, *grid), in the order of the model's inputs, or by name. A
                state, an input to which an output behind the first is fed back, may be left out:
                it is zero.
                Functions on points whose number differs from sample to sample are `Packed`, and so
                are results on these points.
            named: inputs by name, and what blocks need beside them. Of a points domain the
                coordinates: (points, d) for all samples, (batch, points, d), a `Geometry`, or a
                list with one of these for each sample. Of a static field its values, (*grid).

        Returns:
            (batch, channels, *grid) of each output, also for an empty batch and on the meta device.

        Raises:
            OpError: OP0901 to OP0907, the inputs do not fit the program.
        """
        arguments = self.guards.bind(inputs, named)
        if torch.compiler.is_compiling():
            return self._run(arguments, self._arguments(arguments, self.latest))
        if self.guards.batch(arguments) == 0 or representative(arguments[0]).is_meta:
            self.guards.check(arguments, self._weight())
            return self._without_values(arguments)
        return self._run(arguments, self._known(arguments))

    def rollout(
        self, steps: int, /, *inputs: Tensor | None, **named: Points | None
    ) -> Tensor | dict[str, Tensor]:
        """Roll out in time, feeding each step's outputs back as the program's `feedback` says.

        An input may have an axis of time behind the batch, (batch, times, channels, *grid): it is
        read step by step. If it is fed back, it may end before the steps do; from then on it is
        what has been fed back. An input that is fed back may be None: it begins at zero.

        Args:
            steps: number of steps, at least one.
            inputs: those of the first step, as for a call.
            named: inputs by name, as for a call.

        Returns:
            (batch, steps, channels, *grid) of the output, or of each by name.

        Raises:
            OpError: OP0904, the program has no feedback, or there are not as many times as steps;
                otherwise as a call.
        """
        self.guards.check_loop(steps)
        arguments, series = self.guards.rollout_inputs(steps, inputs, named)
        outputs: dict[str, list[Tensor]] = {x.name: [] for x in self.graph.outputs}
        for i in range(steps):
            arguments |= {k: x[:, i] for k, x in series.items() if i < x.shape[1]}
            result = self(**arguments)
            step_outputs = (
                result if isinstance(result, dict) else {self.graph.outputs[0].name: result}
            )
            for name, x in step_outputs.items():
                outputs[name].append(x)
            for loop in self.graph.feedback:
                new, previous = step_outputs[loop.output], arguments[loop.input]
                arguments[loop.input] = torch.cat((previous, new), 1)[:, new.shape[1] :]
        stacked = {name: torch.stack(x, 1) for name, x in outputs.items()}
        return stacked if len(stacked) > 1 else stacked.popitem()[1]

    def called_parts(self) -> Iterable[nn.Module]:
        """Return the module of each node, those whose paths are longest first."""
        steps = sorted(self.steps, key=lambda x: -x.node.path.count("."))
        return list({id(x.module): x.module for x in steps}.values())

    @property
    def greatest_modes(self) -> int:
        """Greatest frequency for which a spectral convolution has weights; 0 if there is none."""
        return greatest_modes(self)

    def limit_modes(self, modes: int | Sequence[int] | None) -> None:
        """Limit the modes of every spectral convolution; None: all modes again.

        Args:
            modes: the greatest frequency, one number for all axes or one for each.

        Raises:
            ValueError: there are not as many numbers as axes.
        """
        limit_modes(self, modes)

    def gradient_by_mode(self) -> Tensor | None:
        """Sum the squared gradients of spectral convolutions by mode; see `gradient_by_mode`."""
        return gradient_by_mode(self)

    def recompute(self, wanted: Wanted | CutsSchedule | None) -> None:
        """Compute results of nodes again for the gradient in training, instead of keeping them.

        Args:
            wanted: whether those of the node at a path are, or a plan of segments; None: none are.
        """
        self.recomputed = wanted

    def mix_precision(self, products: torch.dtype | None) -> None:
        """Apply `node_precision`; products of the other nodes are in `products`, None: float32."""
        self.mix = PrecisionMix.of(self.steps, self.node_precision, products)

    def autotune(self, timings: Timings | None = None) -> None:
        """Measure the kernels once at each new resolution and batch, and use the fastest.

        Args:
            timings: the cache of measured times; the user's cache if not given.
        """
        self.timer = Tuner(users_timings() if timings is None else timings)
        self.calls.clear()

    def plan(self, sizes: Mapping[str, Grid], batch: int = 1) -> KernelPlan:
        """Plan the kernels for declared domains of these sizes, without a call.

        Args:
            sizes: points on each axis of each declared domain.
            batch: number of samples.
        """
        weight = self._weight()
        device = weight.device.type if weight is not None else "cpu"
        dtype = weight.dtype if weight is not None else torch.float32
        fixed_roots = {name: x.root(()) for name, x in self.sources.items() if x.port is None}
        return self._planned(fixed_roots | dict(sizes), batch, device, dtype)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out cached plans and arguments of calls, which the next call computes anew."""
        return {**vars(self), "calls": {}, "latest": None}

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *more: Any, **named: Any
    ) -> None:
        # torch calls this for every way of loading, of this module and of one that contains it
        if NORMALISER not in children(self):
            refuse_weights_of_run(self.graph.name, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *more, **named)

    # --- once for each resolution ---------------------------------------------------------

    def _known(self, arguments: Sequence[CallArgument]) -> list[StepArguments]:
        """Return the keyword arguments of every step, computed once for each call signature."""
        weight = self._weight()
        key = (
            self.force_kernel,
            self.planned_batch,
            self.training,
            None if weight is None else (weight.dtype, weight.device),
            *(signature(x) for x in arguments),
            autocast(representative(arguments[0])),
        )
        result = self.calls.pop(key, None)
        if result is None:
            result = self._made(arguments, weight)
            if len(self.calls) >= CACHED_CALLS:
                del self.calls[next(iter(self.calls))]
        self.calls[key] = result  # re-inserted at the end: the first key is the least recently used
        self.latest, keywords = result
        return keywords

    def _made(
        self, arguments: Sequence[CallArgument], weight: Tensor | None
    ) -> tuple[KernelPlan, list[StepArguments]]:
        self.guards.check(arguments, weight)
        x = representative(arguments[0])
        sizes = self._sizes(arguments)
        batch = self.planned_batch or self.guards.batch(arguments)
        chosen = self._planned(sizes, batch, x.device.type, x.dtype)
        return chosen, self._arguments(arguments, chosen)

    def _planned(
        self, sizes: Mapping[str, Grid], batch: int, device: str, dtype: torch.dtype
    ) -> KernelPlan:
        name = str(dtype).removeprefix("torch.")
        # times measured under a transform such as vmap are not those of an ordinary call
        timer = self.timer if ordinary_call() and self.sharding is None else None
        return plan_kernels(self.graph, sizes, batch, device, torch.get_num_threads(), name, timer)

    def _arguments(
        self, arguments: Sequence[CallArgument], chosen: KernelPlan | None
    ) -> list[StepArguments]:
        sizes, packed = self._sizes(arguments), self.guards.packed(arguments)
        return [self._keywords(x, sizes, packed, chosen) for x in self.steps]

    def _sizes(self, arguments: Sequence[CallArgument]) -> dict[str, Grid]:
        return roots(self.sources, self.guards.grids(arguments))

    def _keywords(
        self,
        step: NodeStep,
        sizes: Mapping[str, Grid],
        packed: PackedSizes,
        chosen: KernelPlan | None,
    ) -> StepArguments:
        result: dict[str, Any] = {}
        node = step.node
        domain = node.space.domain
        if node.block.ragged == "own" and any(step.ragged(packed)):
            result["ragged"] = step.ragged(packed)
        if node.block.sized:
            result["size"] = domain.at(sizes)
        if node.block.kernels:
            result["kernel"] = self._kernel(node, chosen)
        return result

    def _kernel(self, node: Node, chosen: KernelPlan | None) -> str:
        if self.force_kernel in node.block.kernels:
            return str(self.force_kernel)
        return chosen.kernel(node.path) if chosen else node.block.kernels[0]

    def _weight(self) -> Tensor | None:
        """Return one weight, looked up at each call because `.to` may have replaced the tensor."""
        if self.sample is None:
            return None
        module, name = self.sample
        return own_weights(module)[name]

    # --- every call -----------------------------------------------------------------------

    def _run(self, arguments: Sequence[CallArgument], calls: Sequence[StepArguments]) -> Result:
        batch, packed = self.guards.batch(arguments), self.guards.packed(arguments)
        count, first = len(self.graph.inputs), representative(arguments[0])
        sizes = self._sizes(arguments)
        shared = self.sharding.call(self.steps, sizes, batch, first) if self.sharding else None
        steps = shared.steps if shared else self.steps
        asked = [*map(self.guards.asked, itertools.count(), arguments[count:])]

        def run(i: int, keywords: StepArguments, values: Sequence[Any]) -> Tensor:
            step, extra = self.steps[i], dict(keywords)
            if step.source:
                # blocks without inputs compute real numbers
                extra["like"] = first.real if first.is_complex() else first
            if step.side_inputs:
                extra["asked"] = tuple(asked[n] for n in step.side_inputs)
            return self.mix.run(steps[i], [values[n] for n in step.operands], packed, extra)

        inputs = map(to_channels_last, arguments[:count])
        values = [*(shared.inputs(arguments) if shared else inputs), *(None for _ in self.steps)]
        fused = self.fused_now()

        def run_unit(unit: Unit, values: list[Any]) -> None:
            if not (shared.run_fused if shared else Unit.run_fused)(unit, values, fused):
                for i in unit.steps:
                    values[count + i] = run(i, calls[i], values)
                    for n in unit.within.intersection(self.steps[i].dead_after):
                        values[n] = None
            for n in unit.dead_after:
                values[n] = None

        for segment in segments(
            self.units, self.steps, count, self.recomputed if self.training else None
        ):
            segment.run(run_unit, values)
        return self._outputs(values, batch, packed, shared)

    def _outputs(
        self, values: Sequence[Any], batch: int, packed: PackedSizes, shared: ShardedCall | None
    ) -> Result:
        result = {}
        for x, i in self.results:
            value = shared.output(x, values[i]) if shared else values[i]
            result[x.name] = self._result(value, i, batch, packed.get(x.space.domain.name))
        return result if len(result) > 1 else result.popitem()[1]

    def _without_values(self, arguments: Sequence[CallArgument]) -> Result:
        """Make empty outputs of the right shapes, for a batch of zero and for meta tensors."""
        sizes, packed = self._sizes(arguments), self.guards.packed(arguments)
        batch, x = self.guards.batch(arguments), representative(arguments[0])
        trainable = torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters())
        result: dict[str, Tensor | Packed] = {}
        for port, _ in self.results:
            domain = port.space.domain
            counts = packed.get(domain.name)
            channels = decided(port.space.channels)
            shape = (batch if counts is None else 1, channels, *domain.at(sizes))
            real = x.dtype.to_real()
            dtype = real.to_complex() if port.space.complex else real
            y = x.new_empty(shape, dtype=dtype).requires_grad_(trainable or x.requires_grad)
            result[port.name] = y if counts is None else Packed(y, counts)
        return result if len(result) > 1 else result.popitem()[1]

    def fused_now(self) -> Container[str]:
        """Return the end nodes of fusions that run as one operation in calls like the latest."""
        if self.fuse is False or self.force_kernel or self.mix or not ordinary_call():
            return ()
        if self.fuse:
            return self.ends
        return self.latest.fused if self.latest else ()

    def _result(
        self, value: Tensor, number: int, batch: int, sizes: tuple[int, ...] | None
    ) -> Tensor | Packed:
        if sizes is not None:
            return Packed(value.movedim(-1, 1).contiguous(), sizes)
        if number in self.constant_values:
            value = value.expand(batch, *value.shape[1:])
        return value.movedim(-1, 1).contiguous()
