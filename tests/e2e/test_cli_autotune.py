"""Measured plans by the command: shown, kept, and the same in a run that goes on."""

import json

import numpy as np
import pytest
import torch

from opdsl.train.run.metrics_log import read_metrics
from tests.e2e.command_line import TINY, data, good, run

TRAIN = """
train Tiny {
  data flows { path = "d.npz" fields { a = "x" u = "y" } }
  optimizer adamw { lr = 1e-2 }
  schedule constant { epochs = 4 }
  batch = 2
  device = cpu
}
"""
ASKED = ("summary", "tiny.op", "--at", "x=16,y=16", "--plan")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The current folder: `tiny.op`, four samples, a cache of its own."""
    monkeypatch.chdir(tmp_path)
    # compiled kernels stay where they are
    monkeypatch.setattr("opdsl.lower.plan.timings.user_cache", lambda: tmp_path / "cache" / "opdsl")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    (tmp_path / "tiny.op").write_text(TINY + TRAIN)
    a = np.random.default_rng(1).standard_normal((5, 1, 16, 16), dtype=np.float32)
    np.savez(tmp_path / "d.npz", x=a, y=a - np.roll(a, 1, -1))
    yield tmp_path
    torch.set_num_threads(before)


def swap(folder):
    """What was the slowest was the fastest."""
    files = list(folder.glob("*.json"))
    for file in files:
        told = json.loads(file.read_text())
        names, times = zip(*told["milliseconds"].items(), strict=True)
        told["milliseconds"] = dict(zip(names, reversed(times), strict=True))
        file.write_text(json.dumps(told))
    return len(files)


def kernels(*more):
    return {x["path"]: x["kernel"] for x in data(*ASKED, *more, "--json")["plan"]["nodes"]}


def metrics(folder):
    return [{k: v for k, v in x.items() if k != "seconds"} for x in read_metrics(folder)]


def test_a_plan_shows_times_that_were_measured_before(home):
    assert "measured with the gradient" not in good(*ASKED)
    measured = kernels("--autotune")
    assert "measured with the gradient" in good(*ASKED)
    assert kernels() == measured
    assert swap(home / "cache" / "opdsl" / "timings")
    assert kernels() != measured


@pytest.mark.usefixtures("home")
def test_another_batch_was_not_measured():
    good(*ASKED, "--autotune")
    assert "measured with" not in good(*ASKED, "--batch", 2)


@pytest.mark.parametrize(
    "options", [("--at", "x=16,y=16"), ("--plan",), ("--plan", "--at", "x=16", "--device", "cuda")]
)
def test_what_cannot_be_tuned_is_refused_before_the_program_is_read(options):
    result = run("summary", "absent.op", "--autotune", *options)
    assert result.exit_code == 2
    assert "`--autotune`" in result.stderr


def test_a_run_that_goes_on_keeps_its_plan_to_the_bit_whatever_was_measured_meanwhile(home):
    asked = ("train", "tiny.op", "--set", "autotune=true", "-q", "--out")
    good(*asked, "cut", "--epochs", 2)
    users = home / "cache" / "opdsl" / "timings"
    before = {x.name for x in (home / "cut" / "timings").iterdir()}
    assert before == {x.name for x in users.iterdir()}
    good(*asked, "whole")
    assert swap(users) == len(before)
    good("train", "--resume", "cut", "--epochs", 4, "-q")
    assert metrics(home / "cut") == metrics(home / "whole")
    a, b = ((home / x / "model.safetensors").read_bytes() for x in ("cut", "whole"))
    assert a == b


def test_a_run_that_began_without_times_goes_on_without(home):
    asked = ("train", "tiny.op", "-q", "--out", "run")
    good(*asked, "--epochs", 2)
    result = run("train", "--resume", "run", "--set", "autotune=true")
    assert "`autotune` is false in this run and cannot become true" in result.stderr
    good("train", "--resume", "run", "--epochs", 3, "-q")
    assert not (home / "run" / "timings").exists()
