"""Runs in two processes, of which one is killed or some are terminated at random moments."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import opdsl
from tests.e2e.command_line import good
from tests.e2e.killed_world import left, write_case

WORKER = Path(__file__).with_name("killed_world.py")
ROOT = Path(opdsl.__file__).parents[1]  # the package may stand in a bare checkout
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def campaign(folder, mode, count, seed, strategy):
    command = [sys.executable, str(WORKER), *map(str, (folder, mode, count, seed, strategy))]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)  # noqa: S603  our own script
    assert done.returncode == 0, done.stderr
    whole, *trials = map(json.loads, done.stdout.splitlines())
    assert len(trials) == count
    for trial in trials:
        assert trial["left"] == whole  # weights, best weights, rows, nothing loose
        assert trial["saved"] >= trial["step"]
        assert not any("Traceback" in x for x in trial["errors"])
    return trials


SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]


@pytest.mark.parametrize(
    ("count", "seed", "strategy"),
    [
        # `test_world_checkpoints` kills a process in each run of the whole suite
        pytest.param(1, 0, "fsdp", marks=pytest.mark.slow),
        pytest.param(20, 1, "fsdp", marks=SLOW),
        pytest.param(20, 2, "ddp", marks=SLOW),
    ],
)
def test_a_killed_process_ends_the_others_and_the_run_goes_on_with_the_same_weights(
    tmp_path, count, seed, strategy
):
    trials = campaign(tmp_path, "kill", count, seed, strategy)
    for trial in trials:
        survivor = trial["codes"][1 - trial["victim"]]
        assert trial["codes"][trial["victim"]] == -signal.SIGKILL
        assert survivor in {0, 1}  # 0: all epochs were learnt
    if count > 1:
        assert len({x["step"] for x in trials}) > count / 4  # at many moments


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("count", "seed", "strategy"), [(20, 3, "fsdp"), (20, 4, "ddp")])
def test_sigterm_to_one_process_or_all_saves(tmp_path, count, seed, strategy):
    for trial in campaign(tmp_path, "term", count, seed, strategy):
        assert trial["codes"] == [128 + signal.SIGTERM] * 2
        assert trial["saved"] == trial["step"]
        assert trial["position"] > 0 or trial["step"] % 4 == 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_torchrun_starts_the_processes_again_and_they_go_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_case("fsdp", epochs=30)
    good("train", "tiny.op", "--out", "alone", "-q")
    words = ["--standalone", "--nproc-per-node", "2", "--max-restarts", "2", "-m", "opdsl"]
    command = [sys.executable, "-m", "torch.distributed.run", *words, "train", "tiny.op"]
    with subprocess.Popen(  # noqa: S603  our own command
        [*command, "--out", "run", "-q"], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    ) as agent:
        while not list(Path("run/checkpoints").glob("step-*")):
            assert agent.poll() is None
            time.sleep(0.05)
        listing = subprocess.run(  # noqa: S603  a fixed command
            ["/bin/ps", "--ppid", str(agent.pid), "-o", "pid=,args="],
            capture_output=True,
            text=True,
            check=True,
        )
        workers = [int(x.split()[0]) for x in listing.stdout.splitlines() if "opdsl" in x]
        os.kill(workers[1], signal.SIGKILL)
        _, errors = agent.communicate()
    assert agent.returncode == 0, errors
    assert "from epoch" in errors or Path("run/report.html").exists()
    found, expected = left("run"), left("alone")
    assert found["step"] == expected["step"]
    assert found["rows"][-1]["train_loss"] == pytest.approx(
        expected["rows"][-1]["train_loss"], rel=1e-4
    )
