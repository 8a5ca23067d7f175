"""Data in small and large units, zeros and the sphere, as a user of the commands meets them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from opdsl.nn.sphere.sampling import latitudes
from tests.e2e.command_line import good, run

PROGRAM = """edition 2026

from std.fourier import FourierLayer

model Plain {
  domain D = grid(x: 0..1, boundary = periodic, min = 9)
  input a : D -> R^1
  output u : D -> R^1

  u = a |> linear(out = 4) |> FourierLayer(modes = 3) |> linear(out = 1)
}

train Plain {
  data { path = "train.npz" test = "test.npz" }
  optimizer adamw { lr = 1e-2 }
  schedule constant { epochs = 2 }
  batch = 5
  device = cpu
}
"""

SPHERE = """edition 2026

model Ball {{
  domain S = sphere(lat, lon, sampling = equiangular, min = (9, 16))
  input a : S -> R^1
  output u : S -> R^1
  output w : S -> R^1

  u = a |> linear(out = 1)
  w = a |> linear(out = 1) |> softplus()
}}

train Ball {{
  data {{ path = "train.npz" test = "test.npz" {fields} }}
  schedule constant {{ epochs = 1 }}
  batch = 5
  device = cpu
  {band}
}}
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("plain.op").write_text(PROGRAM)


def waves(count, seed):
    """Inputs and outputs, float64: shifted sines of several frequencies."""
    random = np.random.default_rng(seed)
    x = np.arange(16) / 16
    k, p = random.integers(1, 3, (count, 1)), random.uniform(0, 6, (count, 1))
    a = np.sin(2 * np.pi * (k * x + p))
    return a, 2 * np.roll(a, 3, 1) + 0.5


def saved(scale=1.0, zero=()):
    for name, count, seed in (("train", 20, 0), ("test", 6, 1)):
        a, u = waves(count, seed)
        u[list(zero)] = 0
        np.savez(f"{name}.npz", x=a * scale, y=u * scale)


def trained(name):
    result = run("train", "plain.op", "--out", name, "--quiet", "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout), result.stderr


@pytest.mark.parametrize("scale", [1e-30, pytest.param(1e-15, marks=pytest.mark.slow), 1e30])
def test_a_run_has_the_same_relative_errors_in_every_unit(scale):
    saved()
    plain, _ = trained("a")
    saved(scale)
    other, warnings = trained("b")
    assert "warning" not in warnings
    (x,), (y,) = plain["tests"], other["tests"]
    assert other["train_loss"] == pytest.approx(plain["train_loss"], rel=1e-3)
    assert y["rel_l2"] == pytest.approx(x["rel_l2"], rel=1e-3)
    assert y["rel_h1"] == pytest.approx(x["rel_h1"], rel=1e-3)
    assert y["rmse"] == pytest.approx(x["rmse"] * scale, rel=1e-3)
    again = json.loads(good("evaluate", "b", "--json"))["tests"][0]
    assert again["rel_l2"] == pytest.approx(y["rel_l2"], rel=1e-6)


def test_samples_that_are_zero_are_named_counted_and_left_out():
    saved(zero=(3,))
    found, warnings = trained("run")
    assert "warning[OP0631]: `u` is zero everywhere in 1 sample: 3" in warnings
    assert "train.npz" in warnings
    assert "test.npz" in warnings
    (row,) = found["tests"]
    assert (row["samples"], row["zero_samples"]) == (6, 1)
    assert 0 < row["rel_l2"] < 5
    assert found["train_loss"] < 5
    assert row["zero_rmse"] > 0
    table = good("evaluate", "run")
    assert "zero truths" in table
    assert "their RMSE" in table
    assert "zero rmse" in Path("run/report.html").read_text()


def test_a_test_set_of_zeros_has_no_relative_error_in_text_and_in_json():
    saved()
    trained("run")
    saved(zero=range(6))
    assert json.loads(good("evaluate", "run", "--json"))["tests"][0]["rel_l2"] is None
    assert "6" in good("evaluate", "run")


def test_a_truth_too_small_for_float32_is_refused_with_a_better_unit():
    saved(1e-60)
    result = run("train", "plain.op", "--out", "run")
    assert result.exit_code == 4
    assert "error[OP0619]: `y` holds" in result.stderr
    assert "multiplied by 1e60" in result.stderr


def test_values_too_large_for_float32_are_blamed_on_the_unit():
    saved(1e50)
    result = run("train", "plain.op", "--out", "run")
    assert result.exit_code == 4
    assert "too large for float32" in result.stderr
    assert "lower `optimizer.lr`" not in result.stderr


def test_the_errors_of_a_model_on_a_sphere_are_integrals():
    Path("ball.op").write_text(SPHERE.format(fields="fields { u = y w = w }", band=""))
    random = np.random.default_rng(0)
    z = latitudes(9, "equiangular")[0].float().numpy()[:, None]
    for name, count in (("train", 10), ("test", 4)):
        a = random.normal(size=(count, 9, 16)).astype(np.float32)
        np.savez(f"{name}.npz", x=a, y=2 * a + 3 * a**2 * z**4, w=abs(a) + 1)
    good("train", "ball.op", "--out", "run", "--quiet")
    (row,) = json.loads(good("evaluate", "run", "--json"))["tests"]
    good("predict", "run", "-i", "test.npz", "-o", "out.npz")
    with np.load("out.npz") as held, np.load("test.npz") as true:
        pairs = [(held[k].reshape(-1, 9, 16), true[f]) for k, f in (("u", "y"), ("w", "w"))]
    weights = latitudes(9, "equiangular")[1].numpy()[:, None] * np.ones((9, 16))
    expected = np.mean([relative(p, t, weights) for p, t in pairs])
    assert row["rel_l2"] == pytest.approx(expected, rel=1e-5)
    plain = np.mean([relative(p, t, weights * 0 + 1) for p, t in pairs])
    assert abs(plain / expected - 1) > 1e-2


def relative(pred, true, weights):
    """The mean relative error of functions on a sphere, (samples, lat, lon)."""
    sizes = (true**2 * weights).sum((1, 2))
    return float(np.sqrt(((pred - true) ** 2 * weights).sum((1, 2)) / sizes).mean())


def test_a_band_on_a_sphere_is_calibrated_by_area():
    text = SPHERE.format(fields="", band="")
    point = "\n".join(x for x in text.splitlines() if " w " not in x)
    Path("point.op").write_text(point)
    random = np.random.default_rng(0)
    z = latitudes(9, "equiangular")[0].numpy()[:, None]
    for name, count in (("train", 10), ("test", 6), ("held", 19)):
        a = random.normal(size=(count, 9, 16)).astype(np.float32)
        noise = random.normal(size=a.shape) * (0.1 + z**4)  # wild at the poles
        np.savez(f"{name}.npz", x=a, y=(a + noise).astype(np.float32))
    good("train", "point.op", "--out", "point", "--quiet")
    band = "band { of = u width = w alpha = 0.2 }"
    Path("band.op").write_text(SPHERE.format(fields="", band=band))
    good("train", "band.op", "--from", "point", "--out", "band", "--quiet")
    good("calibrate", "band", "--data", "held.npz", "--delta", "0.1")
    factor = json.loads(Path("band/calibration.json").read_text())["factor"]
    good("predict", "band", "-i", "held.npz", "-o", "out.npz")
    with np.load("out.npz") as held, np.load("held.npz") as true:
        half = (held["u_upper"] - held["u"]).reshape(-1, 9, 16) / factor
        own = abs(true["y"] - held["u"].reshape(-1, 9, 16)) / half
    weights = (latitudes(9, "equiangular")[1].numpy()[:, None] * np.ones((9, 16))).flatten()
    least = sorted(quantile(x.flatten(), weights, 0.8) for x in own)
    assert factor == pytest.approx(least[math.ceil(20 * 0.9) - 1], rel=1e-4)


def quantile(x, weights, level):
    """The least value that a part `level` of the weight does not exceed."""
    order = np.argsort(x)
    below = np.cumsum(weights[order]) / weights.sum()
    return x[order][np.searchsorted(below, level - 1e-9)]
