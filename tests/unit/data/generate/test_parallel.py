"""Processes that compute samples: order, equal results, failures, and how they end."""

import math
import operator
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from opdsl.data.generate.problems import burgers_periodic, fitzhugh_nagumo, parallel
from opdsl.data.generate.problems.parallel import in_parallel
from opdsl.data.interrupt import deferred_signals
from opdsl.diagnostics import OpError


@pytest.fixture
def at_once(monkeypatch):
    """Start the processes before the first task."""
    monkeypatch.setattr(parallel, "ALONE", 0.0)


def results(function, tasks, workers=2):
    with in_parallel(function, tasks, workers) as values:
        return list(values)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_the_tasks(workers):
    assert results(partial(math.pow, 2.0), range(9), workers) == [2.0**k for k in range(9)]


def test_few_tasks_start_no_process(monkeypatch):
    monkeypatch.setattr(parallel, "_Process", None)
    assert results(math.sqrt, [4, 9]) == [2.0, 3.0]


@pytest.mark.usefixtures("at_once")
def test_tasks_go_to_processes_of_their_own():
    seen = set(results(os.getpgid, [0, 0, 0, 0, 0, 0]))
    assert os.getpgid(0) not in seen
    assert 1 <= len(seen) <= 2


@pytest.mark.usefixtures("at_once")
def test_an_error_is_raised_where_the_result_is_read():
    with in_parallel(math.sqrt, [4, -1, 9], 2) as values:
        assert next(values) == 2
        with pytest.raises(ValueError, match="domain"):
            next(values)


@pytest.mark.usefixtures("at_once")
def test_a_missing_file_is_no_lost_process():
    with pytest.raises(FileNotFoundError):
        results(os.stat, ["/no such file"])


@pytest.mark.usefixtures("at_once")
def test_what_a_function_prints_does_not_come_between_the_results():
    assert results(print, ["a", "b", "c"]) == [None, None, None]


@pytest.mark.usefixtures("at_once")
def test_a_process_that_ends_is_one_diagnostic():
    with pytest.raises(OpError) as caught:
        results(os._exit, [3])
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "OP0690"
    assert diagnostic.notes[0] == "its exit status is 3"


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def children():
    """The processes that this one has started."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for x in lists for pid in x.read_text().split()}


@pytest.mark.usefixtures("at_once")
def test_the_processes_end_with_the_block():
    started = time.monotonic()
    with in_parallel(operator.call, [os.getpid] * 4, 2) as values:
        pids = [next(values) for _ in range(4)]
    with in_parallel(time.sleep, [0, 60, 60], 2) as values:
        next(values)
    assert time.monotonic() - started < 30
    assert not any(alive(x) for x in pids)


@pytest.mark.usefixtures("at_once")
def test_ctrl_c_does_not_wait_for_a_long_task():
    started = time.monotonic()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with (
            deferred_signals(),
            in_parallel(time.sleep, [0, 60, 60], 2) as values,
        ):
            next(values)
            os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                next(values)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < 30


SCRIPT = """
import operator, os, time
from opdsl.data.generate.problems import parallel
parallel.ALONE = 0.0
with parallel.in_parallel(operator.call, [os.getpid] * 2, 2) as pids:
    print(*pids, flush=True)
    time.sleep(60)
"""


def test_processes_end_when_the_program_is_killed():
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[4])}
    with Popen([sys.executable, "-c", SCRIPT], stdout=PIPE, env=here) as child:  # noqa: S603  our own
        pids = [int(x) for x in child.stdout.readline().split()]
        assert len(pids) == 2
        child.kill()
    until = time.monotonic() + 20
    while any(alive(x) for x in pids) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(alive(x) for x in pids)


@pytest.mark.usefixtures("at_once")
def test_files_are_equal_bit_for_bit_for_any_number_of_workers(tmp_path):
    options = {"time": 0.05, "resolution": 32, "samples": 10, "seed": 3}
    for workers in (1, 2):
        burgers_periodic.generate(**options, workers=workers, out=tmp_path / f"{workers}.h5")
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()


@pytest.mark.usefixtures("at_once")
def test_a_killed_process_leaves_no_file(tmp_path):
    before = children()  # other tests keep some, as that of multiprocessing

    def kill_all(done, _):
        if done == 1:
            for pid in children() - before:
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(OpError, match="OP0690"):
        fitzhugh_nagumo.generate(
            resolution=16,
            fine=16,
            frames=2,
            samples=100,
            seed=1,
            workers=2,
            out=tmp_path / "a.h5",
            progress=kill_all,
        )
    assert list(tmp_path.iterdir()) == []
