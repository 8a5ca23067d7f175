"""Grids that the processes of a run divide among them."""

from __future__ import annotations

import torch

from opdsl.ir.graph import Graph
from opdsl.ir.sharding.choice import resolve_space
from opdsl.lower.module import OperatorModule
from opdsl.lower.sharded.running import shard
from opdsl.parallel.mesh import ProcessMesh
from opdsl.summary.memory_check import sizes_at
from opdsl.train.config.schema import Settings
from opdsl.workflow.datasets.reading.streamed import AnySamples
from opdsl.workflow.programs.patches import patch_at


def divide_grids(
    module: OperatorModule, graph: Graph, settings: Settings, mesh: ProcessMesh, train: AnySamples
) -> None:
    """Let the processes that share a sample compute the module together, if there are several.

    Args:
        module: of the run.
        graph: of the program; with `patches` the module has another one.
        settings: of the run.
        mesh: the processes.
        train: the training samples, for whose grid the axis is chosen.

    Raises:
        OpError: OP0820, OP0821, OP0822, the grids cannot be divided so; in all processes.
    """
    if mesh.space == 1 or module.sharding is not None:
        return
    space = settings.parallel.space
    _, axis = resolve_space(module.graph, space, mesh.world, settings.batch)
    shard(module, mesh, axis)
    assert module.sharding is not None
    sizes = sizes_at(graph, train.resolution)
    if (on_patch := patch_at(graph, settings, sizes)) is not None:
        sizes = on_patch[1]
    module.sharding.plan(sizes, settings.batch, torch.float32)
