"""The processes of a run as a mesh with the dimensions ("data", "space")."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from opdsl.parallel.groups import form_group

DIMENSIONS = ("data", "space")


@dataclass(frozen=True, slots=True, eq=False)
class ProcessMesh:
    """The place of this process among those of a run; one process alone by default.

    Processes with equal `data_index` share the samples of a batch, each has a part of the grid;
    those with equal `space_index` have equal parts of the grids of other samples. The processes of
    a sample are neighbours in rank: they exchange most.

    Attributes:
        device_mesh: of torch, with `DIMENSIONS`; None where there is one process.
        rank: of this process among all.
        data, space: processes along each dimension.
        checkpoint_group: all processes, for exchanges between CPUs in the background; None where
            there is one process.
    """

    device_mesh: DeviceMesh | None = None
    rank: int = 0
    data: int = 1
    space: int = 1
    checkpoint_group: dist.ProcessGroup | None = None

    @classmethod
    def of_world(cls, space: int = 1, device: str = "cpu") -> ProcessMesh:
        """Arrange the processes of the group that torch has initialised.

        Args:
            space: processes that share a sample; it divides their number.
            device: the type of device of the exchanges, `cpu` (gloo) or `cuda` (NCCL).

        Raises:
            ConnectionError: a process is gone.
        """
        world = dist.get_world_size()
        if world % space:
            raise ValueError(f"{world} processes cannot be divided by {space}")
        shape = (world // space, space)
        ranks = torch.arange(world).view(shape)
        groups = [form_group(ranks.T.tolist()), form_group(ranks.tolist())]
        mesh = DeviceMesh.from_group(groups, device, mesh=ranks, mesh_dim_names=DIMENSIONS)
        return cls(mesh, dist.get_rank(), *shape, form_group(backend="gloo"))

    @property
    def world(self) -> int:
        """The number of processes."""
        return self.data * self.space

    @property
    def data_index(self) -> int:
        """The place of this process along "data"."""
        return self.rank // self.space

    @property
    def space_index(self) -> int:
        """The place of this process along "space"."""
        return self.rank % self.space

    @property
    def writes(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    @property
    def data_group(self) -> dist.ProcessGroup | None:
        """The processes that have other samples and the same part of the grid."""
        return self.device_mesh.get_group("data") if self.device_mesh else None

    @property
    def space_group(self) -> dist.ProcessGroup | None:
        """The processes that have other parts of the grid of the same samples."""
        return self.device_mesh.get_group("space") if self.device_mesh else None


ALONE = ProcessMesh()  # one process
