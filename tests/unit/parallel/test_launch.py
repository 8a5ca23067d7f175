"""The starter of processes: exit codes, signals, and processes that do not end."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from opdsl.diagnostics import OpError
from opdsl.parallel import launch as module
from opdsl.parallel.launch import FOLDER, READY, SPEAKER, StoppedEarly, launch

# in the place of `python -m opdsl`: what each rank does
SCRIPT = """#!{python} -S
import os, signal, sys, time
from pathlib import Path
rank, folder = int(os.environ["RANK"]), Path(os.environ["{folder}"])
def ready():
    (folder / f"{ready}{{rank}}").touch()
def ends_on(signum, code):
    signal.signal(signum, lambda *_: os._exit(code))
{body}
"""


@pytest.fixture
def ranks(tmp_path, monkeypatch):
    """A function that launches processes with this body, and signals their starter if asked."""

    def run(body, count=2, signum=None):
        script = tmp_path / "script"
        names = {"python": sys.executable, "folder": FOLDER, "ready": READY, "body": body}
        script.write_text(SCRIPT.format(**names))
        script.chmod(0o755)
        monkeypatch.setattr(module.sys, "executable", str(script))
        if signum is not None:
            threading.Thread(target=send, args=(signum, tmp_path)).start()
        start = time.monotonic()
        try:
            return launch([str(tmp_path)], count)
        finally:
            monkeypatch.undo()
            assert time.monotonic() - start < 60

    return run


def send(signum, folder):
    """Send a signal to this process when all ranks have left a file in the folder."""
    end = time.monotonic() + 50
    while len(list(folder.glob("started-*"))) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(os.getpid(), signum)


STARTED = "(Path(sys.argv[3]) / f'started-{rank}').touch()\n"
SLEEP = STARTED + "time.sleep(100)"


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_processes_that_have_not_begun_are_ended_without_a_word(ranks, signum, code):
    with pytest.raises(StoppedEarly) as caught:
        ranks(SLEEP, signum=signum)
    assert caught.value.exit_code == code


@pytest.mark.parametrize(
    ("signum", "received"),
    [
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGHUP, signal.SIGTERM),
    ],
)
def test_processes_that_have_begun_get_the_signal(ranks, signum, received):
    assert ranks(f"ends_on({int(received)}, 77)\nready()\n" + SLEEP, signum=signum) == 77


def test_nohup_is_respected(ranks):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        body = f"ends_on({int(signal.SIGTERM)}, 77)\nready()\n" + STARTED + "time.sleep(1)"
        assert ranks(body, signum=signal.SIGHUP) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_process_that_ignores_a_signal_is_ended_behind_the_others(ranks, monkeypatch):
    monkeypatch.setattr(module, "GRACE", 0.5)
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    body += f"if rank: ends_on({int(signal.SIGTERM)}, 143)\n"
    assert ranks(body + "ready()\n" + SLEEP, signum=signal.SIGTERM) == 143


def test_the_exit_code_is_that_of_the_process_that_has_reported(ranks):
    body = f"if rank: (folder / '{SPEAKER}').write_text('1')\nos._exit(3 + rank)"
    assert ranks(body) == 4


def test_a_killed_process_is_named(ranks):
    with pytest.raises(OpError, match="process 1 of the run was ended by SIGKILL"):
        ranks("if rank: os.kill(os.getpid(), signal.SIGKILL)\ntime.sleep(0.2)\nos._exit(1)")


def test_the_folder_is_removed(ranks, monkeypatch, tmp_path):
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    assert ranks("ready()") == 0
    assert not list(Path(tmp_path, "t").iterdir())
