"""Grids that the processes of a run divide among them."""

from __future__ import annotations

import torch

from opdsl.ir.graph import Graph
from opdsl.ir.sharding.choice import resolve_space
from opdsl.lower.module import OperatorModule
from opdsl.lower.patches.patched import PatchedModule
from opdsl.lower.sharded.running import shard
from opdsl.parallel.mesh import ALONE, ProcessMesh
from opdsl.summary.memory_check import sizes_at
from opdsl.train.config.schema import Settings
from opdsl.workflow.datasets.reading.streamed import AnySamples


def divide_grids(
    module: OperatorModule, graph: Graph, settings: Settings, mesh: ProcessMesh, train: AnySamples
) -> None:
    """Let the processes that share a sample compute the module together, if there are several.

    With `patches` each has some of the patches, otherwise a part of an axis.

    Args:
        module: of the run.
        graph: of the program.
        settings: of the run.
        mesh: the processes.
        train: the training samples, for whose grid the axis is chosen.

    Raises:
        OpError: OP0820, OP0821, OP0822, the grids cannot be divided so, OP0864, there are more
            processes than patches; in all processes.
    """
    if mesh.space == 1 or module.sharding is not None:
        return
    if isinstance(module, PatchedModule):
        module.share(mesh)
        return
    space = settings.parallel.space
    _, axis = resolve_space(module.graph, space, mesh.world, settings.batch)
    shard(module, mesh, axis)
    assert module.sharding is not None
    module.sharding.plan(sizes_at(graph, train.resolution), settings.batch, torch.float32)


def compute_alone(module: OperatorModule) -> None:
    """Let a process compute the module alone again."""
    module.sharding = None
    if isinstance(module, PatchedModule):
        module.share(ALONE)
