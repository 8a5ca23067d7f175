"""`shard`: processes compute a module together, each on a part of every grid.

Every process calls the module with equal, whole inputs and gets whole outputs. Weights and keys of
the state_dict are those of the module. After a backward pass of equal losses, the gradient of a
weight is the sum of those of all processes, and the gradient of an input is whole on each.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from opdsl.ir.graph import Graph, Node, Port
from opdsl.ir.origins import Grid
from opdsl.ir.sharding.choice import AUTO
from opdsl.ir.sharding.plan import ShardingPlan, plan_sharding
from opdsl.lower.call_arguments import (
    CallArgument,
    PackedSizes,
    representative,
    to_channels_last,
)
from opdsl.lower.module import OperatorModule
from opdsl.lower.plan.schedule import Unit
from opdsl.lower.sharded.fused import fused_on_parts
from opdsl.lower.sharded.moving import channels, halo, shift
from opdsl.lower.sharded.reductions import gather, reduce
from opdsl.lower.sharded.site import Handler, NodeSite, StepArguments, by_class
from opdsl.lower.sharded.spectral import analysis, spectral, synthesis
from opdsl.lower.steps import NodeStep
from opdsl.nn.grid.conv import Position
from opdsl.nn.layers.grouped import GroupedLayer, batch_to_groups, groups_to_batch
from opdsl.nn.layers.pointwise import Dropout
from opdsl.parallel.exchanges import (
    SpaceGroup,
    narrow,
    own_part,
    shared_input,
    shared_result,
    whole_result,
)
from opdsl.parallel.mesh import ProcessMesh

CACHED_PLANS = 16  # resolutions and batches


def shard(module: OperatorModule, mesh: ProcessMesh, axis: str = AUTO) -> OperatorModule:
    """Let the processes along "space" of a mesh compute a module together.

    Args:
        module: the module, whose later calls are sharded until its `sharding` is None again.
        mesh: the processes; with one along "space" nothing changes.
        axis: the axis of which each process has a part: `x`, `D.x`, or `auto`, that with the
            fewest bytes to exchange at the first call.

    Returns:
        The module.
    """
    if mesh.space > 1:
        assert mesh.space_group is not None
        space = SpaceGroup(mesh.space_group, mesh.space_index, mesh.space)
        module.sharding = Sharding(module.graph, space, axis)
        module.calls.clear()  # plans of one process may rest on times that only it measured
    return module


class Sharding:
    """The sharded execution of a graph.

    Attributes:
        graph: what is computed.
        space: the processes.
        axis: the axis of which each has a part.
        plans: of the latest calls, by sizes, batch and dtype.
    """

    def __init__(self, graph: Graph, space: SpaceGroup, axis: str) -> None:
        self.graph, self.space, self.axis = graph, space, axis
        self.plans: dict[tuple[object, ...], ShardingPlan] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Sharding:
        """Return itself: groups of processes cannot be copied."""
        return self

    def __reduce__(self) -> str:
        """Refuse to be pickled; a saved module is one of a single process."""
        raise TypeError("the group of processes of a sharded module cannot be pickled")

    def plan(self, sizes: Mapping[str, Grid], batch: int, dtype: torch.dtype) -> ShardingPlan:
        """Plan a call.

        Raises:
            OpError: OP0820 to OP0822, see `plan_sharding`.
        """
        key = (*sorted(sizes.items()), batch, dtype)
        if key not in self.plans:
            name = str(dtype).removeprefix("torch.")
            plan = plan_sharding(self.graph, self.space.count, self.axis, sizes, batch, name)
            if self.axis == AUTO:
                self.axis = plan.axis.name
            if len(self.plans) >= CACHED_PLANS:
                del self.plans[next(iter(self.plans))]
            self.plans[key] = plan
        return self.plans[key]

    def call(
        self, steps: Sequence[NodeStep], sizes: Mapping[str, Grid], batch: int, like: Tensor
    ) -> ShardedCall:
        """Prepare a call for inputs of the dtype of `like`.

        Raises:
            OpError: OP0820 to OP0822, see `plan_sharding`.
        """
        plan = self.plan(sizes, batch, like.dtype.to_real())
        sharded = [self._step(x, plan, sizes) for x in steps]
        return ShardedCall(self.graph, plan, self.space, tuple(sharded))

    def _step(self, step: NodeStep, plan: ShardingPlan, sizes: Mapping[str, Grid]) -> ShardedStep:
        node = plan.nodes[step.node.path]
        ends = (*self.graph.arguments(step.node), step.node.space)
        grids = tuple(x.domain.at(sizes) for x in ends)
        axes = tuple(x.axis for x in (*node.inputs, node.layout))
        return ShardedStep(NodeSite(step, node.rule, self.space, grids, axes))


@dataclass(frozen=True, slots=True)
class ShardedStep:
    """A node as it runs on parts, in place of a `NodeStep`."""

    site: NodeSite

    @property
    def node(self) -> Node:
        """The node."""
        return self.site.step.node

    def run(self, inputs: Sequence[Tensor], packed: PackedSizes, more: StepArguments) -> Tensor:
        """Compute the own part of the result, or all of it where it is not sharded."""
        site = self.site
        kind = site.rule.kind
        if kind == "replicated":
            return site.step.run(inputs, packed, more)
        if kind == "source":
            axis, whole = site.axes[-1], site.step.run(inputs, packed, more)
            assert axis is not None, "the result of a source is sharded"
            return narrow(whole, axis + 1, site.space.own(site.result_points))
        module, handler = site.step.module, HANDLERS[kind]
        if handler in {_local, channels}:  # they call the module
            return handler(site, module, inputs, more)
        return _within_hooks(module, lambda *own: _grouped(site, handler, own, more), inputs)


@dataclass(frozen=True, slots=True, eq=False)
class ShardedCall:
    """A call of a graph on parts.

    Attributes:
        graph: what is computed.
        plan: layouts and exchanges.
        space: the processes.
        steps: the nodes, in the order of the module's.
    """

    graph: Graph
    plan: ShardingPlan
    space: SpaceGroup
    steps: tuple[ShardedStep, ...]

    def inputs(self, arguments: Sequence[CallArgument]) -> list[Tensor]:
        """Cut the own parts out of the inputs (batch, c, *grid), channels last in the result."""
        pairs = zip(self.graph.inputs, arguments, strict=False)
        return [self._input(port, representative(x)) for port, x in pairs]

    def _input(self, port: Port, x: Tensor) -> Tensor:
        axis = self.plan.inputs[port.name].axis
        if axis is None:
            return to_channels_last(shared_input(x, self.space) if x.requires_grad else x)
        if x.requires_grad:
            return to_channels_last(own_part(x, self.space, axis + 2))
        return to_channels_last(narrow(x, axis + 2, self.space.own(x.shape[axis + 2])))

    def run_fused(self, unit: Unit, values: list[Any], chosen: Container[str]) -> bool:
        """Run a unit as one operation on parts, as `Unit.run_fused`; return whether it ran."""
        fused = unit.fused
        if fused is None or fused.fusion.end not in chosen:
            return False
        sites = {x.node.path: x.site for x in self.steps}
        run = fused_on_parts(fused, {x: sites[x] for x in fused.fusion.nodes})
        if run is None or not fused.fits(values[fused.operands]):
            return False
        values[fused.result] = run(values[fused.operands])
        return True

    def output(self, port: Port, x: Tensor) -> Tensor:
        """Gather an output, channels last."""
        layout, _ = self.plan.outputs[port.name]
        if layout.axis is None:
            return shared_result(x, self.space)
        n = port.space.domain.at(self.plan.sizes)[layout.axis]
        return whole_result(x, self.space, layout.axis + 1, n)


def _grouped(
    site: NodeSite, handler: Handler, inputs: Sequence[Tensor], more: StepArguments
) -> Tensor:
    """Run a handler for the layer of a module, on each group of channels if it has several."""
    module = site.step.module
    if not isinstance(module, GroupedLayer):
        return handler(site, module, inputs, more)
    groups = [groups_to_batch(x, module.copies) for x in inputs]
    return batch_to_groups(handler(site, module.each, groups, more), module.copies)


def _within_hooks(
    module: nn.Module, forward: Callable[..., Tensor], inputs: Sequence[Tensor]
) -> Tensor:
    """Run a function in place of the forward pass of a module, within its hooks.

    FSDP makes weights whole in such hooks, and divides them again.
    """
    if not module._forward_pre_hooks:  # noqa: SLF001  no public name
        return forward(*inputs)
    module.forward = forward
    try:
        return cast("Tensor", module(*inputs))
    finally:
        del module.forward  # that of the class again


def _local(
    site: NodeSite, module: nn.Module, inputs: Sequence[Tensor], more: StepArguments
) -> Tensor:
    """Run a block at the own points."""
    named = dict(more) | ({"size": site.result_grid} if "size" in more else {})
    of_points = by_class(OF_POINTS, module)
    if of_points is not None:
        return of_points(site, module, inputs[0])
    return cast("Tensor", module(*inputs, **named))


def _position(site: NodeSite, module: Position, x: Tensor) -> Tensor:
    """Add the weights of the own points."""
    own = site.space.own(site.points)
    return x + narrow(module.weight, site.axis, own).to(x.dtype)


def _dropout(site: NodeSite, module: Dropout, x: Tensor) -> Tensor:
    """Draw the numbers that become zero for the whole grid, as one process does."""
    if not (module.training and module.p):
        return x
    whole = x.new_ones(len(x), *site.grids[0], x.shape[-1])
    factors = functional.dropout(whole, module.p, training=True)
    return x * narrow(factors, site.axis + 1, site.space.own(site.points))


# local blocks that have something for each point of the whole grid
OF_POINTS: dict[type[nn.Module], Callable[..., Tensor]] = {Dropout: _dropout, Position: _position}
HANDLERS: dict[str, Handler] = {
    "local": _local,
    "halo": halo,
    "shift": shift,
    "channels": channels,
    "spectral": spectral,
    "analysis": analysis,
    "synthesis": synthesis,
    "reduce": reduce,
    "gather": gather,
}
