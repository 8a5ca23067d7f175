"""Losses and metrics as expressions in whole runs, against losses by name and closed forms."""

import numpy as np
import pytest
import torch

import opdsl
from opdsl.compiler import check
from opdsl.diagnostics import OpError, Source
from opdsl.nn.points.geometry import Geometry
from opdsl.nn.points.packed import Packed
from opdsl.syntax.parser import parse
from opdsl.train.config.schema import Normalise, Settings
from opdsl.train.engine.loader import Batch, FieldUnits
from opdsl.train.engine.rollout import Rollout
from opdsl.train.losses import LOSSES, Loss
from opdsl.train.losses.objective import LossInputs
from opdsl.train.losses.objective.named import NamedObjective
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.scaling.normalise import Normaliser
from opdsl.workflow.losses.objectives import grid_of, metrics_of, objective_of
from opdsl.workflow.losses.terms import typed_losses

PLANE = """edition 2026

model M {
  domain D = grid(x: 0..2, y: 1..2, boundary = periodic, min = 8)
  input a : D -> R^1
  input k : R^1
  output u : D -> R^{vx, vy}

  u = concat(a, broadcast(k, to = D)) |> linear(out = 2)
}
"""
FLAT = PLANE.replace("  input k : R^1\n", "").replace("concat(a, broadcast(k, to = D))", "a")


def losses(loss, program=PLANE, **settings):
    source = Source("<text>", program)
    graph = check(source).sound()
    resolved = Settings(loss=loss, **settings)
    return graph, typed_losses(graph, resolved, parse(source)[0])


def objective(loss, program=PLANE, **settings):
    graph, typed = losses(loss, program, **settings)
    return objective_of(graph, typed.loss)


def plane(batch=3, units=None, weights=None, n=8, loop=None):
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    units = units or FieldUnits()
    steps = () if loop is None else (4,)
    truth = {"u": random(batch, *steps, 2, n, n) / units.outputs.get("u", 1.0)}
    outputs = {"u": random(batch, *steps, 2, n, n).requires_grad_()}
    inputs = {
        "a": random(batch, 1, n, n) / units.inputs.get("a", 1.0),
        "k": random(batch, 1),
    }
    samples = Samples(inputs, truth if loop is None else {"u": truth["u"][:, 0]})
    scales = Normaliser.fit(samples, Normalise())
    grid = GridAxes((True, True), (2.0, 1.0))
    known = {} if weights is None else {"u": weights}
    return LossInputs(outputs, Batch(inputs, truth, {}, known), {"u": grid}, scales, units, loop)


class Samples:
    name, fingerprint, resolution = "plane", "plane", (8, 8)

    def __init__(self, inputs, outputs):
        self.inputs, self.outputs = inputs, outputs

    def __len__(self):
        return len(self.inputs["a"])


def pair(x):
    return x.outputs["u"].detach(), x.batch.truth["u"]


# ------------------------------------------------------------------------------ values


@pytest.mark.parametrize(
    ("text", "name"),
    [("rel_l2(u)", "l2"), ("rel_h1(u)", "h1"), ("rel_h1_spectral(u)", "h1_spectral")],
)
def test_an_error_alone_is_the_loss_of_its_name_to_the_bit(text, name):
    x = plane()
    expected = NamedObjective(LOSSES.find(name))(x)
    found = objective(text)(x)
    assert torch.equal(found.total, expected.total)
    assert found.counted == expected.counted
    assert found.terms == {}


def test_samples_whose_truth_is_zero_have_no_relative_error():
    x = plane()
    x.batch.truth["u"][1] = 0
    expected = NamedObjective(LOSSES.find("l2"))(x)
    found = objective("rel_l2(u)")(x)
    assert torch.equal(found.total, expected.total)
    assert found.counted == 2
    assert objective("rel_l2(u) + mse(u)")(x).counted == 3


def test_terms_are_added_with_their_weights():
    x = plane()
    u, v = pair(x)
    found = objective("rel_l2(u) + 0.25 * mse(u) - mae(u) / 2")(x)
    mse, mae = (u - v).square().mean(), (u - v).abs().mean()
    assert found.terms["mse(u)"].item() == pytest.approx(mse.item())
    expected = found.terms["rel_l2(u)"].detach() + 0.25 * mse - mae / 2
    torch.testing.assert_close(found.total.detach(), expected)
    assert list(found.terms) == ["rel_l2(u)", "mse(u)", "mae(u)"]


def test_a_ramp_follows_the_epochs():
    found = objective("ramp(1, 3, epochs = 4) * mse(u)")
    x = plane()
    late = LossInputs(x.outputs, x.batch, x.grids, x.scales, x.units, None, 10, 2.0)
    torch.testing.assert_close(found(late).total, 2 * found(x).total)


def test_functions_are_in_physical_units_and_arithmetic_is_that_of_torch():
    units = FieldUnits({"a": 4.0}, {"u": 0.5})
    x = plane(units=units)
    u, a, k = x.outputs["u"].detach() * 0.5, x.batch.inputs["a"] * 4, x.batch.inputs["k"]
    expected = (a * u[:, :1] - 2 * k[:, :, None, None] + u[:, 1:]).square().mean()
    found = objective("mse(a * u.vx - 2 * k + u[1])")(x).total
    torch.testing.assert_close(found.detach(), expected)
    mse = (u - x.batch.truth["u"] * 0.5).square().mean()
    torch.testing.assert_close(objective("mse(u)")(x).total.detach(), mse)
    torch.testing.assert_close(objective("mse(u, truth(u))")(x).total.detach(), mse)


def test_normalised_errors_do_not_depend_on_the_unit():
    results = []
    for unit in (1.0, 1024.0):
        x = plane()
        for fields in (x.outputs, x.batch.truth):
            fields["u"] = fields["u"].detach() * unit
        scales = Normaliser.fit(Samples(x.batch.inputs, x.batch.truth), Normalise())
        y = LossInputs(x.outputs, x.batch, x.grids, scales)
        results.append(objective("mse(u, units = normalised)")(y).total)
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=0)
    deviation = x.batch.truth["u"].std((0, 2, 3), unbiased=False)[None, :, None, None]
    expected = ((x.outputs["u"] - x.batch.truth["u"]) / deviation).square().mean()
    torch.testing.assert_close(results[1], expected, rtol=1e-3, atol=0)


def test_the_mean_over_channels_of_their_errors():
    x = plane()
    u, v = pair(x)
    each = (u - v).square().sum((2, 3)).sqrt() / v.square().sum((2, 3)).sqrt()
    found = objective("rel_l2(u, per = channel)")(x).total
    torch.testing.assert_close(found.detach(), each.mean())


def test_derivatives_and_coordinates_are_those_of_the_domain():
    """On 0..2 x 1..2: u = sin(pi x) y has du/dx = pi cos(pi x) y."""
    x = plane(n=16)
    px = torch.arange(16, dtype=torch.float64)[:, None] / 8
    py = 1 + torch.arange(16, dtype=torch.float64)[None] / 16
    u = torch.stack([torch.sin(torch.pi * px) * py] * 2)[None].expand(3, -1, -1, -1)
    x.outputs["u"] = u
    text = "mse(d(u.vx, x) - 3.141592653589793 * cos(3.141592653589793 * x) * y)"
    assert objective(text)(x).total.item() == pytest.approx(0, abs=1e-20)
    assert objective("mse(u.vx - sin(3.141592653589793 * x) * y)")(x).total.item() < 1e-30
    mean = objective("mse(mean(u.vy * u.vy), 0)")(x).total.item()
    assert mean == pytest.approx(float(u[0, 0].square().mean()) ** 2)


def test_steps_in_time_are_samples_and_dt_is_along_them():
    loop = Rollout((("u", "a"),), {"a": 2, "k": 0})
    x = plane(loop=loop)
    u, v = pair(x)
    found = objective("mse(u)", rollout=4)(x)
    torch.testing.assert_close(found.total.detach(), (u - v).square().mean())
    ramp = torch.arange(4, dtype=torch.float64)[None, :, None, None, None].expand_as(u)
    x.outputs["u"] = 3 * ramp
    assert objective("mse(dt(u, step = 0.5), 6)", rollout=4)(x).total.item() < 1e-20
    repeated = x.batch.inputs["a"][:, None].expand(-1, 4, -1, -1, -1)
    expected = (3 * ramp - repeated).square().mean()
    torch.testing.assert_close(objective("mse(u, a)", rollout=4)(x).total, expected)


def test_masked_values_do_not_count_and_channels_have_their_own():
    mask = torch.ones(3, 2, 8, 8, dtype=torch.float64)
    mask[:, 0, :4] = 0
    x = plane(weights=mask)
    u, v = pair(x)
    e = (u - v).square()
    expected = (e[:, 0, 4:].sum() + e[:, 1].sum()) / (3 * 96)
    torch.testing.assert_close(objective("mse(u)")(x).total.detach(), expected)
    torch.testing.assert_close(objective("mse(u.vx)")(x).total.detach(), e[:, 0, 4:].mean())
    both = (u[:, 0] * u[:, 1])[:, 4:].square().mean()
    torch.testing.assert_close(objective("mse(u.vx * u.vy)")(x).total.detach(), both)


def test_metrics_are_means_over_all_samples():
    graph, typed = losses("l2", eval={"metrics": ["mse(u)", "mae(u) + rmse(u)"]})
    sums = metrics_of(graph, typed.metrics).sums()
    first, second = plane(3), plane(1)
    for x in (first, second):
        sums.add(x)
    e = torch.cat([u - v for u, v in (pair(first), pair(second))])
    found = sums.means()
    assert found["mse(u)"] == pytest.approx(e.square().mean().item())
    rmse = e.square().mean((1, 2, 3)).sqrt().mean()
    assert found["mae(u) + rmse(u)"] == pytest.approx((e.abs().mean() + rmse).item())


# ------------------------------------------------------------------------------ other domains


def test_errors_on_a_sphere_have_its_quadrature_weights():
    program = PLANE.replace(
        "grid(x: 0..2, y: 1..2, boundary = periodic, min = 8)", "sphere(lat, lon)"
    )
    x = plane(n=8)
    weights = torch.rand(1, 1, 8, 1, dtype=torch.float64).expand(1, 1, 8, 8)
    y = LossInputs(
        x.outputs, Batch(x.batch.inputs, x.batch.truth, {}, {"u": weights}), {}, x.scales
    )
    u, v = pair(y)
    expected = ((u - v).square() * weights).sum((1, 2, 3)) / (2 * weights.sum())
    torch.testing.assert_close(objective("mse(u)", program)(y).total.detach(), expected.mean())


QUERIES = """edition 2026

model M {
  domain Q = points(2, geometry = per_sample)
  input k : R^1
  output p : Q -> R^1

  p = mul(broadcast(k, to = Q), linear(coords(Q), out = 1))
}
"""


def test_derivatives_at_queries_are_those_of_automatic_differentiation():
    """p = k (w . x + b): its gradient is k w at every point of every sample."""
    graph, typed = losses("mse(grad(p), k * 2)", QUERIES)
    made = objective_of(graph, typed.loss)
    module = opdsl.compile(QUERIES)
    generator = torch.Generator().manual_seed(1)
    places = {"Q": tuple(Geometry(torch.rand(n, 2, generator=generator)) for n in (5, 3))}
    batch = made.prepare(Batch({"k": torch.tensor([[1.0], [3.0]])}, {}, places))
    p = module(k=batch.inputs["k"], Q=batch.places["Q"])
    assert isinstance(p, Packed)
    scales = Normaliser({}, {})
    found = made(LossInputs({"p": p}, batch, {}, scales)).total
    (weight,) = (x for x in module.parameters() if x.numel() == 2)
    gradient = batch.inputs["k"] * weight.reshape(1, 2)
    expected = (gradient - 2 * batch.inputs["k"]).square().mean()
    torch.testing.assert_close(found, expected)
    found.backward()
    assert weight.grad is not None


def test_the_axes_of_a_grid_are_those_of_the_domain():
    graph, _ = losses("l2")
    assert grid_of(graph.outputs[0].space.domain) == GridAxes(
        (True, True), (2.0, 1.0), ("lower", "lower"), (None, None)
    )


# ------------------------------------------------------------------------------ runs


@pytest.fixture
def data():
    a = np.random.default_rng(0).normal(size=(12, 1, 8, 8)).astype("float32")
    return {"a": a, "u": np.concatenate([2 * a, a], 1)}


QUICK = {"epochs": 3, "batch": 4, "valid": 0.25}


def test_a_run_learns_as_with_the_name_and_reports_its_terms(tmp_path, data):
    named = opdsl.train(FLAT, data=data, out=tmp_path / "a", **QUICK)
    text = opdsl.train(FLAT, data=data, out=tmp_path / "b", loss="rel_l2(u)", **QUICK)
    losses_of = [[x["train_loss"] for x in run.metrics.history] for run in (named, text)]
    assert losses_of[0] == losses_of[1]
    both = opdsl.train(
        FLAT,
        data=data,
        out=tmp_path / "c",
        loss="rel_l2(u) + 2 * mse(div(u))",
        **{"eval.metrics": "vrmse(u)"},
        **QUICK,
    )
    for row in both.metrics.history:
        terms = row["terms"]
        total = terms["rel_l2(u)"] + 2 * terms["mse(div(u))"]
        assert row["train_loss"] == pytest.approx(total, rel=1e-5)
        assert row["valid"]["expressions"].keys() == {"vrmse(u)"}
    report = both.evaluate(data)
    u, v = torch.as_tensor(both.predict(data["a"])), torch.as_tensor(data["u"])
    square, variance = (u - v).square().mean((2, 3)), v.var((2, 3), unbiased=False)
    expected = (square / (variance + 1e-7)).sqrt().mean().item()
    assert report.rows()[0]["expressions"]["vrmse(u)"] == pytest.approx(expected, rel=1e-4)


def test_a_resumed_run_with_an_expression_is_equal_to_the_bit(tmp_path, data):
    program = f"{FLAT}\ntrain M {{\n  loss = ramp(0, 1, epochs = 2) * mse(u) + rel_l2(u)\n}}\n"
    whole = opdsl.train(program, data=data, out=tmp_path / "a", **QUICK)
    part = opdsl.train(
        program,
        data=data,
        out=tmp_path / "b",
        **(QUICK | {"epochs": 1}),
        **{"schedule.kind": "constant"},
    )
    steady = opdsl.train(
        program, data=data, out=tmp_path / "c", **QUICK, **{"schedule.kind": "constant"}
    )
    resumed = opdsl.resume(part, data=data, epochs=3)
    assert [x["terms"] for x in resumed.metrics.history] == [
        x["terms"] for x in steady.metrics.history
    ]
    assert whole.metrics.history[0]["terms"].keys() == {"mse(u)", "rel_l2(u)"}


def test_a_function_of_python_is_a_loss(tmp_path, data):
    seen = []

    def squares(outputs, truth, inputs):
        seen.append((tuple(outputs.shape), tuple(truth.shape), sorted(inputs)))
        return (outputs - truth).square().mean((1, 2, 3))

    run = opdsl.train(FLAT, data=data, loss=squares, out=tmp_path / "a", **QUICK)
    same = opdsl.train(FLAT, data=data, loss="mse(u)", out=tmp_path / "b", **QUICK)
    assert [x["train_loss"] for x in run.metrics.history] == pytest.approx(
        [x["train_loss"] for x in same.metrics.history], rel=1e-5
    )
    assert seen[0] == ((4, 2, 8, 8), (4, 2, 8, 8), ["a"])
    assert run.settings.loss == "function(squares)"
    again = opdsl.resume(run, data=data, epochs=4, loss=squares)
    assert len(again.metrics.history) == 4
    with pytest.raises(OpError, match="OP0709"):
        opdsl.resume(run, data=data, epochs=5)


def none(outputs, truth):
    del outputs, truth


def pixels(outputs, truth):
    return (outputs - truth)[:, 0]


def constant(outputs, truth):
    del outputs
    return truth.square().mean()


def alone(outputs):
    return outputs.mean()


@pytest.mark.parametrize("loss", [none, pixels, constant, alone])
def test_a_function_that_is_no_loss_is_one_diagnostic(tmp_path, data, loss):
    with pytest.raises(OpError) as info:
        opdsl.train(FLAT, data=data, loss=loss, out=tmp_path / "a", **QUICK)
    assert [x.code for x in info.value.diagnostics] == ["OP0707"]


def test_mistakes_are_reported_before_anything_is_written(tmp_path, data):
    with pytest.raises(OpError) as info:
        opdsl.train(FLAT, data=data, loss="rel_l2(w)", out=tmp_path / "a", **QUICK)
    assert [x.code for x in info.value.diagnostics] == ["OP0700"]
    assert not (tmp_path / "a").exists()


def test_a_derivative_of_a_masked_output_is_refused(tmp_path, data):
    holes = data | {"masks": {"u": np.ones((12, 1, 8, 8), bool)}}
    holes["masks"]["u"][:, :, 0, 0] = False
    with pytest.raises(OpError, match="OP0683"):
        opdsl.train(FLAT, data=holes, loss="mse(div(u))", out=tmp_path / "a", **QUICK)
    run = opdsl.train(FLAT, data=holes, loss="mse(u)", out=tmp_path / "b", **QUICK)
    assert len(run.metrics.history) == 3


def test_a_loss_of_another_package_is_a_term(monkeypatch):
    """`l1(u)`, as the recipe of CONTRIBUTING.md adds it."""

    def rel_l1(pred, true, weights, axes):
        del weights, axes
        return (pred - true).abs().sum((1, 2, 3)) / true.abs().sum((1, 2, 3))

    loss = Loss("||u - v||_1 / ||v||_1", rel_l1)

    class Entry:
        name = "l1"

        def load(self):
            return loss

    monkeypatch.setattr("opdsl.registry._entry_points", lambda _: (Entry(),))
    x = plane()
    u, v = pair(x)
    expected = ((u - v).abs().sum((1, 2, 3)) / v.abs().sum((1, 2, 3))).mean()
    found = objective("2 * l1(u)")(x).total
    torch.testing.assert_close(found.detach(), 2 * expected)
    assert objective("l2(u) + l1(u, a)")(x).terms.keys() == {"l2(u)", "l1(u, a)"}
