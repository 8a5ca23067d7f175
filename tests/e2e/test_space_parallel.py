"""Runs whose processes divide the grid of each sample, from the command line."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.command_line import process

PROGRAM = """edition 2026

model Flow {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 9)
  input a : D -> R^1
  output u : D -> R^1

  u = a |> linear(out = 4) |> BLOCK |> linear(out = 1)
}

train Flow {
  data pairs { path = "train.npz" valid = "test.npz" }
  optimizer adamw { lr = 1e-2 }
  schedule cosine { epochs = 2 }
  batch = 4
  device = cpu
  precision = fp64
  parallel { space = 2 }
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for name, count in (("train", 6), ("test", 3)):
        a = draw.standard_normal((count, 1, 9, 10))
        np.savez(tmp_path / f"{name}.npz", a=a, u=np.roll(a, 1, -1) + a**2)
    (tmp_path / "flow.op").write_text(PROGRAM.replace("BLOCK", "spectral_conv(modes = 3)"))
    (tmp_path / "axes.op").write_text(PROGRAM.replace("BLOCK", "axis_conv(modes = 3)"))
    return tmp_path


def train(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return process("train", *arguments, cwd=folder)


def rows(run: Path) -> list[dict[str, float]]:
    keep = ("train_loss", "grad_norm")
    lines = [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: x[k] for k in keep} | {"valid": x["valid"]["rel_l2"]} for x in lines]


@pytest.mark.slow
def test_a_run_on_parts_of_grids_is_that_of_one_process(folder: Path) -> None:
    alone = train(folder, "flow.op", "--out", "alone")
    assert alone.returncode == 0, alone.stderr
    both = train(folder, "flow.op", "--out", "both", "--nproc", "2")
    assert both.returncode == 0, both.stderr
    four = train(folder, "flow.op", "--out", "four", "--nproc", "4")
    assert four.returncode == 0, four.stderr
    for got in (rows(folder / "both"), rows(folder / "four")):
        for x, y in zip(got, rows(folder / "alone"), strict=True):
            assert x == pytest.approx(y, rel=1e-10)


def test_a_program_whose_grids_cannot_be_divided_is_refused_before_the_run(folder: Path) -> None:
    result = train(folder, "axes.op", "--out", "run", "--nproc", "2")
    assert result.returncode == 3
    assert result.stderr.count("OP0820") == 1
    assert "axis_conv" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (folder / "run").exists()
