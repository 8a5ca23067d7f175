"""`opdsl calibrate`, and training and prediction in time: from a program to files."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.e2e.command_line import data, good, run

BODY = """edition 2026

from std.fourier import FourierLayer
from std.pointwise import Lift, Project

model {name} {{
  domain D = grid(x: 0..1, boundary = periodic, min = 7)
  input x : D -> R^1
  output y : D -> R^1
{more}
  y = x |> Lift(out = 4) |> FourierLayer(modes = 3) |> Project(out = 1, hidden = 4)
{lines}}}

train {name} {{
  data {{ path = "train.npz" test = "test.npz" }}
{said}
  schedule constant {{ epochs = 2 }}
  batch = 8
  device = cpu
}}
"""
WIDTH = "  width = x |> Lift(out = 4) |> Project(out = 1, hidden = 4) |> softplus()\n"
POINT = BODY.format(name="Point", more="", lines="", said="")
BAND = BODY.format(
    name="Band",
    more="  output width : D -> R^1\n",
    lines=WIDTH,
    said="  band { of = y alpha = 0.2 }",
)


def save(path, random, count):
    x = random.standard_normal((count, 1, 12)).astype("float32")
    noise = 0.1 * random.standard_normal((count, 1, 12)).astype("float32")
    np.savez(path, x=x, y=np.roll(x, 1, 2) + noise)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A point prediction in `point`, a band around it in `band`."""
    home = tmp_path_factory.mktemp("bands")
    random = np.random.default_rng(0)
    for name, count in (("train", 24), ("test", 20), ("calib", 30)):
        save(home / f"{name}.npz", random, count)
    (home / "point.op").write_text(POINT)
    (home / "band.op").write_text(BAND)
    good("train", home / "point.op", "--out", home / "point", "-q")
    band = ("train", home / "band.op", "--out", home / "band", "-q")
    good(*band, "--from", home / "point")
    return home


@pytest.fixture
def home(trained, monkeypatch):
    monkeypatch.chdir(trained)
    Path("band/calibration.json").unlink(missing_ok=True)
    return trained


def test_a_calibration_keeps_its_promise_on_its_own_data(home):  # noqa: ARG001  the folder
    told = data("calibrate", "band", "--data", "calib.npz", "--test", "calib.npz", "--json")
    assert (told["alpha"], told["delta"], told["samples"], told["rank"]) == (0.2, 0.1, 30, 28)
    (kept,) = told["coverage"].values()
    assert kept["functions"] == pytest.approx(28 / 30)
    assert kept["points"] >= 0.8
    assert json.loads(Path("band/calibration.json").read_text())["factor"] == told["factor"]


def test_a_prediction_has_the_edges_of_its_band(home):  # noqa: ARG001  the folder
    good("predict", "band", "-i", "test.npz", "-o", "before.npz")
    with np.load("before.npz") as held:
        assert set(held) == {"y", "width"}
    factor = data("calibrate", "band", "--data", "calib.npz", "--json")["factor"]
    for name in ("after.npz", "after.h5"):
        good("predict", "band", "-i", "test.npz", "-o", name)
    with np.load("after.npz") as held:
        np.testing.assert_allclose(held["y_upper"] - held["y"], factor * held["width"], rtol=1e-4)
        np.testing.assert_allclose(held["y"] - held["y_lower"], factor * held["width"], rtol=1e-4)
    with h5py.File("after.h5") as file:
        assert set(file["t0_fields"]) == {"y", "width", "y_lower", "y_upper"}


def test_evaluate_tells_coverage_and_training_keeps_the_prediction(home):  # noqa: ARG001  the folder
    good("calibrate", "band", "--data", "calib.npz", "--skip", "5", "--samples", "20")
    (point,) = data("evaluate", "point", "--json")["tests"]
    (band,) = data("evaluate", "band", "--json")["tests"]
    assert band["rel_l2"] == point["rel_l2"]
    assert 0 <= band["coverage"]["functions"] <= 1
    assert "points in band" in good("evaluate", "band")


def test_a_calibration_of_other_weights_is_not_used(home):  # noqa: ARG001  the folder
    good("calibrate", "band", "--data", "calib.npz")
    path = Path("band/calibration.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"weights": "0"}))
    result = run("predict", "band", "-i", "test.npz", "-o", "other.npz")
    assert "is of other weights" in result.stderr
    with np.load("other.npz") as held:
        assert "y_upper" not in held


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("calibrate", "point", "--data", "calib.npz"), "OP0604", "learnt no band"),
        (("calibrate", "band", "--data", "calib.npz", "--delta", "0.01"), "OP0613", "at least 99"),
        (("calibrate", "band", "--data", "calib.npz", "--skip", "30"), "OP0613", "leaves out all"),
        (("train", "band.op", "--out", "new"), "OP0604", "name it: `--from RUN`"),
        (("train", "band.op", "--set", "band.of=yy", "--out", "new"), "OP0604", "did you mean `y`"),
        (("train", "band.op", "--set", "band.width=y", "--out", "new"), "OP0604", "its own"),
        (("train", "point.op", "--set", "rollout=2", "--out", "new"), "OP0604", "comes back"),
        (("train", "point.op", "--set", "data.start=1", "--out", "new"), "OP0604", "no effect"),
        (("train", "point.op", "--set", "data.skip=24", "--out", "new"), "OP0613", "leaves out"),
        (("predict", "point", "-i", "test.npz", "-o", "n.npz", "--steps", "2"), "OP0604", "back"),
    ],
)
def test_what_cannot_be_calibrated_or_trained_is_told(home, arguments, code, says):  # noqa: ARG001  the folder
    result = run(*arguments)
    assert result.exit_code != 0
    assert f"error[{code}]" in result.stderr
    assert says in result.stderr
    assert not Path("band/calibration.json").exists()


def test_an_unknown_part_is_no_alpha(home):  # noqa: ARG001  the folder
    assert "between 0 and 1" in run("calibrate", "band", "--data", "x", "--alpha", "2").stderr


def test_a_band_goes_on_without_the_run_that_it_is_around(home):
    before = data("evaluate", "band", "--json")["tests"][0]
    (home / "point").rename(home / "gone")
    try:
        good("train", "--resume", "band", "-q", "--epochs", "3")
    finally:
        (home / "gone").rename(home / "point")
    (after,) = data("evaluate", "band", "--json")["tests"]
    assert after["pinball"] > 0
    assert after["rel_l2"] == before["rel_l2"]  # the prediction stays as it is


LOOP = """edition 2026

model Wave {
  domain D = grid(x: 0..1, boundary = periodic, min = 7)
  input u : D -> R^1
  input s : D -> R^2
  output v : D -> R^1
  output t : D -> R^2
  feedback v -> u
  feedback t -> s

  h = concat(u, s) |> spectral_conv(out = 4, modes = 3) |> gelu()
  v = h |> linear(out = 1)
  t = h |> linear(out = 2)
}

train Wave {
  data { path = "w.npz" start = 1 fields { u = x v = y s = none } }
  rollout = 3
  eval { rollout = 5 }
  schedule constant { epochs = 2 }
  batch = 4
  device = cpu
}
"""


def test_a_model_is_trained_and_rolled_out_in_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(1)
    x = random.standard_normal((20, 12)).astype("float32")
    y = np.stack([np.roll(x, i, 1) for i in range(6)], 1)  # the file repeats its input
    np.savez("w.npz", x=x, y=y)
    Path("w.op").write_text(LOOP)
    good("train", "w.op", "--out", "run", "-q")
    (told,) = data("evaluate", "run", "--json")["valid"]
    assert len(told["steps"]) == 5
    assert told["rel_l2"] == pytest.approx(sum(told["steps"]) / 5)
    good("predict", "run", "-i", "w.npz", "-o", "p.npz", "--steps", "7")
    with np.load("p.npz") as held:
        assert {k: held[k].shape for k in held} == {"v": (20, 7, 1, 12)}
    good("predict", "run", "-i", "w.npz", "-o", "p.h5")
    with h5py.File("p.h5") as file:
        assert set(file["t0_fields"]) == {"v"}
        assert file["t0_fields/v"].shape == (20, 3, 12)
        assert file["dimensions/time"][()].tolist() == [1, 2, 3]
    few = run("train", "w.op", "--out", "new", "--set", "rollout=6")
    assert "has 6 steps in time, 1 of which are left out, `rollout` asks for 6" in few.stderr
