"""The recipes of CONTRIBUTING.md: their files form a package that the commands use.

The code is read from the page, so that the recipes cannot differ from what is tested.
"""

import json
import os
import re
import subprocess
import sys
import tomllib

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tests.e2e.command_line import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILE = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = {x[1]: x[2] for x in FILE.finditer(PAGE)}
# runs commands in one process, each in a folder, and answers with what they print
WORKER = """
import json, os, sys
from typer.testing import CliRunner
from opdsl.cli import app

for line in sys.stdin:
    folder, arguments = json.loads(line)
    os.chdir(folder)
    done = CliRunner().invoke(app, arguments, prog_name="opdsl")
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    print(json.dumps([done.exit_code, done.stdout, done.stderr]), flush=True)
"""
MODEL = """edition 2026

model M {
  domain D = grid(x: 0..1, boundary = periodic, min = 8)
  input x : D -> R^1
  output y : D -> R^1

  y = x |> linear(out = 4) |> soft_clip(limit = 2.0) |> linear(out = 1)
}

train M {
  data { path = "samples.txt" valid = 0.25 }
  loss = l1
  optimizer radam { lr = 1e-2 betas = [0.8, 0.9] }
  schedule constant { epochs = 2 }
  batch = 4
  log = text_lines
}
"""


def entry_points() -> dict[str, dict[str, str]]:
    (text,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return tomllib.loads(text)["project"]["entry-points"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the package `acme_ops` as an installer leaves it."""
    folder = tmp_path_factory.mktemp("site")
    for name, text in FILES.items():
        if name.startswith("acme_ops/"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
    (folder / "acme_ops/__init__.py").write_text("")
    info = folder / "acme_ops-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-ops\nVersion: 1.0\n")
    lines = []
    for group, members in entry_points().items():
        lines += [f"[{group}]", *(f"{k} = {v}" for k, v in members.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def worker(site):
    """A process with the package on its path."""
    path = os.pathsep.join([str(site), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    pipe = subprocess.PIPE
    with subprocess.Popen(  # noqa: S603  our own program
        [sys.executable, "-c", WORKER],
        stdin=pipe,
        stdout=pipe,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        yield process
        process.stdin.close()
        assert process.wait(timeout=60) == 0


@pytest.fixture
def opdsl_with(worker, tmp_path):
    """Runs a command in a fresh folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        worker.stdin.write(json.dumps([str(tmp_path), arguments]) + "\n")
        worker.stdin.flush()
        return subprocess.CompletedProcess(arguments, *json.loads(worker.stdout.readline()))

    (tmp_path / "model.op").write_text(MODEL)
    return run


def write_table(path):
    rows = np.random.default_rng(0).normal(size=(16, 16)).astype("float32")
    lines = (" ".join(f"{v:.6f}" for v in row) for row in np.hstack([rows, 2 * rows]))
    path.write_text("# acme table\n" + "\n".join(lines) + "\n")


def test_the_page_has_a_file_for_each_entry_point():
    modules = {x.partition(":")[0] for group in entry_points().values() for x in group.values()}
    assert {f"{x.replace('.', '/')}.py" for x in modules} <= FILES.keys()
    assert len(entry_points()) == 7


def test_the_block_is_used(opdsl_with):
    done = opdsl_with("summary", "model.op", "--json")
    assert done.returncode == 0, done.stderr
    assert '"soft_clip"' in done.stdout
    assert "bound of |w|" in opdsl_with("explain", "soft_clip").stdout


def test_the_check_is_used(opdsl_with, tmp_path):
    noisy = MODEL.replace("|> linear(out = 1)\n", "|> linear(out = 1) |> dropout(p = 0.1)\n")
    (tmp_path / "noisy.op").write_text(noisy)
    assert "ACME01" not in opdsl_with("check", "model.op").stdout
    done = opdsl_with("check", "noisy.op")
    assert "warning[ACME01]: output `y` is noisy in training" in done.stdout
    assert done.returncode == 0
    assert opdsl_with("check", "--strict", "noisy.op").returncode != 0


def test_the_format_the_loss_the_optimizer_and_the_logger_are_used(opdsl_with, tmp_path):
    write_table(tmp_path / "samples.txt")
    shown = opdsl_with("data", "show", "samples.txt")
    assert shown.returncode == 0, shown.stderr
    done = opdsl_with("train", "model.op", "--out", "run")
    assert done.returncode == 0, done.stderr
    settings = (tmp_path / "run/settings.yaml").read_text()
    assert "loss: l1" in settings
    assert "kind: radam" in settings
    lines = [x.split() for x in (tmp_path / "run/numbers.txt").read_text().splitlines()]
    steps = [x for x in lines if x[1] == "step/loss"]
    assert [int(x[0]) for x in steps] == [1, 2, 3, 4, 5, 6]
    rows = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    errors = [float(x[2]) for x in lines if x[1] == "valid/rel_l2"]
    assert errors == [x["valid"]["rel_l2"] for x in rows]
    refused = opdsl_with("train", "model.op", "--set", "optimizer.momentum=0.5", "--out", "other")
    assert "OP0603" in refused.stderr + refused.stdout


def test_a_damaged_table_is_one_diagnostic(opdsl_with, tmp_path):
    (tmp_path / "samples.txt").write_text("# acme table\n1 2 3\n")
    done = opdsl_with("train", "model.op", "--out", "run")
    assert done.returncode == 4
    assert "error[OP0610]: the table is damaged" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_generator_is_used(opdsl_with, tmp_path):
    done = opdsl_with(
        *("data", "generate", "shifted-waves", "--resolution", "32", "--samples", "8"),
        *("--seed", "1", "-o", "waves.npz"),
    )
    assert done.returncode == 0, done.stderr
    assert "checked: norms change by" in done.stdout
    with np.load(tmp_path / "waves.npz") as file:
        assert np.allclose(file["y"], np.roll(file["x"], 8, axis=1), atol=1e-5)


def test_the_loss_is_the_relative_l1_error():
    import torch

    scope: dict[str, object] = {}
    exec(FILES["acme_ops/l1.py"], scope)  # noqa: S102  our page
    pred, true = torch.tensor([[[1.0, -1.0, 4.0]]]), torch.tensor([[[2.0, -1.0, 1.0]]])
    weights = torch.tensor([[[1.0, 1.0, 3.0]]])
    error = scope["LOSS"].error
    assert error(pred, true, None, None).item() == pytest.approx(4 / 4)
    assert error(pred, true, weights, None).item() == pytest.approx(10 / 6)


def test_the_command_runs():
    scope: dict[str, object] = {}
    exec(FILES["opdsl/cli/outputs.py"], scope)  # noqa: S102  our page
    app = typer.Typer()
    app.command()(scope["command"])
    done = CliRunner().invoke(app, [str(ROOT / "specs/fno_darcy.op")])
    assert done.output.split() == ["u", "D", "->", "R^1"]
    assert done.exit_code == 0
