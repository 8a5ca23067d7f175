"""Training on points: losses, scales, batches, resumption, and bands of packed functions."""

from math import ceil

import pytest
import torch
from torch import nn

from opdsl import Geometry, OpError, Packed
from opdsl.train.config.schema import Checkpoint, Normalise
from opdsl.train.engine.fit import fit
from opdsl.train.engine.loader import DeviceLoader
from opdsl.train.engine.precision import PrecisionPolicy
from opdsl.train.engine.rollout import Rollout
from opdsl.train.losses.l2 import rel_l2
from opdsl.train.metrics.calibrate import Calibration, coverage, factors
from opdsl.train.metrics.evaluate import evaluate, predict
from opdsl.train.metrics.pinball import pinball
from opdsl.train.run.trained import load_trained
from opdsl.train.scaling.normalise import Normaliser
from tests.unit.train.engine.test_fit import Stop
from tests.unit.train.point_problem import SIZES, OnEach, Points, places, ragged, random, shared
from tests.unit.train.toy_problem import quick

CPU = PrecisionPolicy("fp32", torch.device("cpu"))


def packs(channels=2, count=3):
    return [Packed.of(random(channels, n, seed=k + n) - 0.5 for n in SIZES) for k in range(count)]


def doubles(x):
    return [y.double() for y in x.parts]


NEAR = ragged((6, 11), seed=40)


def learn(run, data=None, valid=NEAR, settings=None, module=None, **more):
    torch.manual_seed(7)
    module = module or OnEach()
    data = ragged() if data is None else data
    settings = settings or quick(3, batch=2)
    out = fit(module, data, valid, settings, run, periodic={"u": ()}, meta={"arch": "p"}, **more)
    return module, out


# --------------------------------------------------------------------------------- the losses


def test_the_relative_error_is_that_of_each_sample_alone():
    pred, true, _ = packs()
    wanted = [
        (p - t).square().sum().sqrt() / t.square().sum().sqrt()
        for p, t in zip(doubles(pred), doubles(true), strict=True)
    ]
    torch.testing.assert_close(rel_l2(pred, true).double(), torch.stack(wanted))


def test_the_relative_error_is_weighted_by_what_points_stand_for():
    pred, true, _ = packs()
    weights = Packed.of(random(1, n, seed=n) for n in SIZES)
    wanted = []
    for p, t, w in zip(doubles(pred), doubles(true), doubles(weights), strict=True):
        away = sum(w[0, i] * (p[c, i] - t[c, i]) ** 2 for c in range(2) for i in range(len(w[0])))
        whole = sum(w[0, i] * t[c, i] ** 2 for c in range(2) for i in range(len(w[0])))
        wanted.append((away / whole) ** 0.5)
    torch.testing.assert_close(rel_l2(pred, true, weights).double(), torch.stack(wanted))


def test_equal_weights_change_nothing_and_zero_weights_leave_points_out():
    pred, true = (random(3, 2, 10, seed=k) for k in (1, 2))
    plain = rel_l2(pred, true)
    torch.testing.assert_close(rel_l2(pred, true, torch.full((1, 1, 10), 0.3)), plain)
    half = (torch.arange(10) < 5).float()[None, None]
    torch.testing.assert_close(rel_l2(pred, true, half), rel_l2(pred[..., :5], true[..., :5]))


def test_dense_and_packed_functions_have_the_same_error():
    pred, true = (random(3, 2, 10, seed=k) for k in (1, 2))
    packed = [Packed.of(x.unbind(0)) for x in (pred, true)]
    assert rel_l2(*packed).equal(rel_l2(pred, true))
    assert rel_l2(pred, packed[1]).equal(rel_l2(pred, true))
    assert rel_l2(packed[0], true).equal(rel_l2(pred, true))


def test_the_pinball_loss_of_a_pack_is_that_of_each_sample():
    pred, true, _ = packs()
    each = [pinball(p[None], t[None], 0.9) for p, t in zip(pred.parts, true.parts, strict=True)]
    torch.testing.assert_close(pinball(pred, true, 0.9), torch.cat(each))


def test_a_gradient_flows_through_the_weighted_error():
    pred, true, _ = packs()
    weights = Packed.of(random(1, n, seed=n) for n in SIZES)
    values = pred.values.double().requires_grad_()
    truth = true.map(torch.Tensor.double)
    wide = weights.map(torch.Tensor.double)
    assert torch.autograd.gradcheck(lambda x: rel_l2(Packed(x, SIZES), truth, wide), (values,))


# ----------------------------------------------------------------------------------- the scales


def test_a_scale_is_the_mean_and_deviation_over_all_points():
    data = ragged()
    found = Normaliser.fit(data, Normalise())
    whole = data.inputs["f"].values[0].double()
    scale = found.scales["in_f"]
    torch.testing.assert_close(scale.mean, whole.mean(1).float())
    torch.testing.assert_close(scale.std, whole.std(1, correction=0).float())
    encoded = found.encode(data.inputs)["f"]
    assert encoded.sizes == SIZES
    torch.testing.assert_close(encoded.values.mean(2), torch.zeros(1, 2), atol=1e-5, rtol=0)
    back = found.decode({"u": data.outputs["u"].map(found.scales["out_u"])})["u"]
    torch.testing.assert_close(back.values, data.outputs["u"].values)


# ---------------------------------------------------------------------------------- the batches


def test_a_batch_has_its_samples_and_their_points():
    data = ragged(weights={"u": Packed.of(random(1, n, seed=n) for n in SIZES)})
    batch = DeviceLoader.of(data, CPU).take(torch.tensor([3, 0]))
    assert batch.inputs["f"].sizes == (SIZES[3], SIZES[0])
    assert batch.truth["u"].parts[1].equal(data.outputs["u"].parts[0])
    assert batch.weights["u"].parts[0].equal(data.weights["u"].parts[3])
    assert batch.places["P"] == (data.model_points["P"][3], data.model_points["P"][0])


def test_the_points_of_all_samples_stay_one_in_a_batch():
    data = shared(weights={"u": torch.ones(1, 1, 8)})
    batch = DeviceLoader.of(data, CPU).take(torch.tensor([3, 0]))
    assert batch.inputs["f"].equal(data.inputs["f"][[3, 0]])
    assert batch.places["P"] == data.model_points["P"]
    assert batch.weights["u"].equal(torch.ones(1, 1, 8))


def test_a_geometry_is_the_same_in_every_epoch_and_its_key_is_known(tmp_path):
    data = ragged()
    module, _ = learn(tmp_path / "run", data, None)
    used = {id(x) for placed in module.seen for x in placed}
    assert used == {id(x) for x in data.model_points["P"]}
    assert all("key" in vars(x) for x in data.model_points["P"])


def test_a_module_is_called_with_one_geometry_where_points_are_shared(tmp_path):
    module, _ = learn(tmp_path / "run", shared(), None)
    assert {len(x) for x in module.seen} == {1}


# ------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("data", [ragged, shared])
def test_training_on_points_lowers_the_error(tmp_path, data):
    settings = quick(60, batch=2, checkpoint=Checkpoint(every=1000))
    _, out = learn(tmp_path / "run", data(), data(seed=90), settings, OnEach(0.0))
    losses = [row["train_loss"] for row in out.history]
    assert losses[-1] < 0.2 * losses[0]
    assert out.metrics.rel_h1 is None
    assert out.metrics.samples == 5


def test_a_run_on_points_goes_on_bit_for_bit(tmp_path):
    whole, _ = learn(tmp_path / "whole", settings=quick(4, batch=2))
    cut = quick(4, batch=2, checkpoint=Checkpoint(steps=1))
    with pytest.raises(RuntimeError, match="the plug"):
        learn(tmp_path / "cut", settings=cut, listener=Stop(3, 2))
    again, out = learn(tmp_path / "cut", settings=cut, resume=True)
    state = again.state_dict()
    assert all(torch.equal(x, state[k]) for k, x in whole.state_dict().items())
    assert out.epochs == 4


def test_derivatives_of_functions_on_points_are_refused(tmp_path):
    with pytest.raises(OpError) as caught:
        learn(tmp_path / "run", settings=quick(1, loss="h1"))
    assert caught.value.diagnostics[0].code == "OP0604"


def test_weights_are_heeded_in_training_and_in_the_metrics(tmp_path):
    plain, _ = learn(tmp_path / "a")
    weights = {"u": Packed.of(random(1, n, seed=n) for n in SIZES)}
    weighed, out = learn(tmp_path / "b", ragged(weights=weights))
    assert not torch.equal(plain.first.weight, weighed.first.weight)
    test = ragged(weights=weights)
    found = evaluate(weighed, out.normaliser, test, device="cpu")
    outputs = predict(
        weighed, out.normaliser, test.inputs, places=test.model_points, device="cpu", batch=2
    )
    each = rel_l2(outputs["u"], test.outputs["u"], weights["u"])
    assert found.rel_l2 == pytest.approx(float(each.mean()), rel=1e-5)


# ----------------------------------------------------------------------------------- afterwards


def test_metrics_are_means_over_samples_and_over_values(tmp_path):
    module, out = learn(tmp_path / "run")
    test = ragged((6, 11, 3), seed=40)
    found = evaluate(module, out.normaliser, test, device="cpu", batch=2)
    errors, squares, values, largest = [], 0.0, 0, 0.0
    with torch.no_grad():
        for i in range(3):
            f = out.normaliser.encode({"f": test.inputs["f"].parts[i][None]})["f"]
            u = out.normaliser.decode(module.eval()(f, P=test.model_points["P"][i]))["u"].double()
            true = test.outputs["u"].parts[i][None].double()
            errors.append(float((u - true).norm() / true.norm()))
            squares += float((u - true).square().sum())
            values += true.numel()
            largest = max(largest, float((u - true).abs().max()))
    assert found.rel_l2 == pytest.approx(sum(errors) / 3, rel=1e-5)
    assert found.rmse == pytest.approx((squares / values) ** 0.5, rel=1e-5)
    assert found.max_error == pytest.approx(largest, rel=1e-5)
    assert found.samples == 3


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_predictions_keep_the_order_and_the_sizes(tmp_path, batch):
    module, _ = learn(tmp_path / "run")
    trained = load_trained(tmp_path / "run", module)
    data = ragged()
    scales = trained.normaliser
    found = predict(
        module, scales, data.inputs, places=data.model_points, device="cpu", batch=batch
    )
    assert found["u"].sizes == SIZES
    with torch.no_grad():
        f = scales.encode({"f": data.inputs["f"].parts[1][None]})["f"]
        alone = scales.decode(module.eval()(f, P=data.model_points["P"][1]))["u"]
    torch.testing.assert_close(found["u"].parts[1][None], alone)


def test_steps_in_time_on_points_of_each_sample_are_refused():
    data = ragged()
    scales = Normaliser.fit(data, Normalise())
    loop = Rollout((("u", "f"),), {"f": 1})
    with pytest.raises(OpError) as caught:
        predict(
            OnEach(),
            scales,
            data.inputs,
            places=data.model_points,
            device="cpu",
            loop=loop,
            steps=2,
        )
    assert caught.value.diagnostics[0].code == "OP0604"


def test_the_factors_of_a_band_are_those_of_each_sample():
    pred, true, width = packs(1)
    width = width.map(torch.Tensor.abs)
    found = factors(pred, width, true, 0.3)
    for i, (p, w, t) in enumerate(zip(*map(doubles, (pred, width, true)), strict=True)):
        ratios = ((t - p).abs() / w).flatten().sort().values
        rank = max(1, ceil(len(ratios) * 0.7 - 1e-9))
        assert float(found[i]) == pytest.approx(float(ratios[rank - 1]))


def test_the_coverage_of_a_band_counts_functions_alike():
    pred, true, width = packs(1)
    width = width.map(torch.Tensor.abs)
    made = Calibration("u", "w", 0.3, 0.1, 1.5, 5, 5, "")
    found = coverage(pred, width, true, made)
    inside = [
        ((t - p).abs() <= 1.5 * w).double().mean()
        for p, w, t in zip(*map(doubles, (pred, width, true)), strict=True)
    ]
    assert found.points == pytest.approx(float(torch.stack(inside).mean()))
    assert found.samples == len(SIZES)


def test_an_output_on_points_that_only_the_call_knows_is_learnt(tmp_path):
    """The module gets points of each sample and no packed function; the last batch has one."""

    class Query(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Linear(2, 1)

        def forward(self, a, Q):
            if isinstance(Q, Geometry):
                return a[..., None] * self.map(Q.points).T[None]
            return Packed.of(x[:, None] * self.map(g.points).T for x, g in zip(a, Q, strict=True))

    where = places()
    a = random(5, 1) + 1
    u = Packed.of(x[:, None] * g.points.T[:1] for x, g in zip(a, where, strict=True))
    data = Points({"a": a}, {"u": u}, {"Q": where})
    _, out = learn(tmp_path / "run", data, data, quick(4, batch=2), Query())
    assert out.history[-1]["train_loss"] < out.history[0]["train_loss"]
