"""The patches of a sample on several processes: who computes which, and how to gather results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from opdsl.ir.patches.layout import PatchPosition
from opdsl.parallel.mesh import ProcessMesh
from opdsl.parallel.parts import parts


@dataclass(frozen=True, slots=True)
class Sharing:
    """The processes along "space" of a mesh, each with nearly as many patches of every sample.

    Gradients of weights are those of the patches of a process; their sum over the processes is the
    gradient of a loss that every process computes from the whole outputs.
    """

    mesh: ProcessMesh = field(default_factory=ProcessMesh)

    @property
    def processes(self) -> int:
        """The number of processes."""
        return self.mesh.space

    def own(self, positions: Sequence[PatchPosition]) -> tuple[PatchPosition, ...]:
        """Return the patches of this process."""
        return tuple(positions[i] for i in self._numbers(self.mesh.space_index, len(positions)))

    def spread(self, x: Tensor) -> Tensor:
        """Return the input of all processes, whose gradient is the sum of theirs."""
        if self.processes == 1 or not x.requires_grad:
            return x
        spread: Tensor = _Spread.apply(x, self.mesh.space_group)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return spread

    def gathered(
        self, results: Sequence[Tensor], positions: Sequence[PatchPosition]
    ) -> dict[PatchPosition, Tensor]:
        """Gather the results of all patches, each (batch, channels, *own), by their positions.

        Args:
            results: of the own patches.
            positions: of all patches.
        """
        if self.processes == 1:
            return dict(zip(positions, results, strict=True))
        most = -(-len(positions) // self.processes)
        own = torch.stack([*results, *[torch.zeros_like(results[0])] * (most - len(results))])
        shares: Tensor = _Gather.apply(own, self.mesh.space_group, self.mesh.space_index)  # type: ignore[no-untyped-call]  # as above
        gathered = {}
        for rank, part in enumerate(shares.unbind()):
            for i, number in enumerate(self._numbers(rank, len(positions))):
                gathered[positions[number]] = part[i]
        return gathered

    def _numbers(self, rank: int, count: int) -> range:
        """Return the numbers of the patches of a process: the first ones have one more."""
        return parts(count, self.processes)[rank]


class _Spread(torch.autograd.Function):
    """The identity, whose gradient is summed over the processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        total = gradient.clone()
        dist.all_reduce(_real(total), group=ctx.group)
        return total, None


class _Gather(torch.autograd.Function):
    """Tensors of all processes in the order of their ranks; the gradient is the own part."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup, index: int) -> Tensor:
        ctx.index = index
        parts = x.new_empty(dist.get_world_size(group), *x.shape)
        dist.all_gather(list(_real(parts).unbind()), _real(x.contiguous()), group=group)
        return parts

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        return gradient[ctx.index], None, None


def _real(x: Tensor) -> Tensor:
    """View complex numbers as pairs, which every backend exchanges."""
    return torch.view_as_real(x) if x.is_complex() else x
