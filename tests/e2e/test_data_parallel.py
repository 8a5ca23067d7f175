"""Training in several processes, from the command line."""

import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import h5py
import pytest

from tests.e2e.command_line import TINY, TRAIN, process, start

QUICK = TRAIN.replace("eval { resolutions = [9, 17] }", "precision = fp64")
LONG = "--epochs", 2000, "--set", "checkpoint.every=1000"


@pytest.fixture
def quick(folder):
    """The current folder, with a program in double precision that measures little at its end."""
    (folder / "tiny.op").write_text(TINY + QUICK)
    return folder


def rows(run):
    lines = Path(run, "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k != "seconds"} for x in lines]


def close(row, other):
    assert row.keys() == other.keys()
    for key, value in other.items():
        if isinstance(value, dict):
            close(row[key], value)
        else:
            assert row[key] == pytest.approx(value, rel=1e-9, abs=1e-12), key


def together(count, port, arguments, **more):
    """Processes as `srun` or `torchrun` starts them; of each its exit code and stderr."""
    children = []
    for rank in range(count):
        numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        env = {k: str(v) for k, v in (numbers | place).items()}
        children.append(start("train", *arguments[rank], **env, **more))
    ends = [x.communicate(timeout=120) for x in children]
    return [x.returncode for x in children], [err for _, err in ends]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def processes_of(child):
    """The processes that `--nproc` has started."""
    listing = Path(f"/proc/{child.pid}/task/{child.pid}/children")
    if not listing.exists():
        pytest.skip("no list of children")
    return sorted(map(int, listing.read_text().split()))


def wait_for_epochs(child, folder, count=2):
    end = time.monotonic() + 90
    while not (Path(folder, "metrics.jsonl").exists() and len(rows(folder)) >= count):
        assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.1)


# ----------------------------------------------------------------------------------- equal runs


def test_a_run_in_two_processes_is_that_of_one(quick):
    for name, more in (("one", ()), ("two", ("--nproc", 2))):
        result = process("train", "tiny.op", "--out", name, *more, cwd=quick)
        assert result.returncode == 0, result.stderr
        assert result.stderr.count("epoch 3/3") == 1
        assert result.stdout.count("report page") == 1
    pairs = list(zip(rows("two"), rows("one"), strict=True))
    assert len(pairs) == 3
    for row, other in pairs:
        close(row, other)
    ends = [json.loads(Path(x, "opdsl.json").read_text())["finished"] for x in ("two", "one")]
    assert ends[0]["valid"][0]["rel_l2"] == pytest.approx(ends[1]["valid"][0]["rel_l2"], rel=1e-9)


@pytest.mark.slow
def test_torchrun_with_divided_weights_is_that_of_one(quick):
    good = process("train", "tiny.op", "--out", "one", cwd=quick)
    assert good.returncode == 0, good.stderr
    arguments = ("tiny.op", "--out", "four", "--set", "parallel.strategy=fsdp")
    codes, errors = together(4, free_port(), [arguments] * 4)
    assert codes == [0] * 4, errors
    for row, other in zip(rows("four"), rows("one"), strict=True):
        close(row, other)


# -------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize(
    "whom", [pytest.param("the starter", marks=pytest.mark.slow), "one process"]
)
def test_sigterm_saves_and_the_run_goes_on_in_one_process(quick, whom):
    child = start("train", "tiny.op", "--nproc", 2, "--out", "run", *LONG, cwd=quick)
    wait_for_epochs(child, "run")
    target = child.pid if whom == "the starter" else processes_of(child)[1]
    os.kill(target, signal.SIGTERM)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 143
    assert err.count("stopped and saved; to go on: opdsl train --resume run") == 1
    assert "Traceback" not in err
    done = len(rows("run"))
    result = process("train", "--resume", "run", "--epochs", done + 1, "-q", cwd=quick)
    assert result.returncode == 0, result.stderr
    assert len(rows("run")) == done + 1


@pytest.mark.slow
def test_a_killed_process_is_named_and_all_stop(quick):
    child = start("train", "tiny.op", "--nproc", 2, "--out", "run", *LONG, cwd=quick)
    wait_for_epochs(child, "run")
    ranks = processes_of(child)
    os.kill(ranks[1], signal.SIGKILL)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 1
    assert err.count("error[") == 1
    assert "error[OP0805]: process 1 of the run was ended by SIGKILL" in err
    assert "Traceback" not in err
    assert not any(Path(f"/proc/{x}").exists() for x in ranks)


# ------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("more", "code", "exit_code"),
    [
        pytest.param(("--set", "batch=1"), "OP0801", 2, marks=pytest.mark.slow),
        (("--set", "parallel.space=3"), "OP0800", 2),
        pytest.param(("--data", "gone.h5"), "OP0610", 4, marks=pytest.mark.slow),
    ],
)
def test_one_process_reports_what_all_refuse(quick, more, code, exit_code):
    result = process("train", "tiny.op", "--nproc", 2, "--out", "run", *more, cwd=quick)
    assert result.returncode == exit_code
    assert re.findall(r"error\[(OP\d+)\]", result.stderr) == [code]
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_processes_with_other_programs_are_refused_by_one(quick):
    (quick / "other.op").write_text((TINY + QUICK).replace("width : int = 6", "width : int = 7"))
    arguments = [(x, "--out", "run") for x in ("tiny.op", "other.op")]
    codes, errors = together(2, free_port(), arguments)
    assert codes == [2, 2]
    assert re.findall(r"error\[(OP\d+)\]", "".join(errors)) == ["OP0802"]
    assert "disagree on the program" in "".join(errors)


@pytest.mark.slow
def test_processes_with_other_data_are_refused_by_one(quick):
    (quick / "e.h5").write_bytes((quick / "d.h5").read_bytes())
    with h5py.File(quick / "e.h5", "r+") as file:
        fields = []
        file.visititems(lambda _, x: fields.append(x) if getattr(x, "ndim", 0) > 2 else None)
        fields[0][0] = fields[0][0] + 1
    for name, path in (("a", "d.h5"), ("b", "e.h5")):
        (quick / name).mkdir()
        (quick / name / "d.h5").write_bytes((quick / path).read_bytes())
        (quick / name / "tiny.op").write_text(TINY + QUICK)
    children = []
    port = free_port()
    for rank, name in enumerate("ab"):
        env = {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        children.append(start("train", "tiny.op", "--out", "run", cwd=quick / name, **env, **place))
    ends = [x.communicate(timeout=120)[1] for x in children]
    assert [x.returncode for x in children] == [2, 2]
    assert re.findall(r"error\[(OP\d+)\]", "".join(ends)) == ["OP0802"]
    assert "the training data" in "".join(ends)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_port_in_use_is_named():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        arguments = [("tiny.op", "--out", "run", "--wait", 3)] * 2
        codes, errors = together(2, port, arguments)
    assert codes[0] == 2
    assert codes[1] != 0
    assert re.findall(r"error\[(OP\d+)\]", "".join(errors)) == ["OP0803"]
    assert f"port {port}" in errors[0]


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_process_that_never_arrives_is_named(quick, rank):
    env = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    result = process("train", "tiny.op", "--out", "run", "--wait", 1, cwd=quick, **env, **place)
    assert result.returncode == 1
    assert re.findall(r"error\[(OP\d+)\]", result.stderr) == ["OP0804"]
    assert f"process {1 - rank}" in result.stderr
    assert "frame #" not in result.stderr


def test_options_that_need_one_process_refuse_several(quick):
    for more in (("--seeds", 2), ("--dry-run",), ("--print-config",)):
        result = process("train", "tiny.op", "--nproc", 2, *more, cwd=quick)
        assert result.returncode == 2
        assert "leave `--nproc` out" in result.stderr
