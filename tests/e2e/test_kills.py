"""Fifty kills at random points of a run with validation, and settings that change in between."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import opdsl

WORKER = Path(__file__).with_name("killed_run.py")
ROOT = Path(opdsl.__file__).parents[1]  # the package may stand in a bare checkout


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "seed"), [(50, 0)])
def test_kills_and_a_changed_setting_leave_the_weights_and_the_record_of_a_run(
    tmp_path, kills, seed
):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(WORKER), str(tmp_path), str(kills), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603  our own script
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["kills"] == kills
    assert len(found["steps"]) > kills / 4  # at many moments, not always at one
    killed, whole = found["killed"], found["run"]
    assert killed["changes"]
    assert {x["setting"] for x in killed["changes"]} == {"schedule.epochs", "optimizer.lr"}
    assert killed["loose"] == []
    assert {k: v for k, v in killed.items() if v != whole[k]} == {}
