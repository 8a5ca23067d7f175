"""How long a user waits for `opdsl --help` and `opdsl check`, once warm.

In comes nothing; out goes the median of some runs of each command, start of Python included, beside
a bare `python -c pass`, which nobody can go below.

    python benchmarks/start_up.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 15
SPEC = Path(__file__).parent.parent / "specs" / "fno_darcy.op"
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "opdsl --help": ["-m", "opdsl", "--help"],
    "opdsl check": ["-m", "opdsl", "check", str(SPEC)],
}


def main() -> None:
    """Print the medians."""
    for name, words in COMMANDS.items():
        seconds(words)  # the first run writes bytecode and the tables of the grammar
        print(f"{name:16} {statistics.median(seconds(words) for _ in range(RUNS)):.3f} s")


def seconds(words: list[str]) -> float:
    """One run, with bytecode kept as users have it."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    command = [sys.executable, *words]
    subprocess.run(command, check=True, capture_output=True, env=environment)  # noqa: S603  ours
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
