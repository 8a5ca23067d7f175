"""Weights of which each process has a part: FSDP2 on the modules that have weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, cast

from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard

from opdsl.parallel.mesh import ProcessMesh


def shard_weights(module: nn.Module, parts: Iterable[nn.Module], mesh: ProcessMesh) -> None:
    """Divide the weights of a module among the processes along "data", in place.

    Each part gathers its weights for its forward and its backward pass, and frees them behind each.
    Gradients are added up over "data", not averaged: losses are weighted by their parts of the
    samples. Keys of the state_dict stay as they are.

    Args:
        module: with equal weights in all processes, on its device.
        parts: submodules whose weights no other module reads, and which are called as modules.
        mesh: the processes.

    Source: Zhao et al. 2023, arXiv:2304.11277 (FSDP); `torch.distributed.fsdp.fully_shard`.
    """
    if mesh.data == 1:
        return
    assert mesh.device_mesh is not None
    # no node changes the result of another one in place, of which FSDP warns for each view
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
    along_data = mesh.device_mesh["data"]
    with_weights = (x for x in parts if next(x.parameters(), None) is not None)
    for x in (*with_weights, module):
        x.register_forward_hook(_copy_weights)
        fully_shard(x, mesh=along_data)
        sharded = cast("FSDPModule", x)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)


def _copy_weights(module: nn.Module, _inputs: object, output: Any) -> Any:
    """Copy a result that is a view of a weight: the weight is freed behind the forward pass."""
    if not isinstance(output, Tensor):
        return output
    weights = {x.untyped_storage().data_ptr() for x in module.parameters(recurse=False)}
    return output.clone() if output.untyped_storage().data_ptr() in weights else output
