"""`opdsl sweep`, `opdsl runs` and the trials of `opdsl train` as a user meets them."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.e2e.command_line import good, run
from tests.unit.workflow.experiments.line_problem import PROGRAM, waves

OPDSL = [sys.executable, "-c", "from opdsl.cli import main; main()"]
OVER = ["--over", "optimizer.lr=1e-3,1e-1", "--over", "model.width=1,2"]
TRAIN = 'train Line { data { path = "waves.npz" } batch = 3 checkpoint { every = 5 } }\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "line.op").write_text(PROGRAM + TRAIN)
    np.savez(tmp_path / "waves.npz", **waves(20))
    return tmp_path


def opdsl(folder, *words, code=0):
    done = subprocess.run([*OPDSL, *words], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == code, done.stderr + done.stdout
    return done


def start(folder, *words):
    return subprocess.Popen(  # noqa: S603
        [*OPDSL, *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def children(process):
    """The processes that a sweep has started and that are alive."""
    listing = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True)  # noqa: S607
    rows = [x.split() for x in listing.stdout.splitlines()[1:]]
    return [int(pid) for pid, parent in rows if int(parent) == process.pid]


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(test, seconds=300):
    limit = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < limit
        time.sleep(0.1)


def scores(folder):
    data = json.loads(opdsl(folder, "sweep", "--resume", "s", "--json").stdout)
    return {x["point"]: x["score"] for x in data["points"]}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_interrupted_sweep_resumes_and_ends_as_an_uninterrupted_one(folder):
    words = ["sweep", "line.op", *OVER[:2], "--epochs", "60", "--jobs", "2", "--out"]
    process = start(folder, *words, "s")
    until((folder / "s" / "0002" / "metrics.jsonl").exists)
    os.kill(children(process)[0], signal.SIGKILL)  # one dies, as for want of memory
    until(lambda: "SIGKILL" in (folder / "s" / "results.jsonl").read_text())
    left = children(process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 143
    assert "to go on: opdsl sweep --resume s" in errors
    assert not any(is_alive(x) for x in left)
    done = opdsl(folder, *words[:-1], "--out", "whole", "--json")
    whole = {x["point"]: x["score"] for x in json.loads(done.stdout)["points"]}
    resumed = scores(folder)
    assert resumed == whole
    assert len(resumed) == 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_processes_end_when_the_sweep_is_killed(folder):
    process = start(folder, "sweep", "line.op", *OVER, "--epochs", "100000", "--out", "s")
    until((folder / "s" / "0001" / "metrics.jsonl").exists)
    left = children(process)
    process.kill()
    process.communicate()
    until(lambda: not any(is_alive(x) for x in left))
    assert list((folder / "s" / "0001" / "checkpoints").iterdir())  # its state is saved


def test_the_table_and_the_runs_of_a_sweep(folder):
    words = [*OVER[:2], "--epochs", "2", "--seeds", "2", "--out", "s"]
    done = opdsl(folder, "sweep", "line.op", *words)
    assert "best point" in done.stdout
    assert "train again   opdsl train" in done.stdout
    table = opdsl(folder, "runs", "s", "--sort", "valid").stdout
    assert table.splitlines()[0].split()[:4] == ["run", "model", "optimizer.lr", "seed"]
    assert len(table.splitlines()) == 5
    rows = json.loads(opdsl(folder, "runs", "s", "--json").stdout)
    assert [x["settings"]["seed"] for x in rows] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--over", "optimizer.lrr=1,2", "--out", "s"], 3, "error[OP0603]"),
        (["--over", "optimizer.lr=log(1)", "--out", "s"], 2, "error[OP0743]"),
        ([], 2, "name a program and an axis"),
        ([*OVER, "--resume", "s"], 2, "takes its program and settings from the folder"),
    ],
)
def test_a_mistake_is_one_diagnostic(folder, monkeypatch, words, code, message):
    monkeypatch.chdir(folder)
    done = run("sweep", "line.op", *words)
    assert (done.exit_code, done.stderr.count(message)) == (code, 1), done.stderr
    assert not (folder / "s").exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--dry-run"], "all checks have passed"),
        (["--profile"], "kept for the gradient"),
        pytest.param(["--find-lr"], "use it: --set optimizer.lr=", marks=pytest.mark.slow),
        pytest.param(
            ["--overfit", "2", "--epochs", "20"], "2 samples at the rate", marks=pytest.mark.slow
        ),
    ],
)
def test_trials_print_and_write_nothing(folder, monkeypatch, words, part):
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    assert part in good("train", "line.op", *words)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--dry-run", "--profile"], "choose one"), (["--overfit", "0"], "write a number of samples")],
)
def test_trials_that_make_no_sense_are_refused(folder, monkeypatch, words, message):
    monkeypatch.chdir(folder)
    done = run("train", "line.op", *words)
    assert (done.exit_code, message in done.stderr) == (2, True), done.stderr
