"""Checkpoints of several processes: equal tensors in worlds of other sizes, faults of one disk."""

import errno
import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from opdsl import files
from opdsl.diagnostics import OpError
from opdsl.parallel.groups import form_group
from opdsl.parallel.mesh import ProcessMesh
from opdsl.train.run.checkpoint import MANIFEST, CheckpointStore, read_values
from opdsl.train.run.sharded.world import WorldCheckpoints
from tests.worlds import run_world


class Toy(nn.Module):
    """Weights of several types; `small` has fewer rows than four processes."""

    def __init__(self):
        super().__init__()
        self.real = nn.Parameter(torch.empty(7, 3))
        self.small = nn.Parameter(torch.empty(1, 5))
        self.deep = nn.Parameter(torch.empty(4, 2, 3, dtype=torch.float64))
        self.complex = nn.Parameter(torch.empty(5, 2, dtype=torch.complex64))
        self.register_buffer("fixed", torch.arange(4.0))


def filled(module, shift=0.0):
    """The module with numbers that depend on the name and the place only."""
    with torch.no_grad():
        for i, p in enumerate(module.parameters()):
            values = torch.arange(p.numel(), dtype=torch.float64).reshape(p.shape) + 100 * i + shift
            p.copy_(values + 0.25j if p.is_complex() else values)
    return module


def expected(shift=0.0):
    return {k: x.clone() for k, x in filled(Toy(), shift).state_dict().items()}


def sharded(shift=0.0, space=1):
    module = filled(Toy(), shift)
    fully_shard(module, mesh=ProcessMesh.of_world(space).device_mesh["data"])
    return module


def state_of(module, step=3):
    moments = {
        i: {"exp_avg": 2 * p.detach(), "step": torch.tensor(7.0)}
        for i, p in enumerate(module.parameters())
    }
    return {
        "module": dict(module.state_dict()),
        "optimizer": {"state": moments, "param_groups": [{"params": [0, 1, 2, 3], "lr": 0.5}]},
        "random": {"torch": torch.full((2,), dist.get_rank())},
        "step": step,
    }


def checkpoints_of(store):
    return WorldCheckpoints.of(store, form_group())


def layouts_of(module):
    own, in_order = dict(module.named_parameters()), list(module.parameters())

    def layout(path):
        if path[0] == "optimizer":
            return in_order[path[2]] if path[1] == "state" and path[3] == "exp_avg" else None
        return own.get(path[-1])

    return layout


def save(folder):
    checkpoints = checkpoints_of(CheckpointStore(Path(folder)))
    module = sharded()
    assert checkpoints.save(state_of(module), 3) == []
    with torch.no_grad():  # the copy was taken before
        for p in module.parameters():
            p.zero_()
    (result,) = checkpoints.settle()
    return str(result.path), result.reason, result.step


def load_sharded(folder):
    checkpoints = checkpoints_of(CheckpointStore(Path(folder)))
    module = sharded(shift=1000.0)
    state = checkpoints.load("step", None, layouts_of(module))
    divided = [k for k, x in state["module"].items() if isinstance(x, DTensor)]
    module.load_state_dict(state["module"])
    whole = {
        k: x.full_tensor() if isinstance(x, DTensor) else x for k, x in module.state_dict().items()
    }
    moments = {k: x["exp_avg"].full_tensor() for k, x in state["optimizer"]["state"].items()}
    return whole, moments, divided, state["random"]["torch"], state["step"]


def load_replicated(folder):
    checkpoints = checkpoints_of(CheckpointStore(Path(folder)))
    state = checkpoints.load()
    return state["module"], state["random"]["torch"]


def save_replicated(folder):
    checkpoints = checkpoints_of(CheckpointStore(Path(folder)))
    checkpoints.save(state_of(filled(Toy())), 5)
    (result,) = checkpoints.settle()
    return str(result.path)


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for k, x in wanted.items():
        assert found[k].dtype == x.dtype
        assert torch.equal(found[k], x), k


@pytest.fixture(scope="module", params=[2])
def saved(request, tmp_path_factory):
    run = tmp_path_factory.mktemp("saved")
    return run, run_world(request.param, save, str(run))


def test_each_process_writes_its_part_and_the_first_one_the_manifest(saved):
    run, results = saved
    assert [x[1:] for x in results] == [(None, 3)] * 2
    (path,) = CheckpointStore(run).paths()
    assert results[0][0] == str(path)
    names = {x.name for x in path.iterdir()}
    shards = {f"shard-{i:05d}-of-00002.safetensors" for i in (1, 2)}
    assert names == {"state.pt", MANIFEST} | shards
    manifest = json.loads((path / MANIFEST).read_text())
    assert manifest["format"] == 2
    assert manifest["files"].keys() == names - {MANIFEST}
    assert read_values(path)["module"]["real"] is None  # its numbers are in the shards only
    assert [x.name for x in path.parent.iterdir()] == [path.name]


def test_one_process_reads_whole_tensors(saved):
    state = CheckpointStore(saved[0]).load()
    same(state["module"], expected())
    moments = {k: x["exp_avg"] for k, x in state["optimizer"]["state"].items()}
    parameters = [p.detach() for p in filled(Toy()).parameters()]
    same(moments, {i: 2 * p for i, p in enumerate(parameters)})
    assert state["optimizer"]["state"][0]["step"] == 7


@pytest.mark.parametrize("world", [2, 4])
def test_worlds_of_other_sizes_read_their_parts(saved, world):
    parameters = [p.detach() for p in filled(Toy()).parameters()]
    for rank, (weights, moments, divided, random, step) in enumerate(
        run_world(world, load_sharded, str(saved[0]))
    ):
        same(weights, expected())
        same(moments, {i: 2 * p for i, p in enumerate(parameters)})
        assert divided == ["real", "small", "deep", "complex"]
        assert step == 3
        assert random.tolist() == [rank if world == 2 else 0] * 2


def test_processes_with_whole_weights_read_whole_tensors(saved):
    for weights, _ in run_world(2, load_replicated, str(saved[0])):
        same(weights, expected())


def test_replicated_weights_are_written_once_as_in_one_process(tmp_path):
    paths = run_world(2, save_replicated, str(tmp_path))
    (path,) = CheckpointStore(tmp_path).paths()
    assert paths == [str(path)] * 2
    assert {x.name for x in path.iterdir()} == {"state.pt", MANIFEST}
    same(CheckpointStore(tmp_path).load()["module"], expected())
    for rank, (weights, moments, _, random, _) in enumerate(
        run_world(2, load_sharded, str(tmp_path))
    ):
        same(weights, expected())
        assert len(moments) == 4
        assert random.tolist() == [rank] * 2


def save_in_space(folder):
    checkpoints = checkpoints_of(CheckpointStore(Path(folder)))
    checkpoints.save(state_of(sharded(space=2)), 3)
    return [x.reason for x in checkpoints.settle()]


def test_parts_that_several_processes_have_are_written_once(tmp_path):
    assert run_world(4, save_in_space, str(tmp_path)) == [[None]] * 4
    store = CheckpointStore(tmp_path)
    same(store.load()["module"], expected())
    manifest = json.loads((store.paths()[0] / MANIFEST).read_text())
    sizes = {tuple(x["path"]): len(x["shards"]) for x in manifest["tensors"]}
    assert sizes["module", "real"] == 2
    assert sizes["module", "small"] == 1


# ------------------------------------------------------------------------------------------ faults


def save_with_a_full_disk(folder, rank, sharding):
    checkpoints = checkpoints_of(CheckpointStore(Path(folder)))
    module = sharded() if sharding else filled(Toy())
    checkpoints.save(state_of(module), 3)
    checkpoints.settle()
    write = files.os.write

    def full(handle, data):  # noqa: ARG001  the signature of os.write
        raise OSError(errno.ENOSPC, "No space left on device")

    if dist.get_rank() == rank:
        files.os.write = full
    checkpoints.save(state_of(module), 4)
    (failed,) = checkpoints.settle()
    files.os.write = write
    checkpoints.save(state_of(module, step=5), 5)
    (later,) = checkpoints.settle()
    return failed.reason, failed.path, later.reason


@pytest.mark.parametrize(("rank", "sharding"), [(0, True), (1, True), (0, False)])
def test_a_disk_that_is_full_for_one_process_costs_one_checkpoint(tmp_path, rank, sharding):
    where = f"process {rank}: " if sharding else ""
    results = run_world(2, save_with_a_full_disk, str(tmp_path), rank, sharding)
    assert results == [(f"{where}No space left on device", None, None)] * 2
    store = CheckpointStore(tmp_path)
    assert [x.name for x in store.paths()] == ["step-00000005", "step-00000003"]
    assert not list(store.folder.glob(".tmp-*"))


def save_twice(folder):
    checkpoints = checkpoints_of(CheckpointStore(Path(folder)))
    for step, shift in ((3, 0.0), (4, 1.0)):
        checkpoints.save(state_of(sharded(shift), step), step)
    return [x.step for x in checkpoints.settle()]


def load_noted(folder):
    checkpoints = checkpoints_of(CheckpointStore(Path(folder)))
    module, notes = sharded(), []
    try:
        state = checkpoints.load("step", notes.append, layouts_of(module))
    except OpError as error:
        return error.diagnostics[0].code, notes
    module.load_state_dict(state["module"])
    return state["step"], notes, module.real.full_tensor()


def flip(path):
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))


def test_a_flipped_bit_in_one_shard_makes_all_processes_take_the_one_before(tmp_path):
    assert run_world(2, save_twice, str(tmp_path)) == [[4], [4]]
    newest, before = CheckpointStore(tmp_path).paths()
    flip(newest / "shard-00002-of-00002.safetensors")
    note = "the checkpoint step-00000004 is damaged (process 1: its content is not what was "
    note += "written); trying an older one"
    for step, notes, weights in run_world(2, load_noted, str(tmp_path)):
        assert (step, notes) == (3, [note])
        assert torch.equal(weights, expected()["real"])
    assert CheckpointStore(tmp_path).load()["step"] == 3
    flip(before / "state.pt")
    assert [x[0] for x in run_world(2, load_noted, str(tmp_path))] == ["OP0621"] * 2


# --------------------------------------------------------------------------------------- folders


def check_folder(folder, subfolder):
    run = Path(folder, subfolder.replace("RANK", str(dist.get_rank())))
    run.mkdir(exist_ok=True)
    dist.barrier()
    try:
        checkpoints_of(CheckpointStore(run))
    except OpError as error:
        return error.diagnostics[0].code, error.diagnostics[0].message
    dist.barrier()  # the first process removes what the others have seen
    return [x.name for x in run.iterdir()]


@pytest.mark.parametrize(
    ("subfolder", "result"),
    [
        ("run", []),
        ("run-RANK", ("OP0840", "the run folder of process 0 is not that of process 1")),
    ],
)
def test_processes_with_folders_of_their_own_are_refused(tmp_path, subfolder, result):
    assert run_world(2, check_folder, str(tmp_path), subfolder) == [result] * 2
