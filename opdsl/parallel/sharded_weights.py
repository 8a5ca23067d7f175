"""Weights of which each process has a part: FSDP2 on the modules that have weights."""

from __future__ import annotations

import warnings
from typing import cast

from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard

from opdsl.parallel.mesh import ProcessMesh


def shard_weights(module: nn.Module, mesh: ProcessMesh) -> None:
    """Divide the weights of a module among the processes along "data", in place.

    Each child with weights of its own gathers them for its forward and its backward pass, and frees
    them behind each. Gradients are added up over "data", not averaged: losses are weighted by their
    parts of the samples. Keys of the state_dict stay as they are.

    Args:
        module: with equal weights in all processes, on its device.
        mesh: the processes.

    Source: Zhao et al. 2023, arXiv:2304.11277 (FSDP); `torch.distributed.fsdp.fully_shard`.
    """
    if mesh.data == 1:
        return
    assert mesh.device_mesh is not None
    # no node changes the result of another one in place, of which FSDP warns for each view
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
    along_data = mesh.device_mesh["data"]
    leaves = [x for x in module.modules() if x is not module and _has_own_weights(x)]
    inside = {id(y) for x in leaves for y in x.modules() if y is not x}
    for x in (*(x for x in leaves if id(x) not in inside), module):
        fully_shard(x, mesh=along_data)
        sharded = cast("FSDPModule", x)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)


def _has_own_weights(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None
