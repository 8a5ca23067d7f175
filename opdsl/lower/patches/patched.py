"""A model on the patches of its grid, whose results are stitched: multi-grid domain decomposition.

Called with functions on the whole grid, it returns functions on the whole grid, so that training,
evaluation and prediction need not know of patches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from opdsl.diagnostics import Label, OpError, fault
from opdsl.ir.certificate import AxisPromise, certify
from opdsl.ir.graph import Graph
from opdsl.ir.origins import Grid, origins
from opdsl.ir.patches.layout import AxisPatches, Decomposition, PatchPosition
from opdsl.ir.patches.model import patch_graph, patched_grid, source_nodes
from opdsl.lower.call_arguments import CallArgument, representative
from opdsl.lower.guards import Guards
from opdsl.lower.module import OperatorModule, Points, Result, lower
from opdsl.lower.patches.cutting import cut, cut_levels, stitch, without_overlap
from opdsl.lower.patches.sharing import Sharing
from opdsl.lower.plan.planner import KernelPlan
from opdsl.lower.precision_mix import PrecisionMix
from opdsl.nn.capabilities import HasLengths
from opdsl.nn.module_tree import children, place
from opdsl.nn.points.packed import Packed
from opdsl.parallel.mesh import ProcessMesh

NamedTensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Patches that are computed at once: some samples at some positions."""

    rows: slice
    positions: tuple[PatchPosition, ...]


class PatchedModule(OperatorModule):
    """An operator that computes its outputs patch by patch and stitches them.

    It has the weights of the model on a patch, by the paths of its nodes. Where a call has several
    chunks of patches, each is computed again for the gradient: a step keeps the results within one
    chunk only, besides inputs and outputs, and the gradient is that of all patches.

    Attributes:
        graph: the program, whose inputs and outputs are on the whole grid.
        patches: how the grid is divided.
        at_once: patches that are computed at once; None: as many as the call has samples.
        sharing: the processes among which the patches of a sample are divided.
    """

    def __init__(self, graph: Graph, patches: Decomposition, at_once: int | None = None) -> None:
        """Build the model on a patch, with fresh weights from torch's global random generator.

        Raises:
            OpError: OP0860, OP0861, the model cannot be divided into patches.
        """
        nn.Module.__init__(self)  # not that of OperatorModule, which lowers the whole graph
        self.graph, self.patches, self.at_once = graph, patches, at_once
        self.domain = patched_grid(graph)
        self.sharing = Sharing()
        inner = lower(patch_graph(graph, patches))
        self._inner = (inner,)  # a tuple hides it from `children`: the nodes are registered below
        self.steps, self.units, self.ends = inner.steps, inner.units, inner.ends
        self.sample = inner.sample
        self.sources = origins(graph)
        self.guards = Guards(graph, self.sources)
        self.results = tuple((x, 0) for x in graph.outputs)
        self.constant_values = set[int]()
        self.calls = {}
        self.timer = self.recomputed = self.latest = self.fuse = self.force_kernel = None
        self.planned_batch = self.sharding = None
        self.node_precision, self.mix = {}, PrecisionMix()
        self.source_modules = {x.path: x.block.lower() for x in source_nodes(graph, self.domain)}
        children(self).update(children(inner))
        for path, module in self.source_modules.items():
            place(self, path, module)

    def forward(self, /, *inputs: Tensor | Packed, **named: Points | Packed) -> Result:
        """Compute the outputs on the whole grid: a tensor if there is one, else a dict by name.

        Args:
            inputs, named: as for `OperatorModule`, on the whole grid.

        Raises:
            OpError: OP0862, a patch has too few points; OP0901 to OP0907, the inputs do not fit the
                program.
        """
        arguments = self.guards.bind(inputs, named)
        self.guards.check(arguments, self._weight())
        axes = self._axes(arguments)
        if self.guards.batch(arguments) == 0 or representative(arguments[0]).is_meta:
            return self._without_values(arguments)
        inner = self._configured()
        self._set_lengths(tuple(x.points for x in axes))
        outputs = self._on_patches(inner, self._functions(arguments), axes)
        self.latest = inner.latest
        return {**outputs} if len(outputs) > 1 else outputs.popitem()[1]

    def share(self, mesh: ProcessMesh) -> None:
        """Divide the patches of each sample among the processes along "space".

        Raises:
            OpError: OP0864, there are more processes than patches.
        """
        if mesh.space > self.patches.patches:
            message = f"{mesh.space} processes cannot share {self.patches.patches} patches"
            helps = (f"`space = {self.patches.patches}` at most", "or more `patches { parts }`")
            raise fault("OP0864", message, helps=helps, file=self.graph.name)
        self.sharing = Sharing(mesh)

    def plan(self, sizes: Mapping[str, Grid], batch: int = 1) -> KernelPlan:
        """Plan the kernels of a patch, for the whole grid of these sizes.

        Args:
            sizes: points on each axis of each declared domain, whole.
            batch: number of patches.
        """
        return self._configured().plan({**sizes, **self.patches.sizes(self.domain, sizes)}, batch)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what the next call computes anew, some of which cannot be pickled."""
        return {k: x for k, x in super().__getstate__().items() if k != "_promises"}

    @cached_property
    def _promises(self) -> list[AxisPromise]:
        """What the model needs on each axis of a patch."""
        (inner,) = self._inner
        promises = {(x.domain.name, x.axis.name): x for x in certify(inner.graph).promises}
        parts = [self.domain.part(i) for i in range(self.domain.dims)]
        return [promises[part.name, part.axes[i].name] for part, i in parts]

    # --- every call -----------------------------------------------------------------------

    def _configured(self) -> OperatorModule:
        """Return the model on a patch, which runs as this module is set."""
        (inner,) = self._inner
        inner.training, inner.fuse, inner.force_kernel = self.training, self.fuse, self.force_kernel
        inner.mix, inner.recomputed = self.mix, self.recomputed
        inner.planned_batch = self.planned_batch
        if inner.timer is not self.timer:
            inner.timer = self.timer
            inner.calls.clear()
        return inner

    def _set_lengths(self, size: Grid) -> None:
        """Give layers that depend on the spacing the lengths of a patch at this resolution."""
        lengths = self.patches.lengths(self.domain, size)
        for step in self.steps:
            if isinstance(step.module, HasLengths):
                (inner,) = self._inner
                domain = inner.graph.arguments(step.node)[0].domain
                step.module.lengths = tuple(y for x in domain.parts for y in lengths[x.name])

    def _axes(self, arguments: Sequence[CallArgument]) -> tuple[AxisPatches, ...]:
        """Divide the grid of a call."""
        first = self._first(arguments)
        size = tuple(first.shape[2:])
        axes = self.patches.axes(self.domain, size)
        for axis, promise in zip(axes, self._promises, strict=True):
            if axis.points < axis.parts:
                reason = f"{axis.points} points make no {axis.parts} patches"
                raise self._too_small(promise, axis, reason)
            if axis.width < promise.needed:
                reason = f"a patch has {axis.width} points, and the model needs {promise.needed}"
                raise self._too_small(promise, axis, reason)
        return axes

    def _first(self, arguments: Sequence[CallArgument]) -> Tensor:
        """Return the first input on the grid."""
        ports = zip(self.graph.inputs, arguments, strict=False)
        return next(representative(x) for port, x in ports if port.space.domain == self.domain)

    def _functions(
        self, arguments: Sequence[CallArgument]
    ) -> tuple[NamedTensors, NamedTensors, NamedTensors]:
        """Return functions on the grid, results of nodes without inputs, and vectors, by name."""
        fields: NamedTensors = {}
        vectors: NamedTensors = {}
        for port, x in zip(self.graph.inputs, arguments, strict=False):
            on_grid = port.space.domain == self.domain
            (fields if on_grid else vectors)[port.name] = self.sharing.spread(representative(x))
        return fields, self._sources(arguments), vectors

    def _sources(self, arguments: Sequence[CallArgument]) -> NamedTensors:
        """Compute nodes without inputs on the whole grid, (batch, channels, *grid) by path."""
        first, count = self._first(arguments), len(self.graph.inputs)
        asked = {
            x.name: self.guards.asked(i, y)
            for i, (x, y) in enumerate(zip(self.guards.side_inputs, arguments[count:], strict=True))
        }
        like, size = first.real if first.is_complex() else first, tuple(first.shape[2:])
        result = {}
        for path, module in self.source_modules.items():
            block = self.graph.by_path[path].block
            extra: dict[str, object] = {"like": like}
            extra |= {"size": size} if block.sized else {}
            if names := [x.name for x in block.side_inputs()]:
                extra["asked"] = tuple(asked[x] for x in names)
            x = module(**extra).movedim(-1, 1)
            result[path] = x.expand(len(first), *x.shape[1:])
        return result

    def _chunks(self, batch: int, positions: Sequence[PatchPosition]) -> Iterator[Chunk]:
        """Divide samples and positions into chunks of `at_once` patches."""
        at_once = self.at_once or batch
        rows = min(batch, at_once)
        some = max(1, at_once // rows)
        for first in range(0, len(positions), some):
            for row in range(0, batch, rows):
                chosen = slice(row, min(batch, row + rows))
                yield Chunk(chosen, tuple(positions[first : first + some]))

    def _on_patches(
        self,
        inner: OperatorModule,
        functions: tuple[NamedTensors, NamedTensors, NamedTensors],
        axes: tuple[AxisPatches, ...],
    ) -> NamedTensors:
        """Run the model on the patches of this process, gather and stitch the results."""
        fields, _, _ = functions
        names = [x.name for x in self.graph.outputs]
        positions = self.patches.positions()
        own = self.sharing.own(positions)
        batch = len(next(iter(fields.values())))
        chunks = list(self._chunks(batch, own))

        def run(chunk: Chunk) -> tuple[Tensor, ...]:
            arguments = _cut_chunk(functions, chunk, axes, self.patches.levels)
            result = inner(**arguments)
            outputs = result if isinstance(result, dict) else {names[0]: result}
            return tuple(without_overlap(outputs[x], axes) for x in names)

        again = len(chunks) > 1 and torch.is_grad_enabled()
        parts: dict[PatchPosition, list[tuple[Tensor, ...]]] = {x: [] for x in own}
        for chunk in chunks:
            results = checkpoint(run, chunk, use_reentrant=False) if again else run(chunk)
            by_position = zip(*(x.chunk(len(chunk.positions)) for x in results), strict=True)
            for position, some in zip(chunk.positions, by_position, strict=True):
                parts[position].append(some)
        outputs = {}
        for i, name in enumerate(names):
            rows = [torch.cat([x[i] for x in parts[p]]) for p in own]
            gathered = self.sharing.gathered(rows, positions)
            outputs[name] = stitch(gathered.__getitem__, axes)
        return outputs

    # --- refusals -------------------------------------------------------------------------

    def _too_small(self, promise: AxisPromise, axis: AxisPatches, reason: str) -> OpError:
        name = f"`{promise.domain.name}.{promise.axis.name}`"
        message = f"at {axis.points} points on {name}, {reason}"
        labels: tuple[Label, ...] = ()
        notes: tuple[str, ...] = ()
        if promise.cause:
            labels = (Label(promise.cause.node.spans[0], promise.cause.text),)
            notes = (promise.cause.bound.note,)
        helps = (
            f"divide the axis into fewer patches than {axis.parts}: `patches {{ parts }}`",
            "or use data of a higher resolution",
        )
        return fault(
            "OP0862",
            message,
            *labels,
            notes=notes,
            helps=helps,
            file=None if labels else self.graph.name,
        )


def _cut_chunk(
    functions: tuple[NamedTensors, NamedTensors, NamedTensors],
    chunk: Chunk,
    axes: tuple[AxisPatches, ...],
    levels: int,
) -> NamedTensors:
    """Cut the inputs of a chunk, one position after the other along the batch."""
    fields, sources, vectors = functions
    rows, positions = chunk.rows, chunk.positions
    arguments = {
        k: torch.cat([cut_levels(x[rows], axes, p, levels) for p in positions])
        for k, x in fields.items()
    }
    arguments |= {
        k: torch.cat([cut(x[rows], axes, p) for p in positions]) for k, x in sources.items()
    }
    count = len(positions)
    return arguments | {k: x[rows].repeat(count, *[1] * (x.ndim - 1)) for k, x in vectors.items()}
