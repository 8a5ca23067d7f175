"""The benchmark beside neuraloperator makes its table; how fast anything is, is no test."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    pytest.importorskip(
        "neuralop.models", reason="neuraloperator is not importable here", exc_type=ImportError
    )

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "against_neuraloperator.py"


def test_the_command_writes_ratios_and_errors_of_a_tiny_case(tmp_path):
    out = tmp_path / "found"
    command = [sys.executable, str(SCRIPT), "--case", "tiny", "--quick", "--seconds", "0.05"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command += ["--out", str(out)]
    subprocess.run(command, check=True, env=environment, timeout=200)  # noqa: S603  our own script
    table = out.with_suffix(".md").read_text()
    assert "FNO 2-D 16x16, 4 modes, width 4, batch 2" in table
    (row,) = [x for x in table.splitlines() if "| ours |" in x]
    # bf16 and fp16 are further from float64 than fp32, which is near
    single, brain, half = (float(x.split("/")[0]) for x in row.split("|")[3:6])
    assert single < 1e-6 < half < brain
