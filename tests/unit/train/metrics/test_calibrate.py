"""Bands: the pinball loss is least at the quantile, a calibrated factor keeps its promise."""

import math

import pytest
import torch
from torch import nn

from opdsl.diagnostics import OpError
from opdsl.train.config.schema import Band, Checkpoint, Optimizer, Schedule, Settings
from opdsl.train.engine.fit import FrozenPart, fit
from opdsl.train.metrics.calibrate import Calibration, calibrate, coverage, factors
from opdsl.train.metrics.pinball import pinball
from opdsl.train.scaling.normalise import ChannelScale, Normaliser
from tests.unit.train.toy_problem import Cloud


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_the_quantile_is_where_the_pinball_loss_is_least(level):
    values = torch.randn(1, 1, 999, dtype=torch.float64)
    tried = torch.linspace(-3, 3, 2001, dtype=torch.float64)
    best = float(min(tried, key=lambda x: pinball(x.expand_as(values), values, level).item()))
    assert best == pytest.approx(float(values.flatten().quantile(level)), abs=0.02)


def test_the_pinball_loss_of_known_numbers():
    pred, true = torch.zeros(2, 1, 2), torch.tensor([[[2.0, -4.0]], [[1.0, 1.0]]])
    assert pinball(pred, true, 0.75).tolist() == [(0.75 * 2 + 0.25 * 4) / 2, 0.75]


def test_a_function_asks_for_the_factor_that_leaves_a_part_of_its_points_outside():
    true = torch.arange(1.0, 11.0).reshape(1, 1, 10)
    zero, one = torch.zeros_like(true), torch.ones_like(true)
    assert factors(zero, one, true, 0.1).tolist() == [9]
    assert factors(zero, 2 * one, true, 0.1).tolist() == [4.5]
    assert factors(zero, one, true, 0.15).tolist() == [9]  # eight and a half points are nine
    assert factors(zero, true, true, 0.3).tolist() == [1]


def test_a_width_below_zero_holds_only_what_is_predicted_right():
    true = torch.tensor([[[0.0, 0.0, 3.0]]])
    pred, width = torch.zeros_like(true), torch.tensor([[[-1.0, 0.0, -2.0]]])
    assert factors(pred, width, true, 1 / 3).tolist() == [0]
    assert factors(pred, width, true, 0.1).tolist() == [math.inf]
    with pytest.raises(OpError, match="zero or less"):
        calibrate(*(x.expand(9, 1, 3) for x in (pred, width, true)), alpha=0.1, delta=0.2)


def draw(random, count):
    """Functions whose noise is wild in places, a bad prediction and a bad width of it."""
    spread = 0.1 + torch.rand(count, 1, 1, generator=random) ** 2
    noise = torch.randn(count, 1, 20, generator=random)
    place = torch.linspace(0.5, 2, 20)
    true = spread * place * noise
    return 0.1 * torch.ones_like(true), (1 + place).expand_as(true), true


@pytest.mark.parametrize("delta", [0.1, 0.25])
def test_new_functions_keep_the_promise_as_often_as_promised(delta):
    random = torch.Generator().manual_seed(3)
    n, draws, alpha = 23, 400, 0.1
    kept = 0.0
    for _ in range(draws):
        factor, rank = calibrate(*draw(random, n), alpha=alpha, delta=delta)
        kept += float((factors(*draw(random, 50), alpha) <= factor).double().mean())
    expected = rank / (n + 1)
    assert 1 - delta <= expected <= 1 - delta + 1 / (n + 1)
    # the deviation of Beta(rank, n + 1 - rank), and of 50 functions, over all draws
    error = math.sqrt(expected * (1 - expected) * (1 / (n + 2) + 1 / 50) / draws)
    assert abs(kept / draws - expected) <= 4 * error


def test_the_largest_of_nineteen_promises_nineteen_of_twenty_and_no_more():
    pred, width, true = draw(torch.Generator().manual_seed(0), 19)
    factor, rank = calibrate(pred, width, true, alpha=0.1, delta=0.05)
    assert (factor, rank) == (float(factors(pred, width, true, 0.1).max()), 19)
    with pytest.raises(OpError) as caught:
        calibrate(pred[1:], width[1:], true[1:], alpha=0.1, delta=0.05)
    (told,) = caught.value.diagnostics
    assert told.code == "OP0613"
    assert "at least 19" in told.helps[0].text


def calibration(factor=2.0, **more):
    said = {"alpha": 0.25, "delta": 0.1, "samples": 99, "rank": 90, "weights": ""} | more
    return Calibration(of="u", width="w", factor=factor, **said)


def test_coverage_counts_points_and_functions():
    true = torch.tensor([[[1.0, 2, 2, 2]], [[3.0, 3, 0, 0]]])
    told = coverage(torch.zeros_like(true), torch.ones_like(true), true, calibration())
    assert (told.points, told.functions, told.samples, told.width) == (0.75, 0.5, 2, 2)


def test_the_part_that_keeps_the_promise_is_distributed_as_said():
    found, random = calibration(samples=49, rank=45), torch.Generator().manual_seed(1)
    # of uniform scores, the part below the 45th of 49 is that score
    parts = torch.rand(4000, 49, generator=random).sort(1).values[:, 44]
    least, most = found.range()
    inside = float(((parts >= least) & (parts <= most)).double().mean())
    assert inside == pytest.approx(0.95, abs=0.015)
    assert float(parts.mean()) == pytest.approx(found.expected, abs=0.005)


class Constant(nn.Module):
    """A prediction with dropout that must stay still, and a width that is made from it."""

    def __init__(self):
        super().__init__()
        self.u, self.w = nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5)), nn.Linear(1, 1)

    def forward(self, a):
        u = self.u(a.mT)
        return {"u": u.mT, "w": self.w(u).mT}


def test_a_width_learns_the_quantile_and_the_prediction_stays(tmp_path):
    a = torch.zeros(64, 1, 50)
    data = Cloud({"a": a}, {"u": torch.randn(64, 1, 50)}, resolution=(50,))
    net = Constant()
    before = {k: x.clone() for k, x in net.u.state_dict().items()}
    level = net.u[0].bias.item()  # what is predicted everywhere
    one = ChannelScale(torch.zeros(1), torch.ones(1))
    kept = FrozenPart(("u",), Normaliser({"a": one}, {"u": one}).with_width("u", "w"))
    settings = Settings(
        band=Band(of="u", width="w", alpha=0.1),
        schedule=Schedule(kind="cosine", epochs=60),
        optimizer=Optimizer(lr=0.05, weight_decay=0),
        checkpoint=Checkpoint(every=100),
        batch=16,
        device="cpu",
    )
    grids = {"u": (True,)}
    out = fit(net, data, data, settings, tmp_path, periodic=grids, meta={}, frozen=kept)
    assert all(torch.equal(x, net.u.state_dict()[k]) for k, x in before.items())
    width = (net.w.weight * level + net.w.bias).item()
    away = (data.outputs["u"] - level).abs().flatten()
    assert width == pytest.approx(float(away.quantile(0.9)), abs=0.03)
    assert out.history[-1]["valid"]["pinball"] == pytest.approx(out.best, rel=0.2)
    assert out.best == min(x["valid"]["pinball"] for x in out.history)
