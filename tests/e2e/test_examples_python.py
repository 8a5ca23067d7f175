"""The scripts of `examples/python`, run as a user runs them: each learns its waves."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "python"
PACKAGES = {"with_lightning": "lightning", "with_accelerate": "accelerate"}


SLOW = [
    pytest.param(x, marks=pytest.mark.slow)
    for x in ("own_loop", "with_lightning", "with_accelerate")
]


@pytest.mark.parametrize("name", ["callbacks", *SLOW])
def test_a_script_learns_the_waves(tmp_path, name):
    pytest.importorskip(PACKAGES.get(name, "opdsl"))
    command = [sys.executable, str(FOLDER / f"{name}.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    error = float(re.search(r"error ([0-9.]+)", done.stdout)[1])
    assert error < (0.1 if name == "callbacks" else 0.05)
    assert list(tmp_path.iterdir()) == []


def test_the_page_names_every_script():
    page = (FOLDER / "README.md").read_text()
    scripts = {x.name for x in FOLDER.glob("*.py")} - {"waves.py"}
    assert all(f"[{x}]({x})" in page for x in scripts)
