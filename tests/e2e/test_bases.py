"""Runs of models with half-waves: modes that are added while training, and measured plans."""

import numpy as np
import pytest

import opdsl
from opdsl.nn.spectral.half_waves.conv import BasisConv

PROGRAM = """edition 2026

from std.spectral import SpectralLayer

model Walls {
  domain D = grid(x: 0..1, y: 0..1, boundary = (dirichlet, neumann), min = 9)
  input a : D -> R^1
  output u : D -> R^1

  u = a |> linear(out = 4) |> repeat 2 { SpectralLayer(modes = 4) } |> linear(out = 1)
}
"""
QUICK = {"batch": 4, "device": "cpu", "seed": 3, "loss": "l2"}


@pytest.fixture
def data():
    """Functions on 9 x 9 points, and half of their slope along x."""
    t = np.linspace(0, np.pi, 9)
    c = np.random.default_rng(0).standard_normal((12, 2, 2))
    a, u = (np.einsum("nij,ix,jy->nxy", c, w, np.cos(np.outer([0, 1], t)))[:, None] for w in (
        np.sin(np.outer([1, 2], t)), 0.5 * np.sin(np.outer([1, 2], t)),
    ))  # fmt: skip
    return {"a": a.astype("float32"), "u": u.astype("float32")}


def test_functions_are_added_while_training(data, tmp_path, monkeypatch):
    limits = []
    limit = BasisConv.limit

    def noted(self, modes):
        limit(self, modes)
        limits.append(self.active_modes)

    monkeypatch.setattr(BasisConv, "limit", noted)
    plan = {"start": 1, "until": 0.5}
    run = opdsl.train(PROGRAM, data=data, out=tmp_path / "run", epochs=6, incremental=plan, **QUICK)
    of_an_epoch = limits[::2]  # two layers
    assert of_an_epoch[:6] == [(1, 1), (2, 2), (3, 3), None, None, None]
    assert run.evaluate(data)["9x9"].rel_l2 < 1
    assert all(x.active_modes is None for x in run.module.modules() if isinstance(x, BasisConv))


def test_a_measured_plan_learns_the_same(data, tmp_path, monkeypatch):
    monkeypatch.setattr("opdsl.lower.plan.timings.user_cache", lambda: tmp_path / "cache")
    errors = []
    for tuned in (False, True):
        run = opdsl.train(
            PROGRAM, data=data, out=tmp_path / str(tuned), epochs=2, autotune=tuned, **QUICK
        )
        errors.append(run.evaluate(data)["9x9"].rel_l2)
    assert errors[1] == pytest.approx(errors[0], rel=1e-4)
