"""`opdsl launch`: the script of a job."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.command_line import TINY, good, run

SCHEDULER = """#!/bin/bash
# Stands in for Slurm: one task after the other, each of which writes down how it was started.
case "$(basename "$0")" in
  scontrol) [ "$1" = show ] && printf 'node1\\nnode2\\n' || echo "requeue $2" >> calls ;;
  srun) shift; for i in 0 1 2 3; do
      SLURM_PROCID=$i SLURM_LOCALID=$((i % 2)) SLURM_NTASKS=4 "$@" || exit $?
    done ;;
  opdsl) echo "$RANK $LOCAL_RANK $WORLD_SIZE $MASTER_ADDR $MASTER_PORT $*" >> calls
    exit "$CODE" ;;
esac
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    """The current folder, with a program and programs that stand in for Slurm and opdsl."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.op").write_text(TINY)
    Path("bin").mkdir()
    for name in ("scontrol", "srun", "opdsl"):
        Path("bin", name).write_text(SCHEDULER)
        Path("bin", name).chmod(0o755)
    return tmp_path


def execute(script, code=0):
    Path("job.sh").write_text(script)
    Path("calls").write_text("")
    path = f"{Path('bin').absolute()}:{os.environ['PATH']}"
    slurm = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_ID": "12345"}
    env = os.environ | slurm | {"PATH": path, "CODE": str(code), "SLURM_NTASKS_PER_NODE": "2"}
    done = subprocess.run(["/bin/bash", "job.sh"], env=env, check=False)
    return done.returncode, Path("calls").read_text().splitlines()


@pytest.mark.usefixtures("job")
def test_the_script_starts_a_process_for_each_device_and_goes_on_with_its_run():
    script = good(
        "launch", "--slurm", "tiny.op", "--nodes", 2, "--gpus", 2, "--out", "my run",
        "--", "--epochs", 7,
    )  # fmt: skip
    head = {x.removeprefix("#SBATCH ") for x in script.splitlines() if x.startswith("#SBATCH")}
    assert {"--nodes=2", "--ntasks-per-node=2", "--gpus-per-node=2"} <= head
    code, calls = execute(script)
    rest = "4 node1 29845 train tiny.op --out my run --device cuda --epochs 7"
    assert code == 0
    assert calls == [f"{i} {i % 2} {rest}" for i in range(4)]
    Path("my run").mkdir()
    Path("my run", "opdsl.json").write_text("{}")
    _, calls = execute(script)
    assert calls[0] == "0 0 4 node1 29845 train --resume my run --device cuda --epochs 7"


@pytest.mark.usefixtures("job")
def test_a_job_that_was_stopped_by_its_time_limit_is_queued_again():
    script = good("launch", "--slurm", "tiny.op", "--gpus", 0, "--processes", 3)
    assert "--gpus-per-node" not in script
    assert "#SBATCH --ntasks-per-node=3" in script
    code, calls = execute(script, 143)
    assert code == 143
    assert calls[-1] == "requeue 12345"
    code, calls = execute(script, 6)
    assert code == 6
    assert "requeue" not in calls[-1]


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize("arguments", [("tiny.op",), ("--slurm", "gone.op")])
def test_wrong_arguments_are_refused(arguments):
    result = run("launch", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
