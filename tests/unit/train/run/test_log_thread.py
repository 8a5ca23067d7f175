"""Loggers: what they receive, and runs that go on while a logger fails, hangs or is slow."""

import threading
import time

import pytest
import torch

from opdsl.diagnostics import OpError
from opdsl.setting import Setting
from opdsl.train.config.settings import resolve
from opdsl.train.engine.callbacks import Callback
from opdsl.train.engine.fit import fit
from opdsl.train.loggers import LOGGERS, LoggerEntry, refuse_missing
from opdsl.train.run import log_thread
from opdsl.train.run.log_thread import LogThread, flat_numbers, log_threads
from tests.unit.train.toy_problem import Toy, cloud, quick


class Memory:
    """A sink that keeps what it receives, and may fail or hang at a write."""

    def __init__(self, at=None, hang=None, pause=0.0):
        self.written, self.at, self.hang, self.pause = [], at, hang, pause
        self.closed = False

    def write(self, numbers, step):
        if len(self.written) == self.at:
            if self.hang is not None:
                self.hang.wait(60)
            raise ConnectionError("the server\nis gone")
        time.sleep(self.pause)
        self.written.append((step, dict(numbers)))

    def close(self):
        self.closed = True


def learn(run, *callbacks, epochs=3, **more):
    torch.manual_seed(7)
    module, data = Toy(), cloud()
    settings = quick(epochs)
    said = {"periodic": {"u": (True,)}, "meta": {"arch": "t"}, "callbacks": list(callbacks)}
    return fit(module, data, cloud(seed=2), settings, run, **said, **more)


def thread_to(sink, patience=20.0):
    return LogThread("memory", LoggerEntry("", "json", "json", lambda _: sink), patience)


def test_a_logger_receives_each_step_and_each_row(tmp_path):
    sink = Memory()
    out = learn(tmp_path / "run", thread_to(sink))
    steps = [x for x in sink.written if "step/loss" in x[1]]
    rows = [x for x in sink.written if "train_loss" in x[1]]
    assert [x[0] for x in steps] == list(range(1, 10))
    assert [x[0] for x in rows] == [3, 6, 9]
    for (_, numbers), row in zip(rows, out.history, strict=True):
        assert numbers["valid/rel_l2"] == row["valid"]["rel_l2"]
        assert numbers["lr"] == row["lr"]
    assert sink.closed
    assert out.notes == ()


def test_a_logger_that_fails_is_a_note_and_the_run_is_equal(tmp_path):
    plain = learn(tmp_path / "plain")
    out = learn(tmp_path / "run", thread_to(Memory(at=2)))
    assert out.history[-1]["train_loss"] == plain.history[-1]["train_loss"]
    (note,) = out.notes
    assert note == "the logger `memory` stopped: ConnectionError: the server is gone"


def test_a_logger_that_cannot_be_opened_is_a_note(tmp_path):
    def refuse(_):
        raise OSError(28, "No space left on device")

    out = learn(tmp_path / "run", LogThread("full", LoggerEntry("", "json", "json", refuse)))
    assert out.epochs == 3
    assert "No space left on device" in out.notes[0]


def test_a_logger_that_hangs_does_not_hold_the_run(tmp_path):
    gate = threading.Event()
    sink = Memory(at=1, hang=gate)
    started = time.monotonic()
    out = learn(tmp_path / "run", thread_to(sink, patience=0.5))
    assert time.monotonic() - started < 30
    gate.set()
    assert out.epochs == 3
    (note,) = out.notes
    assert note == "the logger `memory` hangs: 11 of its values are lost"  # 9 steps, 3 rows, 1 done


def test_a_slow_logger_loses_old_values_and_says_so(tmp_path, monkeypatch):
    gate = threading.Event()

    class Slow(Memory):
        def write(self, numbers, step):
            gate.wait(20)
            super().write(numbers, step)

    class Open(Callback):
        def on_end(self, run):
            gate.set()

    sink, thread = Slow(), None
    thread = thread_to(sink)
    monkeypatch.setattr(log_thread, "CAPACITY", 4)
    thread._items = type(thread._items)(maxlen=4)
    out = learn(tmp_path / "run", Open(), thread)
    assert len(sink.written) in {4, 5}
    assert "train_loss" in sink.written[-1][1]  # the newest are kept
    assert "too slow for" in out.notes[0]


def test_a_run_that_ends_by_an_error_writes_what_is_left(tmp_path):
    class Break(Callback):
        def on_step(self, run, result):
            if run.step == 4:
                raise KeyboardInterrupt

    sink = Memory()
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "run", thread_to(sink), Break())
    assert sink.closed
    assert [x[0] for x in sink.written if "step/loss" in x[1]] == [1, 2, 3, 4]


def test_numbers_of_a_row_are_flat_and_finite():
    row = {"epoch": 1, "train_loss": None, "valid": {"rel_l2": 0.5, "steps": [1.0]}, "ok": True}
    row |= {"terms": {"rel_l2(u)": 2.0, "x": float("nan")}}
    assert dict(flat_numbers(row)) == {"epoch": 1.0, "valid/rel_l2": 0.5, "terms/rel_l2(u)": 2.0}


def test_a_missing_package_is_one_diagnostic(monkeypatch):
    monkeypatch.setattr("opdsl.train.loggers.find_spec", lambda _: None)
    with pytest.raises(OpError) as caught:
        refuse_missing(["wandb"])
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "OP0645"
    assert any("opdsl[wandb]" in x.text for x in diagnostic.helps)


def test_the_setting_takes_one_logger_or_several():
    assert resolve([Setting(("log",), "tensorboard", "--set")]).settings.log == ["tensorboard"]
    assert resolve([]).settings.log == []
    names = list(LOGGERS.names())
    assert [x.name for x in log_threads(names)] == names == ["mlflow", "tensorboard", "wandb"]
    with pytest.raises(OpError) as caught:
        resolve([Setting(("log",), ["tensorbord"], "--set")])
    assert caught.value.diagnostics[0].code == "OP0604"


def logged(tmp_path, monkeypatch, name):
    pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    (thread,) = log_threads([name])
    thread.patience = 250.0  # a busy machine may take long to make a database
    out = learn(tmp_path / "run", thread)
    assert out.notes == ()
    return out.history


def test_tensorboard_reads_the_rows(tmp_path, monkeypatch):
    history = logged(tmp_path, monkeypatch, "tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    scalars = events.Scalars("valid/rel_l2")
    assert [x.step for x in scalars] == [3, 6, 9]
    errors = [x["valid"]["rel_l2"] for x in history]
    assert [x.value for x in scalars] == pytest.approx(errors, rel=1e-6)
    assert len(events.Scalars("step/loss")) == 9


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_reads_the_rows(tmp_path, monkeypatch):
    history = logged(tmp_path, monkeypatch, "mlflow")
    from mlflow import MlflowClient

    from opdsl.train.loggers.mlflow import _tracking_uri

    client = MlflowClient(_tracking_uri())
    number = client.get_experiment_by_name("opdsl").experiment_id
    (run,) = client.search_runs([number])
    assert run.data.params["optimizer.lr"] == "0.01"
    values = client.get_metric_history(run.info.run_id, "valid/rel_l2")
    assert [x.value for x in values] == [x["valid"]["rel_l2"] for x in history]
    assert run.info.status == "FINISHED"


@pytest.mark.filterwarnings("ignore")
def test_wandb_writes_an_offline_run(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    logged(tmp_path, monkeypatch, "wandb")
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    # the process that writes the file may be slower than this one
    assert any(b"valid/rel_l2" in file.read_bytes() or time.sleep(1.0) for _ in range(120))
