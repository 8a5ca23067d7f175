"""A model whose layers run as one operation, trained by the command."""

import signal

import numpy as np
import pytest
import torch

from opdsl.nn.kernels import fourier_layer
from opdsl.nn.kernels.native.library import library
from opdsl.train.run.metrics_log import read_metrics
from tests.compilers import copying_compiler
from tests.e2e.command_line import good, run, start

pytestmark = pytest.mark.skipif(
    not fourier_layer.kernels_available(), reason="no C++ compiler here"
)

# 2 x 32 x 64 x 64 numbers in a function: twice as many as the plan asks for
TEXT = """edition 2026

from std.fourier import FNOBlock
from std.pointwise import Lift, Project

model Wide "wide enough to be fused" {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 9)
  input a : D -> R^1
  output u : D -> R^1

  u = a |> Lift(out = 32) |> FNOBlock(modes = 4) |> Project(out = 1)
}

train Wide {
  data flows { path = "d.npz" }
  optimizer adamw { lr = 1e-2 }
  schedule cosine { epochs = 8 }
  batch = 2
  device = cpu
}
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The current folder: `wide.op` and five samples."""
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes: another number adds in another order
    (tmp_path / "wide.op").write_text(TEXT)
    random = np.random.default_rng(1)
    a = random.standard_normal((5, 1, 64, 64), dtype=np.float32)
    np.savez(tmp_path / "d.npz", x=a, y=a - np.roll(a, 1, -1))
    yield tmp_path
    torch.set_num_threads(before)


def metrics(folder):
    return [{k: v for k, v in x.items() if k != "seconds"} for x in read_metrics(folder)]


def test_the_plan_of_this_model_is_fused(home):
    told = good("summary", home / "wide.op", "--plan", "--at", "x=64,y=64", "--batch", 2)
    assert "nodes as one" in told


@pytest.mark.slow  # `test_cli_run` has a run of other layers that is broken off
def test_a_fused_run_broken_off_and_resumed_has_the_weights_of_a_whole_one_to_the_bit(home):
    good("train", "wide.op", "--out", "whole", "-q")
    child = start("train", "wide.op", "--out", "cut", cwd=home)
    for line in child.stderr:
        if line.startswith("epoch 3/8"):
            break
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 143, err
    assert len(metrics(home / "cut")) < 8
    good("train", "wide.op", "--out", "cut", "-q", "--resume")
    assert metrics(home / "cut") == metrics(home / "whole")
    a, b = ((home / x / "model.safetensors").read_bytes() for x in ("cut", "whole"))
    assert a == b


@pytest.fixture
def anew():
    library.cache_clear()
    yield
    library.cache_clear()


def broken(_, monkeypatch):
    monkeypatch.setenv("CXX", "/usr/bin/false")


def missing(home, monkeypatch):
    monkeypatch.setenv("PATH", str(home))


def nowhere(home, monkeypatch):
    monkeypatch.setenv("CXX", str(home / "compiler"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "wide.op"))  # a file: no folder can be there


@pytest.mark.usefixtures("anew")
@pytest.mark.filterwarnings("default:compiled kernels")
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (missing, "are not there (there is no C++ compiler): torch does their work, more slowly"),
        (broken, "are not there (/usr/bin/false does not tell its version): torch does their work"),
        (nowhere, "cannot be kept ({}/wide.op/opdsl/native: Not a directory): each process"),
    ],
)
def test_what_is_wrong_with_the_kernels_is_one_line_of_a_run(home, monkeypatch, fault, told):
    copying_compiler(home)
    library.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    fault(home, monkeypatch)
    result = run("train", "wide.op", "--epochs", 1, "--out", "run", "-q")
    assert result.exit_code == 0, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"warning: compiled kernels {told.format(home)}")
