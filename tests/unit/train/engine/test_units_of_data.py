"""Losses, errors and trained runs are the same in every unit of the data from 1e-30 to 1e30."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from opdsl.diagnostics import OpError
from opdsl.nn.points.packed import Packed
from opdsl.train.config.schema import Checkpoint, Eval, Normalise, Optimizer
from opdsl.train.engine.fit import fit
from opdsl.train.engine.rollout import Rollout
from opdsl.train.losses.h1 import rel_h1
from opdsl.train.losses.l2 import rel_l2
from opdsl.train.metrics.calibrate import factors
from opdsl.train.metrics.error_sums import ErrorSums, average
from opdsl.train.metrics.evaluate import evaluate
from opdsl.train.metrics.norms import GridAxes, mean_where, nonzero_samples, power_of_two
from opdsl.train.metrics.pinball import pinball
from opdsl.train.scaling.normalise import Normaliser
from tests.unit.train.toy_problem import Cloud, Toy, cloud, quick

SCALES = [1e-30, 1e-20, 1e-15, 1e-5, 1e5, 1e15, 1e20, 1e30]
POWERS = [2.0**-100, 2.0**-50, 2.0**50, 2.0**100]
LINE = GridAxes.unit((True,))


def pair(seed=0, shape=(5, 2, 40)):
    """A truth and a prediction that is off by a tenth, float64."""
    random = torch.Generator().manual_seed(seed)
    true = torch.randn(shape, generator=random, dtype=torch.float64) + 0.5
    return true + 0.1 * torch.randn(shape, generator=random, dtype=torch.float64), true


# ------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_relative_error_of_a_prediction_does_not_depend_on_the_unit(scale, weighted):
    pred, true = pair()
    weights = torch.rand(1, 1, 40, dtype=torch.float64) if weighted else None
    root = 1.0 if weights is None else weights.sqrt()
    expected = ((pred - true) * root).flatten(1).norm(dim=1) / (true * root).flatten(1).norm(dim=1)
    found = rel_l2((pred * scale).float(), (true * scale).float(), weights)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("scale", SCALES)
def test_quadrature_weights_in_any_unit_give_the_same_error(scale):
    pred, true = (x.float() for x in pair())
    weights = torch.rand(1, 1, 40)
    found = rel_l2(pred, true, weights * scale)
    torch.testing.assert_close(found, rel_l2(pred, true, weights), rtol=1e-6, atol=0)


@pytest.mark.parametrize("scale", SCALES)
def test_the_error_of_derivatives_does_not_depend_on_the_unit(scale):
    pred, true = pair()
    expected = rel_h1(pred, true, LINE)
    found = rel_h1((pred * scale).float(), (true * scale).float(), LINE)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("scale", SCALES)
def test_functions_on_points_of_their_own_have_errors_without_a_unit_too(scale):
    pred, true = ([x[0, :, :9], x[1]] for x in pair())
    parts = zip(pred, true, strict=True)
    expected = torch.stack([(p - t).norm() / t.norm() for p, t in parts])
    packed = [Packed.of((x * scale).float() for x in y) for y in (pred, true)]
    torch.testing.assert_close(rel_l2(*packed).double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("scale", SCALES)
def test_a_prediction_that_is_far_too_large_has_a_finite_error(scale):
    _, true = (x.float() for x in pair())
    found = rel_l2(true * scale, true / scale if scale < 1 else true)
    assert found.isfinite().all()


@pytest.mark.parametrize("scale", SCALES)
def test_pinball_loss_and_calibration_follow_the_unit(scale):
    pred, true = pair()
    width = torch.full_like(true, 0.1)
    loss = pinball((pred * scale).float(), (true * scale).float(), 0.9)
    torch.testing.assert_close(loss.double() / scale, pinball(pred, true, 0.9), rtol=1e-6, atol=0)
    own = factors(*((x * scale).float() for x in (pred, width, true)), 0.1)
    torch.testing.assert_close(own, factors(pred, width, true, 0.1), rtol=1e-5, atol=0)


@pytest.mark.parametrize("scale", SCALES)
def test_rmse_and_largest_error_scale_with_the_unit(scale):
    pred, true = pair()
    tally = ErrorSums(unit=2.0**3)
    tally.add(*((x * scale / 8).float() for x in (pred, true)), LINE, None, timed=False)
    found, error = average([tally], 0), pred - true
    assert found.rmse == pytest.approx(float(error.square().mean().sqrt()) * scale, rel=1e-6)
    assert found.max_error == pytest.approx(float(error.abs().max()) * scale, rel=1e-5)


def test_a_power_of_two_is_exact_for_numbers_of_every_size():
    x = torch.tensor([1.0, 1.99, 2.0, 3e38, 1e-37, 1e-44, 0.0, math.inf, math.nan])
    found = power_of_two(x)
    assert found[:5].tolist() == [1.0, 1.0, 2.0, 2.0**126, 2.0**-123]
    assert found[5:].tolist() == [2.0**-126, 2.0**-126, 2.0**126, 2.0**126]
    assert torch.equal(1 / (1 / found), found)


# ----------------------------------------------------------------------------- zero everywhere


def test_a_truth_that_is_zero_has_no_relative_error_and_gives_no_gradient():
    pred, true = (x.float() for x in pair())
    true[1] = 0
    pred.requires_grad_()
    loss = mean_where(rel_l2(pred, true), nonzero_samples(true))
    loss.backward()
    rest = [0, 2, 3, 4]
    expected = rel_l2(pred[rest], true[rest]).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert pred.grad.isfinite().all()
    assert pred.grad[1].abs().max() == 0
    assert pred.grad[0].abs().max() > 0


@pytest.mark.parametrize("error", [rel_l2, lambda p, t: rel_h1(p, t, LINE)])
def test_a_batch_of_zeros_has_the_loss_zero_and_no_gradient(error):
    pred, true = (x.float() for x in pair())
    pred.requires_grad_()
    loss = mean_where(error(pred, true * 0), nonzero_samples(true * 0))
    loss.backward()
    assert loss.item() == 0
    assert pred.grad.abs().max() == 0


def test_a_prediction_that_is_not_finite_is_not_hidden_by_a_truth_that_is_zero():
    pred, true = (x.float() for x in pair())
    true[1] = 0
    pred[2, 0, 0] = math.nan
    assert mean_where(rel_l2(pred, true), nonzero_samples(true)).isnan()


def some_zero(data, rows):
    """The same samples, the truth of some of them zero."""
    u = data.outputs["u"].clone()
    u[rows] = 0
    return replace(data, outputs={"u": u})


def test_samples_that_are_zero_are_counted_apart_in_the_metrics():
    data = some_zero(cloud(), [1, 4])
    module, normaliser = Toy(dropout=0.0), Normaliser.fit(cloud(), Normalise())
    found = evaluate(module, normaliser, data, device="cpu", batch=5)
    rest = [i for i in range(12) if i not in {1, 4}]
    inputs, outputs = data.inputs["a"], data.outputs["u"]
    kept = Cloud({"a": inputs[rest]}, {"u": outputs[rest]})
    zero = Cloud({"a": inputs[[1, 4]]}, {"u": cloud().outputs["u"][[1, 4]]})
    pred = normaliser.decode(module.eval()(normaliser.encode(zero.inputs)["a"]))["u"].detach()
    assert found.rel_l2 == pytest.approx(
        evaluate(module, normaliser, kept, device="cpu").rel_l2, rel=1e-6
    )
    assert (found.samples, found.zero_samples) == (12, 2)
    assert found.zero_rmse == pytest.approx(float(pred.square().mean().sqrt()), rel=1e-5)


def test_a_set_of_zeros_alone_has_no_relative_error():
    data = some_zero(cloud(), list(range(12)))
    found = evaluate(Toy(), Normaliser.fit(cloud(), Normalise()), data, device="cpu")
    assert math.isnan(found.rel_l2)
    assert found.zero_samples == 12
    assert found.zero_rmse == pytest.approx(found.rmse)


def test_without_such_samples_nothing_is_said_of_them():
    found = evaluate(Toy(), Normaliser.fit(cloud(), Normalise()), cloud(), device="cpu")
    assert not {"zero_samples", "zero_rmse"} & set(found.to_json())


def test_one_zero_among_twenty_does_not_spoil_a_run(tmp_path):
    _, plain = learn(tmp_path / "a", cloud(20), cloud(20, seed=2))
    _, other = learn(tmp_path / "b", some_zero(cloud(20), [3]), some_zero(cloud(20, seed=2), [5]))
    assert other.history[0]["train_loss"] < 2 * plain.history[0]["train_loss"]
    assert other.history[-1]["train_loss"] < other.history[0]["train_loss"]
    assert other.metrics.zero_samples == 1


def test_the_loss_of_an_epoch_is_the_mean_over_the_other_samples(tmp_path):
    said = {"batch": 1, "optimizer": Optimizer(kind="sgd", lr=1e-12)}
    rest = [i for i in range(12) if i not in {1, 4}]
    few = Cloud({"a": cloud().inputs["a"][rest]}, {"u": cloud().outputs["u"][rest]})
    data = some_zero(cloud(), [1, 4])
    normal = {"normalise": Normalise(inputs="none", outputs="none")}
    results = []
    for name, train in (("a", few), ("b", data)):
        torch.manual_seed(7)
        more = {"periodic": {"u": (True,)}, "meta": {}}
        out = fit(
            Toy(dropout=0.0), train, None, quick(1, **said, **normal), tmp_path / name, **more
        )
        results.append(out.history[0]["train_loss"])
    assert results[1] == pytest.approx(results[0], rel=1e-5)


def test_an_epoch_of_zeros_alone_has_no_loss(tmp_path):
    _, out = learn(tmp_path, some_zero(cloud(), list(range(12))), cloud(seed=2))
    assert [row["train_loss"] for row in out.history] == [None] * 4


def test_a_batch_of_zeros_alone_leaves_no_trace_in_the_weights(tmp_path):
    module, out = learn(tmp_path, some_zero(cloud(), list(range(12))), cloud(seed=2))
    torch.manual_seed(7)
    fresh = Toy()
    assert out.skipped == 0
    assert all(torch.equal(module.state_dict()[k], x) for k, x in fresh.state_dict().items())


# ---------------------------------------------------------------------------------- trained runs


def in_unit(data, scale):
    """The same samples, inputs and outputs multiplied."""
    return replace(
        data,
        inputs={k: x * scale for k, x in data.inputs.items()},
        outputs={k: x * scale for k, x in data.outputs.items()},
    )


def learn(run, train, test, **more):
    torch.manual_seed(7)
    module = Toy()
    said = {
        "optimizer": Optimizer(kind="sgd", lr=0.05, weight_decay=0.0),
        "checkpoint": Checkpoint(every=1000),
        "eval": Eval(every=1),
    } | more
    out = fit(
        module,
        train,
        test,
        quick(4, **said),
        run,
        periodic={"u": (True,)},
        meta={"arch": "x"},
    )
    return module, out


def run_in(path, scale, **more):
    return learn(path, in_unit(cloud(), scale), in_unit(cloud(seed=2), scale), **more)


@pytest.mark.parametrize("loss", ["l2", "h1"])
@pytest.mark.parametrize("scale", POWERS)
def test_a_run_in_units_of_a_power_of_two_is_the_same_to_the_bit(tmp_path, scale, loss):
    plain, expected = run_in(tmp_path / "a", 1.0, loss=loss)
    other, found = run_in(tmp_path / "b", scale, loss=loss)
    assert all(torch.equal(other.state_dict()[k], x) for k, x in plain.state_dict().items())
    assert found.best_epoch == expected.best_epoch >= 1
    for a, b in zip(expected.history, found.history, strict=True):
        assert a["train_loss"] == b["train_loss"]
        assert a["valid"]["rel_l2"] == b["valid"]["rel_l2"]
        assert a["valid"]["rel_h1"] == b["valid"]["rel_h1"]
        assert a["valid"]["rmse"] * scale == pytest.approx(b["valid"]["rmse"], rel=1e-12)
        assert a["valid"]["max_error"] * scale == b["valid"]["max_error"]


@pytest.mark.parametrize("scale", SCALES)
def test_a_run_in_any_unit_has_the_same_errors(tmp_path, scale):
    _, expected = run_in(tmp_path / "a", 1.0)
    _, found = run_in(tmp_path / "b", scale)
    for a, b in zip(expected.history, found.history, strict=True):
        assert b["train_loss"] == pytest.approx(a["train_loss"], rel=1e-3)
        assert b["valid"]["rel_l2"] == pytest.approx(a["valid"]["rel_l2"], rel=1e-3)


def test_a_run_of_steps_in_time_is_the_same_in_every_unit(tmp_path):
    from tests.unit.train.engine.test_rollout import LOOP, STEPS, Step, moving

    results = []
    for scale in (1.0, 2.0**100, 2.0**-100):
        torch.manual_seed(7)
        module = Step()
        data = in_unit(moving(), scale)
        said = quick(3, rollout=STEPS, checkpoint=Checkpoint(every=1000))
        out = fit(
            module,
            data,
            data,
            said,
            tmp_path / str(scale),
            periodic={"v": (True,)},
            meta={},
            loop=LOOP,
        )
        results.append((module.a.detach(), [x["train_loss"] for x in out.history]))
    for weights, losses in results[1:]:
        assert torch.equal(weights, results[0][0])
        assert losses == results[0][1]


def test_an_output_that_comes_back_has_the_unit_of_its_input():
    x = torch.randn(4, 1, 8)
    data = Cloud({"u": x * 1e20}, {"v": torch.stack([x, x], 1) * 3e20})
    loop = Rollout((("v", "u"),), {"u": 1})
    units = Normaliser.fit(data, Normalise(), loop).units(loop)
    assert units.inputs["u"] == units.outputs["v"]
    assert 1e19 < units.outputs["v"] < 1e21


@pytest.mark.parametrize(
    ("scale", "side", "advice"),
    [
        (1e25, "inputs", "set `normalise.inputs = channel`, or give it in another unit"),
        (1.0, "inputs", "lower `optimizer.lr`"),
    ],
)
def test_the_advice_about_divergence_blames_the_unit_where_it_is_key_to_blame(
    tmp_path, scale, side, advice
):
    class Square(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(1.0))

        def forward(self, a):
            return a[:, :1] ** 2 * self.weight * (1.0 if scale > 1 else math.inf)

    said = quick(4, normalise=Normalise(**{side: "none"}), bad_steps=2)
    with pytest.raises(OpError) as caught:
        fit(Square(), in_unit(cloud(), scale), None, said, tmp_path, periodic={}, meta={})
    (found,) = caught.value.diagnostics
    assert found.code == "OP0620"
    assert advice in found.helps[-1].text


# ------------------------------------------------------------------------------- normalisation


@pytest.mark.parametrize("scale", SCALES)
def test_statistics_follow_the_unit(scale):
    x = cloud().inputs["a"].double()
    plain = Normaliser.fit(Cloud({"a": x}, {"u": x}), Normalise()).scales["in_a"]
    other = Normaliser.fit(Cloud({"a": x * scale}, {"u": x}), Normalise()).scales["in_a"]
    torch.testing.assert_close(other.std.double() / scale, plain.std.double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(other.mean.double() / scale, plain.mean.double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("scale", [1.0, *POWERS])
def test_constant_channels_are_divided_by_a_size_of_their_own_unit(scale):
    x = torch.randn(6, 3, 9)
    x[:, 1], x[:, 2] = 0.25, 0
    found = Normaliser.fit(Cloud({"a": x * scale}, {"u": x}), Normalise()).scales["in_a"].std
    assert found[1] == 0.25 * scale
    assert found[2] == found[0]


@pytest.mark.parametrize(("deviation", "constant"), [(0.5e-7, True), (2e-7, False)])
def test_a_deviation_below_the_rounding_of_float32_is_that_of_a_constant(deviation, constant):
    x = torch.ones(2, 1, 4, dtype=torch.float64)
    x[0] += deviation
    x[1] -= deviation
    found = float(Normaliser.fit(Cloud({"a": x}, {"u": x}), Normalise()).scales["in_a"].std)
    assert found == pytest.approx(1.0 if constant else deviation, rel=1e-6)
