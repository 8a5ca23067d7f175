"""Averages, early stopping, plateaus, curricula, growing modes, noise and recomputed results."""

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

import opdsl
from opdsl.diagnostics import OpError
from opdsl.setting import Setting
from opdsl.train.config.optimization import Incremental
from opdsl.train.config.schema import (
    Average,
    Checkpoint,
    Curriculum,
    Eval,
    Normalise,
    Optimizer,
    Schedule,
    Stop,
)
from opdsl.train.config.settings import resolve
from opdsl.train.engine.fit import fit
from opdsl.train.engine.forward.training_forward import TrainingForward
from opdsl.train.engine.loader import Batch
from opdsl.train.engine.precision import PrecisionPolicy
from opdsl.train.engine.train_state import RunPosition
from opdsl.train.engine.weights.averages import WeightAverage
from opdsl.train.engine.weights.mode_growth import explaining, grow
from opdsl.train.metrics.evaluate import evaluate
from opdsl.train.run.checkpoint import CheckpointStore
from opdsl.train.run.listener import SilentListener
from opdsl.train.run.trained import load_trained
from opdsl.train.scaling.normalise import Normaliser
from tests.unit.train.engine.test_fit import NEAR, break_off, learn, same, untimed
from tests.unit.train.engine.test_rollout import LOOP, PERIODIC, STEPS, Step, by_hand, moving
from tests.unit.train.toy_problem import Toy, quick

# ---------------------------------------------------------------------------------- averages


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_a_mean_of_weights_is_that_of_torch(kind):
    def growing(means, values, count):
        # the decay of TensorFlow's ExponentialMovingAverage with `num_updates`
        get_ema_multi_avg_fn(min(0.25, (1 + int(count)) / (10 + int(count))))(means, values, count)

    module = Toy()
    mean_of = growing if kind == "ema" else get_swa_multi_avg_fn()
    theirs = AveragedModel(module, multi_avg_fn=mean_of)
    ours = WeightAverage(Average(kind=kind, decay=0.25, start=0.0), module)
    for epoch in range(6):
        with torch.no_grad():
            for p in module.parameters():
                p.add_(torch.randn_like(p))
        ours.after_step()
        ours.after_epoch(epoch, 6)
        theirs.update_parameters(module)
    raw = {k: x.clone() for k, x in module.state_dict().items()}
    with ours.in_use():
        assert same(module, theirs.module)
    assert all(torch.equal(x, raw[k]) for k, x in module.state_dict().items())


AVERAGES = [Average(kind="ema", decay=0.8), Average(kind="swa", start=0.5)]


@pytest.mark.parametrize("average", AVERAGES, ids=lambda x: x.kind)
def test_a_resumed_run_has_the_mean_of_the_uninterrupted_one(tmp_path, average):
    settings = quick(5, average=average, checkpoint=Checkpoint(steps=1))
    whole, expected = learn(tmp_path / "whole", settings)
    break_off(tmp_path / "run", settings, epoch=4)
    again, out = learn(tmp_path / "run", settings, resume=True)
    assert same(whole, again)
    assert untimed(out.history) == untimed(expected.history)
    assert out.best == expected.best


@pytest.mark.parametrize("average", AVERAGES, ids=lambda x: x.kind)
def test_training_itself_does_not_see_the_mean(tmp_path, average):
    plain = quick(3)
    learn(tmp_path / "plain", plain)
    learn(tmp_path / "mean", plain.model_copy(update={"average": average}))
    states = [CheckpointStore(tmp_path / x).load("step") for x in ("plain", "mean")]
    assert all(torch.equal(x, states[1]["module"][k]) for k, x in states[0]["module"].items())


@pytest.mark.parametrize("valid", [NEAR, None])
def test_errors_and_results_are_those_of_the_mean(tmp_path, valid):
    settings = quick(3, average=AVERAGES[0])
    module, out = learn(tmp_path / "run", settings, valid=valid)
    state = CheckpointStore(tmp_path / "run").load("step")
    mean, trained = state["average"]["values"], Toy()
    load_trained(tmp_path / "run", trained, "last")
    for found in (module, trained):
        assert all(torch.equal(x, mean[k]) for k, x in found.state_dict().items())
    if valid:
        errors = evaluate(trained, out.normaliser, NEAR, device="cpu")
        assert errors.rel_l2 == pytest.approx(out.history[-1]["valid"]["rel_l2"])


def test_swa_is_the_mean_over_the_last_epochs(tmp_path):
    ends = []
    for epochs in (3, 4):
        settings = quick(epochs).model_copy(
            update={"schedule": Schedule(kind="constant", epochs=epochs)}
        )
        module, _ = learn(tmp_path / str(epochs), settings)
        ends.append({k: x.clone() for k, x in module.state_dict().items()})
    settings = settings.model_copy(update={"average": AVERAGES[1]})
    module, _ = learn(tmp_path / "mean", settings)
    for k, x in module.state_dict().items():
        torch.testing.assert_close(x, (ends[0][k] + ends[1][k]) / 2)


def test_a_run_without_a_mean_has_none_in_its_checkpoints(tmp_path):
    learn(tmp_path / "run", quick(1))
    assert "average" not in CheckpointStore(tmp_path / "run").load("step")


# -------------------------------------------------------------------- stopping and plateaus


def hopeless(epochs, **more):
    """Settings whose rate is too small for any error to fall by a tenth."""
    return quick(epochs, optimizer=Optimizer(kind="sgd", lr=1e-9), **more)


def test_a_run_ends_where_its_error_stays(tmp_path):
    settings = hopeless(20, stop=Stop(patience=3, min_change=0.1))
    _, out = learn(tmp_path / "run", settings)
    assert out.epochs == 4
    assert len(out.history) == 4
    assert CheckpointStore(tmp_path / "run").load("step")["epoch"] == 4


def test_a_run_that_stopped_stays_and_goes_on_with_more_patience(tmp_path):
    stop = Stop(patience=2, min_change=0.1)
    learn(tmp_path / "run", hopeless(20, stop=stop, checkpoint=Checkpoint(every=50)))
    _, out = learn(tmp_path / "run", hopeless(20, stop=stop), resume=True)
    assert out.epochs == 3
    more = hopeless(20, stop=stop.model_copy(update={"patience": 4}))
    _, out = learn(tmp_path / "run", more, resume=True)
    assert out.epochs == 5


def test_epochs_without_validation_do_not_count(tmp_path):
    settings = hopeless(20, stop=Stop(patience=2, min_change=0.1), eval=Eval(every=3))
    _, out = learn(tmp_path / "run", settings)
    assert out.epochs == 9


def test_the_rate_falls_on_a_plateau_and_after_an_interruption_too(tmp_path):
    schedule = Schedule(kind="plateau", epochs=6, patience=1, gamma=0.1, min_change=0.1)
    settings = hopeless(6, checkpoint=Checkpoint(steps=1)).model_copy(update={"schedule": schedule})
    _, expected = learn(tmp_path / "whole", settings)
    break_off(tmp_path / "run", settings, epoch=5)
    _, out = learn(tmp_path / "run", settings, resume=True)
    rates = [row["lr"] / 1e-9 for row in out.history]
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01])
    assert untimed(out.history) == untimed(expected.history)


@pytest.mark.parametrize(
    "more", [{"stop": Stop(patience=3)}, {"schedule": Schedule(kind="plateau", epochs=2)}]
)
def test_what_needs_validation_data_is_refused_without(tmp_path, more):
    with pytest.raises(OpError) as caught:
        learn(tmp_path / "run", quick(2).model_copy(update=more), valid=None)
    assert caught.value.diagnostics[0].code == "OP0731"


# ------------------------------------------------------------------------- steps in time


def forward(rule, horizon=None, module=None, size=4):
    module, train = module or Step(), moving(size)
    normaliser = Normaliser.fit(train, Normalise(inputs="none", outputs="none"), LOOP)
    policy = PrecisionPolicy("fp32", torch.device("cpu"))
    batch = Batch(train.inputs, train.outputs)
    return module, train, *rule.run(module, normaliser, batch, policy, LOOP, horizon)


def test_the_gradient_passes_the_last_step_only():
    module, train, outputs, batch = forward(TrainingForward(pushforward="last"))
    assert outputs["v"].shape == batch.truth["v"].shape == (4, 1, 1, 8)
    outputs["v"].square().sum().backward()
    a = module.a.detach().clone().requires_grad_()
    u, s, f = (train.inputs[k] for k in ("u", "s", "f"))
    with torch.no_grad():
        before = by_hand(u, s, f, a, STEPS - 1)[:, -1]
        state = a[2] * before
    v = a[0] * before + a[1] * state + f[:, -1]
    v.square().sum().backward()
    torch.testing.assert_close(module.a.grad, a.grad)


def test_the_gradient_of_each_step_passes_this_step():
    module, train, outputs, batch = forward(TrainingForward(pushforward="each"))
    assert outputs["v"].shape == batch.truth["v"].shape == (4, STEPS, 1, 8)
    outputs["v"].square().sum().backward()
    a = module.a.detach().clone().requires_grad_()
    u, s, f = (train.inputs[k] for k in ("u", "s", "f"))
    total = 0
    for i in range(STEPS):
        v = a[0] * u + a[1] * s + f[:, i]
        total = total + v.square().sum()
        u, s = v.detach(), (a[2] * v).detach()
    total.backward()
    torch.testing.assert_close(module.a.grad, a.grad)


def test_a_horizon_shortens_the_rollout_and_its_truth():
    _, train, outputs, batch = forward(TrainingForward(), horizon=2)
    assert outputs["v"].shape[1] == 2
    assert torch.equal(batch.truth["v"], train.outputs["v"][:, :2])
    assert torch.equal(batch.inputs["f"], train.inputs["f"][:, :2])
    assert torch.equal(batch.inputs["u"], train.inputs["u"])


def test_a_curriculum_grows_linearly_and_ends():
    plan = Curriculum(start=1, until=0.5)
    assert [plan.steps(i, 10, 5) for i in range(10)] == [1, 1, 2, 3, 4, 5, 5, 5, 5, 5]
    assert Curriculum().steps(0, 10, 5) == 5


def test_a_run_with_a_curriculum_has_shorter_rollouts_first(tmp_path):
    lengths = []

    class Counts(Step):
        def forward(self, **arguments):
            lengths.append(self.training)
            return super().forward(**arguments)

    settings = quick(4, batch=10, rollout=STEPS, curriculum=Curriculum(start=1, until=0.9))
    fit(Counts(), moving(), None, settings, tmp_path / "run", periodic=PERIODIC, meta={}, loop=LOOP)
    assert sum(lengths) == 1 + 1 + 2 + 2
    with pytest.raises(OpError) as caught:
        resolve([Setting(("curriculum", "start"), 1, "here")])
    assert caught.value.diagnostics[0].code == "OP0731"


@pytest.mark.parametrize("pushforward", ["each", "last"])
def test_a_resumed_rollout_equals_the_uninterrupted_one(tmp_path, pushforward):
    from tests.unit.train.engine.test_fit import Stop as Breaks

    more = {"rollout": STEPS, "pushforward": pushforward, "noise": 0.1}
    settings = quick(4, curriculum=Curriculum(start=1), checkpoint=Checkpoint(steps=1), **more)

    def run(name, **more):
        module = Step()
        fit(
            module,
            moving(),
            moving(seed=2),
            settings,
            tmp_path / name,
            periodic=PERIODIC,
            meta={},
            loop=LOOP,
            **more,
        )
        return module

    whole = run("whole")
    with pytest.raises(RuntimeError, match="the plug"):
        run("broken", listener=Breaks(3, 1))
    assert same(whole, run("broken", resume=True))


# ------------------------------------------------------------------------------------- noise


def test_noise_has_its_deviation_and_is_on_what_comes_back_in_the_first_step():
    calls = []

    class Sees(Step):
        def forward(self, **arguments):
            calls.append(arguments)
            return super().forward(**arguments)

    torch.manual_seed(1)
    _, train, *_ = forward(TrainingForward(noise=0.5), module=Sees(), size=600)
    noise = calls[0]["u"] - train.inputs["u"]
    assert float(noise.std()) == pytest.approx(0.5, rel=0.05)
    assert abs(float(noise.mean())) < 0.03
    assert torch.equal(calls[0]["f"], train.inputs["f"][:, 0])
    v = by_hand(calls[0]["u"], calls[0]["s"], train.inputs["f"], Step().a, 1)[:, 0]
    torch.testing.assert_close(calls[1]["u"], v)


def test_validation_has_no_noise(tmp_path):
    settings = quick(1, noise=10.0, optimizer=Optimizer(kind="sgd", lr=1e-12), batch=12)
    module, out = learn(tmp_path / "run", settings, module=Toy(dropout=0.0))
    errors = evaluate(module, out.normaliser, NEAR, device="cpu")
    assert errors.rel_l2 == pytest.approx(out.history[0]["valid"]["rel_l2"], rel=1e-5)


# ---------------------------------------------------------------------------- growing modes


def test_the_modes_that_explain_a_gradient():
    assert explaining([1.0, 1.0, 1.0, 1.0], 0.5) == 1
    assert explaining([0.0, 9.9, 0.1], 0.99) == 1
    assert explaining([0.0, 0.0], 0.9) == 0


def test_a_mode_is_added_where_the_loss_stays():
    plan, at = Incremental(kind="loss_gap", start=3, gap=0.1), RunPosition()
    seen, limit = [], 3
    for loss in (1.0, 0.5, 0.48, None, 0.4, 0.38):
        grow(plan, at, limit, loss)
        limit = at.modes
        seen.append(limit)
    assert seen == [3, 3, 4, 4, 4, 5]


def test_modes_are_added_behind_those_that_explain_the_gradient():
    plan = Incremental(kind="gradient", start=3, explained=0.9, buffer=2)
    at = RunPosition(mode_gradients=[5.0, 3.0, 0.5, 0.1, 9.0])
    grow(plan, at, 3, 1.0)
    assert at.modes == 3  # 0 and 1 explain nine tenths of what takes part
    at.mode_gradients = [1.0, 1.0, 1.0, 1.0, 9.0]
    grow(plan, at, 3, 1.0)
    assert (at.modes, at.mode_gradients) == (5, [])


PROGRAM = """
edition 2026
model Waves {
  domain D = grid(x: 0..1, y: 0..1, boundary = PLACE, min = 17)
  input a : D -> R^2
  output u : D -> R^1
  h = a |> linear(out = 4) |> spectral_conv(out = 4, modes = 5) |> gelu()
  g = h |> spectral_conv(out = 4, modes = 3) |> gelu()
  u = concat(h, g) |> linear(out = 1)
}
"""


def waves(boundary="periodic"):
    torch.manual_seed(2)
    return opdsl.compile(PROGRAM.replace("PLACE", boundary))


@pytest.mark.parametrize("boundary", ["periodic", "dirichlet"])
def test_gradients_by_mode_are_those_of_the_modes_that_a_limit_leaves(boundary):
    module = waves(boundary)
    x = torch.randn(2, 2, 17, 17)
    module.limit_modes(2)
    module(x).square().sum().backward()
    squares = module.gradient_by_mode()
    spectral = [p for p in module.parameters() if p.dim() > 4]
    total = sum(p.grad.double().square().sum() for p in spectral)
    assert float(squares.sum()) == pytest.approx(float(total), rel=1e-6)
    assert len(squares) == 6
    assert float(squares[3:].sum()) == 0 < float(squares[2])
    if boundary == "periodic":
        first = spectral[0].grad  # (kx = -5 ... 5, ky = 0 ... 5, in, out, 2)
        second = spectral[1].grad
        mean = first[5, 0].double().square().sum() + second[3, 0].double().square().sum()
        assert float(squares[0]) == pytest.approx(float(mean), rel=1e-6)


@pytest.mark.parametrize("kind", ["loss_gap", "gradient"])
def test_growing_modes_end_whole_and_resume_to_the_bit(tmp_path, kind):
    plan = Incremental(kind=kind, start=1, until=0.8, gap=1.0, explained=0.999, buffer=1)
    settings = quick(5, incremental=plan, checkpoint=Checkpoint(steps=1), batch=4)
    a = torch.randn(8, 2, 17, 17, generator=torch.Generator().manual_seed(1))
    from tests.unit.train.toy_problem import Cloud

    data = Cloud({"a": a}, {"u": a[:, :1].roll(3, -1) * 2}, resolution=(17, 17))

    def run(name, **more):
        limits = []

        class Watches(more.pop("listener", SilentListener)):
            def epoch(self, row):
                limits.append(module.modules_limit())

        module = waves()
        layers = [x for x in module.modules() if hasattr(x, "active_modes")]
        module.modules_limit = lambda: layers[0].active_modes
        out = fit(
            module, data, data, settings, tmp_path / name, meta={}, listener=Watches(), **more
        )
        return module, out, limits

    whole, out, limits = run("whole")
    assert limits[0] == (1, 1)
    assert limits[-1] is None
    sizes = [x[0] for x in limits if x]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 1
    assert out.best_epoch > len(sizes)

    class Breaks(SilentListener):
        def step(self, epoch, step, loss):
            if (epoch, step) == (3, 1):
                raise RuntimeError("the plug was pulled")

    with pytest.raises(RuntimeError, match="the plug"):
        run("broken", listener=Breaks)
    again, _, _ = run("broken", resume=True)
    assert same(whole, again)


def test_products_of_factors_have_no_gradient_by_mode():
    text = PROGRAM.replace("modes = 5)", 'modes = 5, factor = "tucker", rank = 0.5)')
    module = opdsl.compile(text.replace("PLACE", "periodic"))
    assert module.gradient_by_mode() is None


# ------------------------------------------------------------------------ recomputed results


def saved_bytes(module, x):
    sizes = {}

    def pack(t):
        sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = module(x)
    weights = {p.untyped_storage().data_ptr() for p in module.parameters()}
    return y, sum(v for k, v in sizes.items() if k not in weights)


@pytest.mark.parametrize("wanted", [lambda _: True, lambda path: path.startswith("h")])
def test_recomputed_results_have_equal_gradients_and_take_less_memory(wanted):
    module, x = waves(), torch.randn(4, 2, 17, 17)
    module.train()
    y, kept = saved_bytes(module, x)
    y.square().sum().backward()
    expected = {k: p.grad.clone() for k, p in module.named_parameters()}
    module.zero_grad()
    module.recompute(wanted)
    again, less = saved_bytes(module, x)
    assert torch.equal(y, again)
    again.square().sum().backward()
    assert all(torch.equal(p.grad, expected[k]) for k, p in module.named_parameters())
    assert less < 0.7 * kept
    module.recompute(None)
    assert saved_bytes(module, x)[1] == kept


def test_dropout_is_recomputed_with_equal_numbers():
    text = PROGRAM.replace("PLACE", "periodic").replace("|> gelu()", "|> dropout(p = 0.5)")
    torch.manual_seed(0)
    module, x = opdsl.compile(text).train(), torch.randn(2, 2, 17, 17)
    gradients = []
    for wanted in (None, lambda _: True):
        module.zero_grad()
        module.recompute(wanted)
        torch.manual_seed(5)
        module(x).square().sum().backward()
        gradients.append([p.grad.clone() for p in module.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("recompute", [True, ["h"]])
def test_a_run_that_recomputes_equals_one_that_keeps(tmp_path, recompute):
    from tests.unit.train.toy_problem import Cloud

    a = torch.randn(8, 2, 17, 17, generator=torch.Generator().manual_seed(1))
    data = Cloud({"a": a}, {"u": a[:, :1] * 2}, resolution=(17, 17))
    modules = []
    for i, x in enumerate((False, recompute)):
        module = waves()
        fit(module, data, None, quick(2, recompute=x, batch=4), tmp_path / str(i), meta={})
        assert module.recomputed is None
        modules.append(module)
    assert same(*modules)


def test_steps_of_a_rollout_are_recomputed(tmp_path):
    modules = []
    for x in (False, True):
        module = Step(noise=0.3)
        torch.manual_seed(4)
        settings = quick(2, rollout=STEPS, recompute=x)
        fit(module, moving(), None, settings, tmp_path / str(x), meta={}, loop=LOOP)
        modules.append(module)
    assert same(*modules)
