"""The table of a sharded checkpoint, and folders of strangers whose hashes are right."""

import hashlib
import json
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, load_file

from opdsl.diagnostics import OpError
from opdsl.train.run.checkpoint import MANIFEST, CheckpointStore
from opdsl.train.run.sharded.files import write_tensors
from opdsl.train.run.sharded.layout import Shard, StoredTensor, covers

ROWS = torch.arange(12.0).reshape(4, 3)


@given(st.integers(0, 2), st.sets(st.integers(1, 6)), st.data())
def test_parts_cover_a_tensor_if_they_follow_one_another(axis, cuts, data):
    shape = [3, 4, 2]
    shape[axis] = 7
    parts = []
    for start, end in pairwise([0, *sorted(cuts), 7]):
        offset, part = [0, 0, 0], list(shape)
        offset[axis], part[axis] = start, end - start
        parts.append((offset, part))
    data.draw(st.randoms()).shuffle(parts)
    assert covers(shape, parts)
    assert not covers(shape, [*parts, parts[0]])
    assert not covers(shape, parts[1:])
    longer = [(offset, [n + (i == axis) for i, n in enumerate(part)]) for offset, part in parts]
    assert not covers(shape, longer)


def test_parts_of_the_right_size_in_all_may_overlap_and_leave_a_gap():
    first, second = ((0, 0), (2, 3)), ((2, 0), (2, 3))
    assert covers((4, 3), [first, second])
    assert not covers((4, 3), [first, first])


def test_a_tensor_without_elements_has_no_parts():
    assert covers((0, 3), [])
    assert not covers((0, 3), [((0, 0), (0, 3))])
    assert not covers((2,), [])


def test_safetensors_reads_what_is_written(tmp_path):
    tensors = {
        "a": torch.randn(3, 4).T,
        "b": torch.randn(2, 3, dtype=torch.bfloat16),
        "c": torch.tensor([True, False, True]),
        "d": torch.zeros(0, 2),
        "e": torch.tensor(5),
        "é": torch.randn(6, dtype=torch.complex128),
    }
    path = tmp_path / "x.safetensors"
    written = write_tensors(path, tensors)
    data = path.read_bytes()
    assert (written.bytes, written.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    found = load_file(path)
    assert torch.equal(torch.view_as_complex(found.pop("é")), tensors.pop("é"))
    assert found.keys() == tensors.keys()
    for name, x in tensors.items():
        assert found[name].dtype == x.dtype
        assert torch.equal(found[name], x)


# -------------------------------------------------------------------------- folders of strangers


@pytest.fixture
def stored(tmp_path):
    """A checkpoint with one tensor in two files; `change` rewrites its manifest."""
    store = CheckpointStore(tmp_path)
    staging = tmp_path / "staging"
    staging.mkdir()
    store.folder.mkdir()
    files, shards = [], []
    for i, rows in enumerate(ROWS.split((3, 1))):
        name = f"{i}.safetensors"
        files.append(write_tensors(staging / name, {"w": rows}))
        shards.append(Shard(name, "w", (3 * i, 0), tuple(rows.shape)))
    table = [StoredTensor(("module", "w"), torch.float32, (4, 3), tuple(shards))]
    buffer = CheckpointStore(tmp_path / "plain")
    plain = buffer.save({"module": {"w": None, "b": torch.ones(2)}, "step": 1}, 1)
    store.publish(staging, (plain / "state.pt").read_bytes(), table, files, 1)
    return store


def test_a_checkpoint_in_two_files_is_read_whole(stored):
    state = stored.load()
    assert torch.equal(state["module"]["w"], ROWS)
    assert torch.equal(state["module"]["b"], torch.ones(2))
    assert list(state["module"]) == ["w", "b"]


def _entry(change):
    def apply(manifest):
        change(manifest["tensors"][0])

    return apply


CHANGES = {
    "a gap": _entry(lambda x: x["shards"].pop()),
    "an overlap": _entry(lambda x: x["shards"].append(x["shards"][0])),
    "a part beyond the end": _entry(lambda x: x.update(shape=[5, 3])),
    "a size that is negative": _entry(lambda x: x.update(shape=[-4, -3])),
    "a size that is no number": _entry(lambda x: x.update(shape=[True, "3"])),
    "sizes beyond all memory": _entry(
        lambda x: x.update(shape=[2**40, 3], shards=[["0.safetensors", "w", [0, 0], [2**40, 3]]])
    ),
    "another type": _entry(lambda x: x.update(dtype="int32")),
    "a type that is none": _entry(lambda x: x.update(dtype="object")),
    "a complex type": _entry(lambda x: x.update(dtype="complex64")),
    "a file outside": _entry(lambda x: x["shards"][0].__setitem__(0, "../../secret")),
    "another file": _entry(lambda x: x["shards"][0].__setitem__(0, "1.safetensors")),
    "another name": _entry(lambda x: x["shards"][0].__setitem__(1, "v")),
    "a path without a place": _entry(lambda x: x.update(path=["module", "v"])),
    "a path through a tensor": _entry(lambda x: x.update(path=["module", "b", 0])),
    "a path with a value": _entry(lambda x: x.update(path=["step"])),
    "an empty path": _entry(lambda x: x.update(path=[])),
    "a tensor twice": lambda x: x["tensors"].append(x["tensors"][0]),
    "tensors that are no list": lambda x: x.update(tensors=3),
    "an entry that is no table": lambda x: x.update(tensors=[3]),
    "files that are no table": lambda x: x.update(files=3),
    "a file without a hash": lambda x: x["files"]["1.safetensors"].pop("sha256"),
    "a file without a size": lambda x: x["files"]["1.safetensors"].pop("bytes"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_manifest_that_contradicts_itself_or_the_files_is_damage(stored, change):
    (path,) = stored.paths()
    manifest = json.loads((path / MANIFEST).read_text())
    change(manifest)
    (path / MANIFEST).write_text(json.dumps(manifest))
    notes = []
    with pytest.raises(OpError) as caught:
        stored.load("step", notes.append)
    assert [x.code for x in caught.value.diagnostics] == ["OP0621"]
    assert len(notes) == 1


def test_a_link_instead_of_a_shard_is_damage(stored, tmp_path):
    (path,) = stored.paths()
    outside = tmp_path / "outside"
    (path / "0.safetensors").rename(outside)
    (path / "0.safetensors").symlink_to(outside)
    assert load(outside.read_bytes())
    with pytest.raises(OpError) as caught:
        stored.load()
    assert caught.value.diagnostics[0].code == "OP0621"
