"""The mesh of processes: places, and who exchanges with whom."""

import pytest
import torch
import torch.distributed as dist

from opdsl.parallel.mesh import ProcessMesh
from tests.worlds import run_world


def _places(space: int) -> tuple[int, int, list[int], list[int]]:
    mesh = ProcessMesh.of_world(space)
    parts = []
    for group in (mesh.data_group, mesh.space_group):
        seen = [torch.zeros(1, dtype=torch.int64) for _ in range(dist.get_world_size(group))]
        dist.all_gather(seen, torch.tensor([mesh.rank]), group=group)
        parts.append([int(x) for x in seen])
    return mesh.data_index, mesh.space_index, *parts


def test_processes_of_a_sample_are_neighbours_in_rank():
    assert run_world(4, _places, 2) == [
        (0, 0, [0, 2], [0, 1]),
        (0, 1, [1, 3], [0, 1]),
        (1, 0, [0, 2], [2, 3]),
        (1, 1, [1, 3], [2, 3]),
    ]


def test_a_process_alone_writes_and_has_no_groups():
    mesh = ProcessMesh()
    assert (mesh.world, mesh.data_index, mesh.space_index, mesh.writes) == (1, 0, 0, True)
    assert mesh.data_group is None
    assert mesh.space_group is None


def _indivisible() -> str:
    with pytest.raises(ValueError, match="2 processes cannot be divided by 3") as caught:
        ProcessMesh.of_world(3)
    return str(caught.value)


def test_space_divides_the_number_of_processes():
    assert len(set(run_world(2, _indivisible))) == 1
