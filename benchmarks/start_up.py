"""The work of a start: instructions of `opdsl` commands, with bytecode files.

    python benchmarks/start_up.py

Instructions are counted by `valgrind --tool=callgrind`; unlike seconds they are the same on a busy
machine, to about 0.1 %. Without valgrind the median seconds of some runs are printed instead. The
plain interpreter and the libraries that read the command line are what nobody can go below.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

RUNS = 15
SPEC = str(Path(__file__).parent.parent / "specs" / "fno_darcy.op")
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import typer": ["-c", "import typer"],
    "import typer, pydantic's models": ["-c", "import typer, pydantic.main, pydantic.types"],
    "opdsl --help": ["-m", "opdsl", "--help"],
    "opdsl check": ["-m", "opdsl", "check", SPEC],
    "opdsl fmt --check": ["-m", "opdsl", "fmt", "--check", SPEC],
    "opdsl summary": ["-m", "opdsl", "summary", SPEC],
    "opdsl render -f svg": ["-m", "opdsl", "render", SPEC, "-f", "svg"],
}


def main() -> None:
    """Print the machine and a line for each command."""
    libraries = ", ".join(f"{x} {version(x)}" for x in ("typer", "pydantic", "lark"))
    print(f"{processor()}, Python {platform.python_version()}, {libraries}")
    for name, words in COMMANDS.items():
        run([sys.executable, *words])  # the first run writes bytecode
        print(f"{name:32} {measured([sys.executable, *words])}", flush=True)


def measured(command: list[str]) -> str:
    """Instructions, or seconds where they cannot be counted."""
    if shutil.which("valgrind"):
        return f"{instructions(command) / 1e9:.3f}e9 instructions"
    return f"{statistics.median(seconds(command) for _ in range(RUNS)):.3f} s"


def instructions(command: list[str]) -> int:
    """What callgrind counts in one run."""
    with tempfile.TemporaryDirectory() as folder:
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        done = run([*tool, *command])
    match = re.search(r"Collected : ([0-9]+)", done.stderr)
    assert match is not None, done.stderr
    return int(match[1])


def seconds(command: list[str]) -> float:
    """One run, as the clock sees it."""
    start = time.perf_counter()
    run(command)
    return time.perf_counter() - start


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """One run, with bytecode kept as users have it."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(  # noqa: S603  ours
        command, check=True, capture_output=True, env=environment, text=True
    )


def processor() -> str:
    """The name of the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    match = re.search(r"model name\s*: (.*)", text)
    return match[1] if match else platform.processor()


if __name__ == "__main__":
    main()
