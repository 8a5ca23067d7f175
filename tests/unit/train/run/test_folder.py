"""Lock, journal, signals, files: one owner, whole lines, no half files."""

import json
import os
import signal
import subprocess
import sys

import pytest

from opdsl import files
from opdsl.diagnostics import OpError
from opdsl.train.engine.signals import Interrupted, SignalWatch
from opdsl.train.run.checkpoint import CheckpointStore
from opdsl.train.run.folder import lock, refuse_used
from opdsl.train.run.metrics_log import MetricsLog, read_metrics


def test_the_second_run_in_a_folder_is_refused_and_told_who_holds_it(tmp_path):
    with lock(tmp_path), pytest.raises(OpError) as caught, lock(tmp_path):
        pass
    (told,) = caught.value.diagnostics
    assert told.code == "OP0624"
    assert f"process {os.getpid()} on" in told.message


def test_a_folder_is_free_again_after_the_run(tmp_path):
    with lock(tmp_path):
        pass
    with lock(tmp_path):
        pass


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    code = """
import fcntl, os, json, socket, sys, signal
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(handle, fcntl.LOCK_EX)
os.write(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / ".lock")], check=False)  # noqa: S603  our own script
    assert json.loads((tmp_path / ".lock").read_text())["pid"]
    with lock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()


def test_a_lock_of_another_host_is_respected(tmp_path):
    (tmp_path / ".lock").write_text('{"pid": 1, "host": "elsewhere"}')
    with pytest.raises(OpError) as caught, lock(tmp_path):
        pass
    assert "process 1 on elsewhere" in caught.value.diagnostics[0].message


def test_a_used_folder_is_refused_and_an_empty_one_is_not(tmp_path):
    refuse_used(tmp_path)
    refuse_used(tmp_path / "new")
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(OpError) as caught:
        refuse_used(tmp_path)
    assert caught.value.diagnostics[0].code == "OP0624"


# ---------------------------------------------------------------------------------- journal


def test_rows_that_a_full_disk_refuses_come_with_the_next(tmp_path, monkeypatch):
    journal, write = MetricsLog(tmp_path), os.write
    journal.append({"epoch": 1})

    def half_then_full(handle, data):
        if len(data) > 5:
            return write(handle, data[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "write", half_then_full)
    with pytest.raises(OSError, match="No space"):
        journal.append({"epoch": 2})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"epoch": 1}\n'
    monkeypatch.undo()
    journal.append({"epoch": 3})
    assert [row["epoch"] for row in read_metrics(tmp_path)] == [1, 2, 3]


def test_numbers_that_json_does_not_know_are_null(tmp_path):
    MetricsLog(tmp_path).append({"epoch": 1, "valid": {"rel_l2": float("nan")}})
    assert read_metrics(tmp_path)[0]["valid"]["rel_l2"] is None


# ---------------------------------------------------------------------------------- signals


def test_the_first_signal_waits_and_the_second_does_not():
    with SignalWatch() as watch:
        os.kill(os.getpid(), signal.SIGTERM)
        assert watch.caught == signal.SIGTERM
        with pytest.raises(Interrupted) as caught:
            os.kill(os.getpid(), signal.SIGINT)
    assert caught.value.exit_code == 130


def test_the_handlers_of_before_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with SignalWatch():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


# ---------------------------------------------------------------------------------- files


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    files.write_whole(path, b"old")

    def broken(_handle):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files.os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        files.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_second_checkpoint_of_one_step_is_the_newer(tmp_path):
    store = CheckpointStore(tmp_path)
    for value in (1, 2, 3):
        store.save({"value": value}, 7)
    assert store.load() == {"value": 3}
    assert [p.name for p in store.paths()] == ["step-00000007-2", "step-00000007-1"]


def test_what_an_interrupted_writer_left_is_swept(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save({}, 1)
    (store.folder / ".tmp-step-00000002-99").mkdir()
    store.sweep()
    assert [p.name for p in store.folder.iterdir()] == ["step-00000001"]
