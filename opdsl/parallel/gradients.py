"""Sums of gradients over the processes of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from opdsl.parallel.mesh import ProcessMesh

BUCKET = 25 << 20  # bytes that travel at once, as in DistributedDataParallel
COMPLETE = "complete_gradient"  # attribute of weights whose gradient is whole on each rank


def sum_gradients(parameters: Iterable[nn.Parameter], mesh: ProcessMesh) -> None:
    """Replace the gradients of weights by their sums over all processes.

    The loss of each process is weighted by its part of the samples, so the sum over "data" is the
    gradient of the batch. Over "space" a process has a part of the gradient, unless the weight has
    the attribute `complete_gradient = True`: then all have the whole one. Gradients of sharded
    weights (FSDP) are summed over "data" already, in the backward pass.

    Args:
        parameters: in the same order in all processes; one without a gradient counts as zero.
        mesh: of the processes.
    """
    if mesh.world == 1:
        return
    replicated: list[Tensor] = []
    sharded: list[Tensor] = []
    for p in parameters:
        if not p.requires_grad:
            continue
        if p.grad is None:
            p.grad = torch.zeros_like(p)
        local = getattr(p.grad, "to_local", None)  # not `isinstance`: DTensor takes 1 s to import
        grad = p.grad if local is None else local()
        if getattr(p, COMPLETE, False) and mesh.space > 1:
            grad.div_(mesh.space)
        (replicated if local is None else sharded).append(grad)
    _sum(replicated, None)
    if mesh.space > 1:
        _sum(sharded, mesh.space_group)


@torch.no_grad()
def _sum(gradients: Sequence[Tensor], group: dist.ProcessGroup | None) -> None:
    """Add tensors up over a group, in buckets that are under way at the same time."""
    under_way = []
    for bucket in _buckets(gradients):
        flat = torch.cat([_real(x).reshape(-1) for x in bucket])
        under_way.append((bucket, flat, dist.all_reduce(flat, group=group, async_op=True)))
    for bucket, flat, work in under_way:
        assert work is not None  # it is asynchronous
        work.wait()
        parts = torch.split(flat, [_real(x).numel() for x in bucket])
        for x, total in zip(bucket, parts, strict=True):
            _real(x).copy_(total.view_as(_real(x)))


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield gradients of one dtype and device, up to `BUCKET` bytes; empty ones are left out."""
    kinds: dict[object, list[Tensor]] = {}
    for x in gradients:
        if x.numel():
            kinds.setdefault((_real(x).dtype, x.device), []).append(x)
    for some in kinds.values():
        bucket: list[Tensor] = []
        for x in some:
            if bucket and sum(y.nbytes for y in bucket) + x.nbytes > BUCKET:
                yield bucket
                bucket = []
            bucket.append(x)
        yield bucket


def _real(x: Tensor) -> Tensor:
    return torch.view_as_real(x) if x.is_complex() else x
