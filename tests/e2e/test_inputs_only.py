"""`opdsl predict` on files that have inputs alone, and files whose channels stand last."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.e2e.command_line import good, run
from tests.e2e.test_open_run import OLD

MODEL = """edition 2026

model M {{
  domain D = grid({axes}, boundary = periodic, min = 4)
  input a : D -> R^{inputs}
  output u : D -> R^1

  u = a |> linear(out = 1)
}}

train M {{
  data {{ path = "train.npz" }}
  schedule constant {{ epochs = 1 }}
  device = cpu
}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(name, **arrays):
    if name.endswith(".pt"):
        torch.save({k: torch.from_numpy(np.array(x)) for k, x in arrays.items()}, name)
    elif name.startswith("packed"):
        np.savez_compressed(name, **arrays)
    else:
        np.savez(name, **arrays)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["new.npz", "packed.npz", "new.pt"])
@pytest.mark.parametrize("batch", [3, 100])
def test_outputs_need_not_be_in_the_file(name, batch):
    x = np.load(OLD / "grid_test.npz")["x"]
    save(name, x=x)
    good("predict", OLD / "runs/grid", "-i", name, "-o", "out.npz", "--batch", batch)
    wanted = np.load(OLD / "predictions/grid.npz")["u"]
    assert np.load("out.npz")["u"] == pytest.approx(wanted, rel=1e-6)


@pytest.mark.usefixtures("folder")
def test_files_that_are_read_at_once_need_no_outputs_either():
    x = np.load(OLD / "grid_test.npz")["x"]
    np.savez("new.npz", x=np.asfortranarray(x))
    torch.save({"x": torch.from_numpy(x)}, "old.pt", _use_new_zipfile_serialization=False)
    wanted = np.load(OLD / "predictions/grid.npz")["u"]
    for name in ("new.npz", "old.pt"):
        good("predict", OLD / "runs/grid", "-i", name, "-o", f"{name}.npz")
        assert np.load(f"{name}.npz")["u"] == pytest.approx(wanted, rel=1e-6)


@pytest.mark.usefixtures("folder")
def test_the_model_says_how_many_axes_the_inputs_have():
    """(8, 12) could be a grid of two axes; with outputs beside it the file would say so itself."""
    Path("m.op").write_text(MODEL.format(axes="x: 0..1", inputs=8))
    x = np.random.default_rng(0).normal(size=(10, 8, 12)).astype("f4")
    np.savez("train.npz", x=x, y=x[:, 0])
    good("train", "m.op", "--out", "run", "-q")
    np.savez("new.npz", x=x)
    good("predict", "run", "-i", "train.npz", "-o", "a.npz")
    good("predict", "run", "-i", "new.npz", "-o", "b.npz")
    assert (np.load("a.npz")["u"] == np.load("b.npz")["u"]).all()


@pytest.mark.usefixtures("folder")
def test_a_file_without_inputs_is_refused():
    np.savez("new.npz", y=np.zeros((2, 1, 16, 13)))
    result = run("predict", OLD / "runs/grid", "-i", "new.npz", "-o", "out.npz")
    assert result.exit_code == 4
    assert "it lacks `x`" in result.stderr


@pytest.mark.usefixtures("folder")
def test_training_still_asks_for_outputs():
    shutil.copy(OLD / "grid.op", "grid.op")
    shutil.copytree(OLD / "layers", "layers")
    np.savez("new.npz", x=np.zeros((4, 2, 16, 13)))
    result = run("train", "grid.op", "--data", "new.npz", "--test", "new.npz", "--out", "run")
    assert result.exit_code == 4
    assert "it lacks `y`" in result.stderr


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("axes", "x", "y"),
    [
        ("x: 0..1, y: 0..1", (16, 16, 1), (16, 16, 1)),
        ("x: 0..1, y: 0..1", (16, 16, 3), (16, 16, 3)),
        ("x: 0..1, y: 0..1", (16, 16, 3), (16, 16, 1)),
        ("x: 0..1", (32, 1), (32, 1)),
        ("x: 0..1", (32, 2), (32, 2)),
    ],
)
def test_channels_that_stand_last_are_recognised_in_training(axes, x, y):
    Path("m.op").write_text(MODEL.format(axes=axes, inputs=x[-1]))
    np.savez("train.npz", x=np.zeros((8, *x)), y=np.zeros((8, *y)))
    result = run("train", "m.op", "--out", "run")
    assert result.exit_code == 4
    assert "numpy.moveaxis(x, -1, 1)" in result.stderr


@pytest.mark.usefixtures("folder")
def test_channels_that_stand_last_are_recognised_in_prediction():
    x = np.load(OLD / "grid_test.npz")["x"]
    np.savez("new.npz", x=np.moveaxis(x, 1, -1))
    result = run("predict", OLD / "runs/grid", "-i", "new.npz", "-o", "out.npz")
    assert result.exit_code == 4
    assert "numpy.moveaxis(x, -1, 1)" in result.stderr


@pytest.mark.usefixtures("folder")
def test_three_axes_with_a_short_last_one_are_no_channels():
    Path("m.op").write_text(MODEL.format(axes="x: 0..1, y: 0..1, z: 0..1", inputs=1))
    x = np.random.default_rng(0).normal(size=(10, 12, 12, 5))
    np.savez("train.npz", x=x, y=x)
    good("train", "m.op", "--out", "run", "-q")
