"""Torch is a guest: reading, checking, drawing and costing a program start without it, and fast."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import opdsl

ROOT = Path(opdsl.__file__).parents[1]
DARCY = ROOT / "specs" / "fno_darcy.op"
HEAVY = ("torch", "matplotlib", "h5py", "scipy", "tensorly", "pandas")
LIMIT = 0.3  # seconds, once warm
TRIES = 8

PROBE = """
import sys
from opdsl.cli import app
try:
    app({arguments!r}, prog_name="opdsl")
except SystemExit as stop:
    assert not stop.code, stop.code
print(*sorted({heavy!r} & sys.modules.keys()), file=sys.stderr)
"""


def environment(tmp_path):
    """With a place for bytecode: a machine may forbid it beside the sources."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(tmp_path / "bytecode")}


def met(tmp_path, *arguments):
    """The heavy packages that a command has imported."""
    text = PROBE.format(arguments=[str(x) for x in arguments], heavy=set(HEAVY))
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", text],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(tmp_path),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()[-1].split()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("train", "--help"),
        ("check", DARCY),
        ("check", "--format", "json", DARCY),
        ("fmt", "--diff", DARCY),
        ("summary", DARCY, "--at", "x=64,y=64", "--plan"),
        ("summary", DARCY, "--json"),
        ("render", DARCY, "-f", "svg"),
        ("render", DARCY, "-f", "mermaid"),
        ("explain", "OP0309"),
        ("new", "something"),
        ("train", DARCY, "--print-config"),
    ],
    ids=lambda x: " ".join(y.name if isinstance(y, Path) else y for y in x),
)
def test_a_command_that_needs_no_torch_does_not_import_it(tmp_path, arguments):
    assert met(tmp_path, *arguments) == []


def test_the_test_above_can_fail(tmp_path):
    assert "torch" in met(tmp_path, "compile", DARCY, "-o", tmp_path / "out")


@pytest.mark.parametrize("arguments", [("--help",), ("check", str(DARCY))], ids=["help", "check"])
def test_a_command_is_there_at_once(tmp_path, arguments):
    best = min(duration(tmp_path, *arguments) for _ in range(TRIES))
    assert best < LIMIT


def test_what_imports_torch_would_be_too_slow(tmp_path):
    for _ in range(2):
        slow = duration(tmp_path, "compile", str(DARCY), "-o", str(tmp_path / f"out{_}"))
    assert slow > LIMIT


def duration(tmp_path, *arguments):
    """Seconds of a whole process; the best of several is what the others do not disturb."""
    command = [sys.executable, "-m", "opdsl", *arguments]
    started = time.perf_counter()
    subprocess.run(  # noqa: S603  our own program
        command, check=True, capture_output=True, cwd=tmp_path, env=environment(tmp_path)
    )
    return time.perf_counter() - started
