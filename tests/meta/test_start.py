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
LIBRARIES = "import lark, pydantic, typer"
LIMIT = 4  # times the start of these; 2.5 for `check`, above 10 with torch
TRIES = 5

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
def test_a_command_starts_about_as_fast_as_the_libraries_it_needs(tmp_path, arguments):
    """A ratio, since machines differ; `benchmarks/start_up.py` has the seconds."""
    assert ratio(tmp_path, "-m", "opdsl", *arguments) < LIMIT


def test_what_imports_torch_would_be_too_slow(tmp_path):
    assert ratio(tmp_path, "-m", "opdsl", "compile", str(DARCY), "-o", "out{}") > LIMIT


def ratio(tmp_path, *words):
    """Best of several, in turns with a process that only imports the libraries."""
    ours, theirs = [], []
    for i in range(TRIES):
        ours.append(duration(tmp_path, *(x.format(i) for x in words)))
        theirs.append(duration(tmp_path, "-c", LIBRARIES))
    return min(ours) / min(theirs)


def duration(tmp_path, *words):
    """Seconds of a whole process; the best of several is what the others do not disturb."""
    command = [sys.executable, *words]
    started = time.perf_counter()
    subprocess.run(  # noqa: S603  our own program
        command, check=True, capture_output=True, cwd=tmp_path, env=environment(tmp_path)
    )
    return time.perf_counter() - started
