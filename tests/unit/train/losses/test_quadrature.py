"""On a sphere every norm, mean, deviation and quantile is an integral over its area.

The oracle is a fine quadrature: Gauss-Legendre in the cosine of the colatitude, 400 latitudes.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn

import opdsl
from opdsl.nn.points.packed import Packed
from opdsl.nn.sphere.sampling import latitudes
from opdsl.train.config.schema import Checkpoint, Normalise
from opdsl.train.engine.fit import fit
from opdsl.train.losses.l2 import rel_l2
from opdsl.train.metrics.calibrate import Calibration, calibrate, coverage, factors
from opdsl.train.metrics.evaluate import evaluate
from opdsl.train.metrics.norms import rms
from opdsl.train.metrics.pinball import pinball
from opdsl.train.metrics.quadrature import field_weights, grid_weights
from opdsl.train.scaling.normalise import Normaliser
from opdsl.workflow.runs.evaluation import latitude_samplings
from tests.unit.train.toy_problem import Cloud, quick

RULES = ["equiangular", "gauss_legendre", "lobatto", "centres"]
SIZE = (33, 64)


def weights_of(rule, size=SIZE):
    return grid_weights((rule, None), size)


def places(rule, size=SIZE):
    """Cosine of the colatitude and longitude of each point."""
    z = latitudes(size[0], rule)[0]
    turn = torch.arange(size[1], dtype=torch.float64) * (2 * math.pi / size[1])
    return z[:, None].expand(size), turn.expand(size)


def wave(z, turn):
    """A polynomial of degree 4 in the coordinates of space."""
    return z**2 * (1 - z**2) * torch.cos(turn) ** 2 + 0.5 * z + 0.3


def other(z, turn):
    return wave(z, turn) + 0.1 * z**3 - 0.2 * z * torch.sin(turn) ** 2 * (1 - z**2)


def fine(function, size=(400, 400)):
    """The mean of a function of (z, turn) over the sphere, by a fine quadrature of NumPy."""
    z, w = np.polynomial.legendre.leggauss(size[0])
    turn = np.arange(size[1]) * (2 * np.pi / size[1])
    values = function(torch.tensor(z)[:, None], torch.tensor(turn)[None]).expand(size)
    return float((values.mean(1) * torch.tensor(w)).sum() / 2)


@pytest.mark.parametrize("rule", RULES)
def test_a_norm_on_the_sphere_is_that_of_a_fine_quadrature(rule):
    z, turn = places(rule)
    pred, true = (f(z, turn)[None, None] for f in (other, wave))
    expected = math.sqrt(
        fine(lambda *x: (other(*x) - wave(*x)) ** 2) / fine(lambda *x: wave(*x) ** 2)
    )
    found = rel_l2(pred, true, weights_of(rule))
    assert float(found) == pytest.approx(expected, rel=1e-6)
    in_single = rel_l2(pred.float(), true.float(), weights_of(rule).float())
    assert float(in_single) == pytest.approx(expected, rel=1e-6)


def test_an_error_at_the_poles_weighs_less_than_one_at_the_equator():
    true = torch.ones(1, 1, 32, 64, dtype=torch.float64)
    polar, equatorial = true.clone(), true.clone()
    polar[:, :, :3] += 0.5
    equatorial[:, :, 14:17] += 0.5
    plain = [float(rel_l2(x, true)) for x in (polar, equatorial)]
    assert plain[0] == pytest.approx(plain[1])
    found = [
        float(rel_l2(x, true, weights_of("equiangular", (32, 64)))) for x in (polar, equatorial)
    ]
    # a row stands for the zone half a spacing around it, whose part of the area is known
    step = math.pi / 31
    zones = [(0, 2.5 * step), (13.5 * step, 16.5 * step)]
    expected = [0.5 * math.sqrt((math.cos(a) - math.cos(b)) / 2) for a, b in zones]
    assert found == pytest.approx(expected, rel=1e-2)
    assert found[1] > 2.5 * found[0]


@pytest.mark.parametrize("rule", RULES)
def test_the_weights_of_a_rule_have_the_mean_one(rule):
    found = weights_of(rule)
    assert found.shape == (1, 1, 33, 1)
    assert float(found.mean()) == pytest.approx(1, rel=1e-12)


def test_a_product_of_sphere_and_time_is_weighted_by_latitude_alone():
    found = grid_weights(("lobatto", None, None), (9, 16, 5))
    assert torch.equal(found[0, 0, :, 0, 0], weights_of("lobatto", (9, 16))[0, 0, :, 0])
    assert found.shape == (1, 1, 9, 1, 1)
    late = grid_weights((None, "lobatto", None), (5, 9, 16))
    assert late.shape == (1, 1, 1, 9, 1)


def test_a_grid_of_equal_cells_has_no_weights():
    assert grid_weights((None, None), (8, 8)) is None
    assert grid_weights(("equiangular", None), (1, 4)) is None


def test_weights_are_found_behind_an_axis_of_time():
    found = field_weights({"u": torch.zeros(2, 7, 3, *SIZE)}, {"u": ("equiangular", None)}, {})
    assert found["u"].shape == (1, 1, 33, 1)


def test_weights_of_points_come_with_the_data_and_win():
    own = {"u": torch.ones(1, 1, 8), "other": torch.ones(1, 1, 4)}
    found = field_weights({"u": torch.zeros(2, 1, 8)}, {"u": ("equiangular",)}, own)
    assert found == {"u": own["u"]}


PROGRAM = """edition 2026
model M {{
  domain S = sphere(lat, lon{sampling}, min = (9, 16))
  domain T = interval(t: 0..1, min = 3)
  input a : S -> R^1
  input b : S * T -> R^1
  input g : T -> R^1
  output u : S -> R^1
  output w : S * T -> R^1
  output h : T -> R^1
  u = a |> linear(out = 1)
  w = b |> linear(out = 1)
  h = g |> linear(out = 1)
}}
"""


@pytest.mark.parametrize("sampling", ["equiangular", "gauss_legendre", "lobatto"])
def test_a_program_says_which_axes_are_latitudes(tmp_path, sampling):
    path = tmp_path / "m.op"
    path.write_text(PROGRAM.format(sampling=f", sampling = {sampling}"))
    graph = opdsl.load(path)
    assert latitude_samplings(graph) == {
        "a": (sampling, None),
        "b": (sampling, None, None),
        "u": (sampling, None),
        "w": (sampling, None, None),
    }


# ----------------------------------------------------------------- means, deviations, quantiles


def on_sphere(rule="equiangular", count=6, seed=0):
    """Smooth functions whose mean and deviation change towards the poles."""
    random = torch.Generator().manual_seed(seed)
    z, turn = places(rule)
    k = torch.randn(count, 1, 1, 1, generator=random, dtype=torch.float64)
    return (1 + k * z**2 + (1 - k) * z * (1 - z**2).sqrt() * torch.cos(turn)).float()


@pytest.mark.parametrize("rule", RULES)
def test_the_normaliser_integrates_over_the_sphere(rule):
    z, turn = places(rule)
    x = wave(z, turn).expand(3, 1, *SIZE)
    rules = {"a": (rule, None), "u": (rule, None)}
    found = Normaliser.fit(Cloud({"a": x}, {"u": x}), Normalise(), samplings=rules)
    mean = fine(wave)
    std = math.sqrt(fine(lambda *p: (wave(*p) - mean) ** 2))
    for scale in found.scales.values():
        assert float(scale.mean) == pytest.approx(mean, rel=1e-6)
        assert float(scale.std) == pytest.approx(std, rel=1e-6)


def test_the_root_mean_square_is_an_integral():
    z, turn = places("gauss_legendre")
    found = rms(wave(z, turn)[None, None], weights_of("gauss_legendre"))
    assert float(found) == pytest.approx(math.sqrt(fine(lambda *p: wave(*p) ** 2)), rel=1e-6)


def test_the_pinball_loss_is_an_integral():
    z, _ = places("gauss_legendre")
    true = z.square()[None, None]
    found = pinball(torch.zeros_like(true), true, 0.75, weights_of("gauss_legendre"))
    assert float(found) == pytest.approx(0.75 / 3, rel=1e-9)  # the mean of z^2 is 1/3


@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_a_calibrated_band_leaves_a_part_of_the_area_outside(alpha):
    size = (2001, 4)
    z, _ = places("equiangular", size)
    true = z.abs()[None, None]  # uniform between 0 and 1 by area, crowded at 1 by points
    zero, one, weights = (
        torch.zeros_like(true),
        torch.ones_like(true),
        weights_of("equiangular", size),
    )
    assert float(factors(zero, one, true, alpha, weights)) == pytest.approx(1 - alpha, abs=2e-3)
    assert float(factors(zero, one, true, alpha)) > 1 - alpha / 2  # by points it is another
    factor, _ = calibrate(
        *(x.expand(9, -1, -1, -1) for x in (zero, one, true)),
        alpha=alpha,
        delta=0.1,
        weights=weights,
    )
    found = Calibration("u", "w", alpha, 0.1, factor, 9, 9, weights="")
    told = coverage(zero, one, true, found, weights)
    assert told.points == pytest.approx(1 - alpha, abs=2e-3)
    assert told.functions == 1


def test_equal_weights_give_the_factors_without_weights():
    random = torch.Generator().manual_seed(0)
    pred, true = (torch.randn(5, 2, 30, generator=random) for _ in range(2))
    width = torch.rand(5, 2, 30, generator=random) - 0.1
    for alpha in (0.05, 0.1, 0.25, 0.5):
        plain = factors(pred, width, true, alpha)
        assert torch.equal(plain, factors(pred, width, true, alpha, torch.full((1, 1, 30), 0.3)))
        packed = (Packed.of(x) for x in (pred, width, true))
        weights = Packed.of([torch.full((1, 30), 0.3)] * 5)
        assert torch.equal(plain, factors(*packed, alpha, weights))


# --------------------------------------------------------------------- training and the metrics


class Pointwise(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, a):
        return self.layer(a.movedim(1, -1)).movedim(-1, 1)


RULE = {"a": ("equiangular", None), "u": ("equiangular", None)}


def sphere_set(seed=0):
    a = on_sphere(seed=seed)
    return Cloud({"a": a}, {"u": a**2 - 0.3}, resolution=SIZE)


def test_the_metrics_of_a_set_are_integrals():
    torch.manual_seed(1)
    module, data = Pointwise(), sphere_set()
    normaliser = Normaliser.fit(data, Normalise(), samplings=RULE)
    more = {"samplings": RULE, "periodic": {"u": ()}, "device": "cpu", "batch": 4}
    found = evaluate(module, normaliser, data, **more)
    with torch.no_grad():
        pred = normaliser.decode(module(normaliser.encode(data.inputs)["a"]))["u"].double()
    true, weights = data.outputs["u"].double(), weights_of("equiangular")
    squares = ((pred - true) ** 2 * weights).flatten(1).mean(1)
    sizes = (true**2 * weights).flatten(1).mean(1)
    assert found.rel_l2 == pytest.approx(float((squares / sizes).sqrt().mean()), rel=1e-5)
    assert found.rmse == pytest.approx(float(squares.mean().sqrt()), rel=1e-5)
    assert found.max_error == pytest.approx(float((pred - true).abs().max()), rel=1e-5)
    assert found.rel_h1 is None


def test_the_loss_of_a_run_is_the_weighted_one(tmp_path):
    said = quick(1, batch=6, checkpoint=Checkpoint(every=1000), loss="l2")
    results = {}
    for name, rules in (("plain", None), ("sphere", RULE)):
        torch.manual_seed(1)
        data, module = sphere_set(), Pointwise()
        more = {"periodic": {"u": ()}, "meta": {}, "samplings": rules}
        out = fit(module, data, data, said, tmp_path / name, **more)
        torch.manual_seed(1)
        fresh = Pointwise()
        with torch.no_grad():
            pred = out.normaliser.decode(fresh(out.normaliser.encode(data.inputs)["a"]))["u"]
        weights = weights_of("equiangular").float() if rules else None
        expected = float(rel_l2(pred, data.outputs["u"], weights).mean())
        assert out.history[0]["train_loss"] == pytest.approx(expected, rel=1e-5)
        results[name] = expected
    assert abs(results["plain"] / results["sphere"] - 1) > 0.01


# ------------------------------------------------------------------------ points with a measure


@dataclass(frozen=True)
class Weighed:
    """Samples on points that stand for lengths."""

    inputs: dict
    outputs: dict
    weights: dict
    model_points: dict = field(default_factory=dict)
    name: str = "toy"
    fingerprint: str = "f0"
    resolution: tuple = ()

    def __len__(self):
        return len(next(iter(self.inputs.values())))


def crowded(n=20_000):
    """Points y = s^2, s even, which crowd at 0, the length of each, and the function y."""
    s = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return s**2, 2 * s / n


def test_means_over_points_are_integrals_by_their_measure():
    y, w = crowded()
    f = y.expand(2, 1, -1)
    weights = {"f": w[None, None], "u": w[None, None]}
    data = Weighed({"f": f}, {"u": f}, weights)
    for scale in Normaliser.fit(data, Normalise()).scales.values():
        assert float(scale.mean) == pytest.approx(1 / 2, rel=1e-6)
        assert float(scale.std) == pytest.approx(math.sqrt(1 / 12), rel=1e-6)


def test_means_over_packed_points_are_integrals_over_all_samples():
    (y, w), (z, v) = crowded(), crowded(15_000)
    f = Packed.of([y[None], 1 + 2 * z[None]])
    own = Packed.of([w[None], 2 * v[None]])  # on [0, 1] and on an interval of length 2
    data = Weighed({"f": f}, {"u": f}, {"f": own, "u": own})
    scale = Normaliser.fit(data, Normalise()).scales["in_f"]
    mean = (0.5 + 2 * 2) / 3
    assert float(scale.mean) == pytest.approx(mean, rel=1e-6)
    assert float(scale.std) == pytest.approx(
        math.sqrt((1 / 3 + 2 * 13 / 3) / 3 - mean**2), rel=1e-6
    )


class OnPoints(nn.Module):
    def forward(self, f):
        return f * 0 if isinstance(f, torch.Tensor) else f.map(lambda x: x * 0)


def test_the_rmse_on_points_is_an_integral_over_all_samples():
    (y, w), (z, v) = crowded(), crowded(15_000)
    u = Packed.of([y[None].float(), 1 + 2 * z[None].float()])
    own = Packed.of([w[None], 2 * v[None]])
    data = Weighed({"f": u}, {"u": u}, {"u": own})
    plain = Normaliser.fit(data, Normalise(inputs="none", outputs="none"))
    found = evaluate(OnPoints(), plain, data, device="cpu", batch=1)
    assert found.rmse == pytest.approx(math.sqrt((1 / 3 + 2 * 13 / 3) / 3), rel=1e-6)
    assert found.rel_l2 == pytest.approx(1, rel=1e-6)
