"""Run folders from strangers: links, special files, states and journals that are none."""

import hashlib
import io
import json
import os
import zipfile

import pytest
import torch

from opdsl.diagnostics import OpError
from opdsl.safe_pt import UnsafeFileError, load_tensors
from opdsl.train.run.checkpoint import MANIFEST, STATE, CheckpointStore, refuse_malformed
from opdsl.train.run.folder import lock, refuse_links
from opdsl.train.run.metrics_log import MetricsLog, read_metrics
from opdsl.train.run.trained import trained_state
from tests.e2e import tiny_run


def refused(call, *arguments):
    with pytest.raises(OpError) as caught:
        call(*arguments)
    (one,) = caught.value.diagnostics
    return one


def enter(run):
    with lock(run):
        pass


# --- links --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl", "checkpoints", "timings/a.json"])
def test_a_link_in_a_run_folder_is_named_and_nothing_is_written(tmp_path, name):
    victim, run = tmp_path / "victim", tmp_path / "run"
    victim.write_text("precious")
    (run / name).parent.mkdir(parents=True)
    (run / name).symlink_to(victim)
    told = refused(enter, run)
    assert told.code == "OP0628"
    assert f"`{name}`" in told.message
    assert victim.read_text() == "precious"


def test_a_lock_that_is_a_hard_link_is_not_emptied(tmp_path):
    victim, run = tmp_path / "victim", tmp_path / "run"
    victim.write_text("precious")
    run.mkdir()
    os.link(victim, run / ".lock")
    assert refused(enter, run).code == "OP0628"
    assert victim.read_text() == "precious"


def test_a_fifo_in_a_run_folder_is_refused(tmp_path):
    os.mkfifo(tmp_path / ".lock")
    assert "neither a file nor a folder" in refused(enter, tmp_path).message


def test_the_folder_itself_may_be_reached_by_a_link(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "run").symlink_to("scratch")
    enter(tmp_path / "run")
    refuse_links(tmp_path / "run")


def test_the_journal_is_not_written_through_a_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "metrics.jsonl").symlink_to(victim)
    with pytest.raises(OSError, match="link"):
        MetricsLog(tmp_path).append({"epoch": 1})
    assert victim.read_text() == "precious"


# --- journals -----------------------------------------------------------------------------------

TORN = (
    b'{"epoch": 2, "tr\xff\xfe',
    b'{"epoch": "two"}',
    b'{"epoch": true}',
    b'{"epoch": 2, "tests": 3}',
    b'{"epoch": 2, "train_loss": "low"}',
    b"[" * 100_000,
    b"7",
    b"\x00\x00",
)


@pytest.mark.parametrize("line", TORN, ids=range(len(TORN)))
def test_a_damaged_line_is_dropped_and_counted(tmp_path, line):
    journal = MetricsLog(tmp_path)
    journal.append({"epoch": 1, "tests": {"a": {"rel_l2": 0.5}}})
    with journal.path.open("ab") as file:
        file.write(line + b"\n")
    journal.append({"epoch": 3})
    assert [x["epoch"] for x in read_metrics(tmp_path)] == [1, 3]
    rows, damaged = journal.keep_until(3)
    assert [x["epoch"] for x in rows] == [1, 3]
    assert damaged == 1
    assert journal.keep_until(3) == (rows, 0)


def test_a_run_with_a_damaged_journal_goes_on_and_says_so(tmp_path):
    run = tmp_path / "run"
    tiny_run.train(run, epochs=2)
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b"\xff\n")

    class Listener(tiny_run.SilentListener):
        notes = ()

        def note(self, text):
            self.notes += (text,)

    listener = Listener()
    tiny_run.train(run, epochs=3, resume=True, listener=listener)
    assert any("1 damaged line" in x for x in listener.notes)
    assert [x["epoch"] for x in read_metrics(run)] == [1, 2, 3]


# --- states -------------------------------------------------------------------------------------


def put(run, data, kind="step"):
    """A checkpoint with a good hash, as a stranger makes it."""
    folder = run / "checkpoints" / f"{kind}-00000009"
    folder.mkdir(parents=True)
    (folder / STATE).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    (folder / MANIFEST).write_text(json.dumps({"files": {STATE: {"sha256": digest}}}))


def saved(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def good_state():
    return {
        "module": {"w": torch.ones(2)},
        "normaliser": {},
        "epoch": 1,
        "step": 2,
        "meta": {},
    }


@pytest.mark.parametrize(
    "change",
    [
        {"module": 3},
        {"module": {"w": "text"}},
        {"normaliser": None},
        {"epoch": "one"},
        {"meta": 4},
    ],
)
def test_a_state_of_other_content_is_one_diagnostic(tmp_path, change):
    refuse_malformed(good_state(), tmp_path)
    assert refused(refuse_malformed, good_state() | change, tmp_path).code == "OP0621"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(tmp_path, value):
    state = good_state() | {"module": {"layer.weight": torch.tensor([1.0, value])}}
    told = refused(refuse_malformed, state, tmp_path)
    assert told.code == "OP0621"
    assert "`layer.weight`" in told.message


@pytest.mark.parametrize("part", ["optimizer", "progress", "random", "settings", "meta"])
def test_a_run_whose_state_lacks_a_part_is_one_diagnostic(tmp_path, part):
    run = tmp_path / "run"
    tiny_run.train(run, epochs=1)
    state = CheckpointStore(run).load()
    del state[part]
    put(run, saved(state))
    told = refused(lambda: tiny_run.train(run, epochs=2, resume=True))
    assert told.code == "OP0621"


@pytest.mark.parametrize(
    ("name", "value"), [("epoch", []), ("epoch", -1), ("step", 1.5), ("best", "x"), ("bad", True)]
)
def test_progress_that_is_no_count_is_one_diagnostic(tmp_path, name, value):
    run = tmp_path / "run"
    tiny_run.train(run, epochs=1)
    state = CheckpointStore(run).load()
    state["progress"][name] = value
    put(run, saved(state))
    assert refused(lambda: tiny_run.train(run, epochs=2, resume=True)).code == "OP0621"


def test_a_state_that_is_no_table_is_damaged(tmp_path):
    put(tmp_path, saved([1, 2]))
    assert refused(trained_state, tmp_path).code == "OP0621"


# --- pickles ------------------------------------------------------------------------------------


def nested_key(depth=98):
    """A dictionary with a tuple of tuples as its key, which takes 2^depth steps to hash."""
    body = b"\x80\x02})q\x00"
    for i in range(depth):
        body += b"h" + bytes([i]) + b"\x86" + b"q" + bytes([i + 1])
    return body + b"K\x01s."


def archived(pickle):
    """The same in an archive as torch writes it."""
    buffer = io.BytesIO()
    torch.save({}, buffer)
    made = io.BytesIO()
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            new.writestr(name, pickle if name.endswith("data.pkl") else old.read(name))
    return made.getvalue()


HOSTILE = {
    "nested key": nested_key(),
    "bytearray": b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    "set": b"\x80\x02cbuiltins\nset\n]\x85R.",
    "counter": b"\x80\x02ccollections\nCounter\n)R.",
    "deep": b"\x80\x02" + b"]" * 500 + b"a" * 499 + b".",
    "system": b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_pickle_that_would_cost_more_than_its_size_is_refused(name):
    with pytest.raises(UnsafeFileError):
        load_tensors(io.BytesIO(archived(HOSTILE[name])), 1 << 30)


@pytest.mark.parametrize("form", [True, False])
def test_what_our_own_runs_hold_is_read_in_both_formats(form):
    module = torch.nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = {
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "part": torch.arange(10)[2:5],
        "list": [1, 2.5, None, True, "text", (1, 2), 2**70],
    }
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=form)
    held = load_tensors(buffer, 1 << 30)
    assert held["list"] == state["list"]
    assert held["part"].tolist() == [2, 3, 4]
    assert held["module"]["weight"].equal(module.weight)


def test_a_state_larger_than_what_is_free_is_refused():
    with pytest.raises(UnsafeFileError, match="room"):
        load_tensors(io.BytesIO(saved({"x": torch.zeros(1000)})), 1000)


def test_a_compressed_state_counts_as_what_it_becomes():
    made = io.BytesIO()
    old = zipfile.ZipFile(io.BytesIO(saved({"x": torch.zeros(1 << 20)})))
    with old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(UnsafeFileError, match="room"):  # 4 MiB in 4 KiB
        load_tensors(made, 1 << 20)
