"""Fit: it learns, repeats itself to the bit, resumes, and says what is wrong."""

import json
import threading

import pytest
import torch
from torch import nn

from opdsl.diagnostics import OpError
from opdsl.train.config.changes import Change, read_changes
from opdsl.train.config.data_section import Data
from opdsl.train.config.schema import Checkpoint, Eval, Incremental, Normalise, Optimizer, Schedule
from opdsl.train.engine.fit import fit
from opdsl.train.engine.loop import Training
from opdsl.train.engine.precision import PrecisionPolicy
from opdsl.train.engine.rates import Rate
from opdsl.train.engine.step import TrainStep
from opdsl.train.losses import LOSSES
from opdsl.train.losses.objective.named import NamedObjective
from opdsl.train.metrics.evaluate import evaluate, predict
from opdsl.train.run.checkpoint import CheckpointStore
from opdsl.train.run.listener import SilentListener
from opdsl.train.run.metrics_log import read_metrics
from opdsl.train.run.trained import load_trained, trained_state
from opdsl.train.scaling.normalise import Normaliser
from tests.unit.train.toy_problem import Toy, cloud, quick

NEAR = cloud(seed=2)
RARELY = {"checkpoint": Checkpoint(every=1000)}  # waiting for the disk is most of the time


def learn(run, settings=None, *, module=None, train=None, valid=NEAR, arch="toy", **more):
    torch.manual_seed(7)
    module = module or Toy()
    data = cloud() if train is None else train
    settings = settings or quick()
    periodic = {"u": (True,)}
    out = fit(module, data, valid, settings, run, periodic=periodic, meta={"arch": arch}, **more)
    return module, out


def told(run, *arguments, **more):
    with pytest.raises(OpError) as caught:
        learn(run, *arguments, **more)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def same(a, b):
    return all(torch.equal(x, b.state_dict()[k]) for k, x in a.state_dict().items())


class Stop(SilentListener):
    """Ends a run as an accident would, after a step."""

    def __init__(self, epoch, step):
        self.at, self.notes = (epoch, step), []

    def step(self, epoch, step, loss):
        if (epoch, step) == self.at:
            raise RuntimeError("the plug was pulled")

    def note(self, text):
        self.notes.append(text)


def break_off(run, settings, epoch=3, step=2, **more):
    with pytest.raises(RuntimeError, match="the plug"):
        learn(run, settings, listener=Stop(epoch, step), **more)


# -------------------------------------------------------------------------------- it learns


def test_a_linear_map_is_learnt(tmp_path):
    settings = quick(150, optimizer=Optimizer(lr=0.05, weight_decay=0.0), **RARELY)
    module, out = learn(tmp_path / "run", settings, module=nn_of_one_layer(), valid=None)
    assert evaluate(module, out.normaliser, cloud(seed=2), device="cpu").rel_l2 < 1e-3


def nn_of_one_layer():
    class Line(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Linear(2, 1)

        def forward(self, a):
            return {"u": self.map(a.mT).mT}

    return Line()


SCHEDULES = ("constant", "cosine", "step", "one_cycle")


@pytest.mark.parametrize(
    ("kind", "schedule"),
    [
        *(("adamw", x) for x in SCHEDULES),
        *((x, "constant") for x in ("adam", "sgd")),
        *(
            pytest.param(x, y, marks=pytest.mark.slow)
            for x in ("adam", "sgd")
            for y in SCHEDULES[1:]
        ),
    ],
)
def test_twenty_epochs_lower_the_loss(tmp_path, kind, schedule):
    settings = quick(20, optimizer=Optimizer(kind=kind, lr=0.02), loss="h1", **RARELY)
    settings = settings.model_copy(update={"schedule": Schedule(kind=schedule, epochs=20)})
    _, out = learn(tmp_path / "run", settings, valid=None)
    assert out.history[-1]["train_loss"] < 0.7 * out.history[0]["train_loss"]


@pytest.mark.parametrize("precision", ["bf16", "fp64", "mixed"])
def test_every_precision_of_a_cpu_learns(tmp_path, precision):
    module, out = learn(tmp_path / "run", quick(10, precision=precision))
    assert out.history[-1]["train_loss"] < out.history[0]["train_loss"]
    expected = torch.float64 if precision == "fp64" else torch.float32
    assert module.first.weight.dtype == expected


def test_the_gradient_is_clipped_to_its_norm():
    train, module = cloud(), Toy(dropout=0.0)
    normaliser = Normaliser.fit(train, Normalise())
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    policy = PrecisionPolicy("fp32", torch.device("cpu"))
    step = TrainStep(
        module,
        normaliser,
        optimizer,
        policy.scaler(),
        policy,
        grids(train),
        named("l2"),
        0.01,
    )
    before = torch.cat([p.detach().flatten().clone() for p in module.parameters()])
    step.take(train.inputs, train.outputs, 1.0)
    after = torch.cat([p.detach().flatten() for p in module.parameters()])
    assert float((after - before).norm()) == pytest.approx(0.01, rel=1e-3)


def test_a_scaled_loss_that_overflows_halves_the_scale_and_is_no_fault():
    train, module = cloud(), Toy(dropout=0.0)
    normaliser = Normaliser.fit(train, Normalise())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    policy = PrecisionPolicy("fp16", torch.device("cpu"), products=torch.bfloat16, scaled=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, enabled=True)
    module.second.weight.register_hook(lambda g: g * 256)  # so that 2**127 is too much
    step = TrainStep(
        module,
        normaliser,
        optimizer,
        scaler,
        policy,
        grids(train),
        named("l2"),
        None,
    )
    before = module.first.weight.detach().clone()
    taken = [step.take(train.inputs, train.outputs, 1e-4) for _ in range(30)]
    assert (taken[0].moved, taken[0].overflow) == (False, True)
    assert scaler.get_scale() < 2.0**127
    assert taken[-1].moved
    assert not torch.equal(before, module.first.weight)


def test_the_scale_of_the_loss_does_not_change_the_step():
    results = []
    for scale in (1.0, 1024.0):
        torch.manual_seed(0)
        train, module = cloud(), Toy(dropout=0.0)
        normaliser = Normaliser.fit(train, Normalise())
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        policy = PrecisionPolicy("fp32", torch.device("cpu"))
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=True)
        step = TrainStep(
            module,
            normaliser,
            optimizer,
            scaler,
            policy,
            grids(train),
            named("h1"),
            0.01,
        )
        step.take(train.inputs, train.outputs, 0.1)
        results.append(module.first.weight.detach())
    torch.testing.assert_close(results[0], results[1])


def named(loss):
    return NamedObjective(LOSSES.find(loss))


def grids(samples):
    from opdsl.train.metrics.evaluate import grids_of

    return grids_of(samples, {}, {})


def test_the_loss_is_the_relative_error_in_physical_units(tmp_path):
    settings = quick(1, batch=12, optimizer=Optimizer(kind="sgd", lr=1e-12))
    module, out = learn(tmp_path / "run", settings, module=Toy(dropout=0.0), valid=None)
    errors = evaluate(module, out.normaliser, cloud(), device="cpu")
    assert out.history[0]["train_loss"] == pytest.approx(errors.rel_l2, rel=1e-5)


# ----------------------------------------------------------------------------- to the bit


def test_the_same_seed_gives_the_same_bits(tmp_path):
    first, _ = learn(tmp_path / "a")
    torch.rand(3)
    second, _ = learn(tmp_path / "b")
    assert same(first, second)


def test_another_seed_gives_others(tmp_path):
    first, _ = learn(tmp_path / "a")
    second, _ = learn(tmp_path / "b", quick(seed=1))
    assert not same(first, second)


@pytest.mark.parametrize("steps", [None, 1])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp64"])
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path, steps, precision):
    settings = quick(5, checkpoint=Checkpoint(steps=steps), precision=precision)
    whole, expected = learn(tmp_path / "whole", settings)
    break_off(tmp_path / "run", settings)
    again, out = learn(tmp_path / "run", settings, resume=True)
    assert same(whole, again)
    assert untimed(out.history) == untimed(expected.history)
    assert out.best == expected.best


def untimed(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def test_no_epoch_stands_twice_after_a_resume(tmp_path):
    settings = quick(6, checkpoint=Checkpoint(every=3))
    break_off(tmp_path / "run", settings, epoch=6)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 6, "torn')
    learn(tmp_path / "run", settings, resume=True)
    assert [row["epoch"] for row in read_metrics(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    first, done = learn(tmp_path / "run")
    again, out = learn(tmp_path / "run", resume=True)
    assert same(first, again)
    assert out.metrics == done.metrics


def test_resuming_where_nothing_was_saved_begins(tmp_path):
    first, _ = learn(tmp_path / "a")
    again, out = learn(tmp_path / "b", resume=True)
    assert same(first, again)
    assert out.notes == ("the folder holds no checkpoint: the run begins anew",)


def test_more_epochs_are_learnt_on_resume_and_the_change_is_said(tmp_path):
    learn(tmp_path / "run", quick(2))
    _, out = learn(tmp_path / "run", quick(4), resume=True)
    assert out.epochs == 4
    rates = Rate(Schedule(epochs=2), 0.01, 3)(6), Rate(Schedule(epochs=4), 0.01, 3)(6)
    assert rates == pytest.approx((0, 0.005))
    (change,) = out.changes
    assert change == Change(6, 2, "schedule.epochs", 2, 4, rates)
    assert read_changes(tmp_path / "run") == [change]
    assert out.notes == (
        "`schedule.epochs` 2 -> 4 from step 6 on (learning rate 0.005 instead of 0)",
    )


def test_a_change_is_recorded_once_and_stays_on_record(tmp_path):
    run = tmp_path / "run"
    learn(run, quick(2))
    break_off(
        run, quick(4), epoch=3, step=1, resume=True
    )  # before a checkpoint of the new settings
    _, out = learn(run, quick(4), resume=True)
    _, last = learn(run, quick(5), resume=True)
    assert [(x.step, x.before, x.after) for x in out.changes] == [(6, 2, 4)]
    assert [(x.step, x.before, x.after) for x in last.changes] == [(6, 2, 4), (12, 4, 5)]
    assert read_changes(run) == list(last.changes)


@pytest.mark.parametrize(
    ("more", "key", "was", "now"),
    [
        ({"batch": 4}, "batch", 5, 4),
        ({"seed": 1}, "seed", 0, 1),
        ({"loss": "h1"}, "loss", "l2", "h1"),
        ({"normalise": Normalise(inputs="none")}, "normalise.inputs", "channel", "none"),
        ({"data": Data(valid=0.2)}, "data.valid", "auto", 0.2),
        ({"data": Data(path="x.h5")}, "data.path", "none", "x.h5"),
    ],
)
def test_a_setting_that_makes_another_run_is_refused(tmp_path, more, key, was, now):
    run = tmp_path / "run"
    learn(run)
    diagnostic = told(run, quick(9, **more), resume=True)
    assert diagnostic.code == "OP0629"
    assert diagnostic.message == (
        f"`{key}` is {was} in this run and cannot become {now} while the run goes on"
    )
    assert diagnostic.helps[0].text == f"leave it out: the run goes on with {was}"
    assert not (run / "changes.jsonl").exists()


def test_a_run_cannot_end_before_the_epoch_that_it_has_begun(tmp_path):
    learn(tmp_path / "run", quick(4))
    diagnostic = told(tmp_path / "run", quick(3), resume=True)
    assert diagnostic.code == "OP0629"
    assert "has begun epoch 4" in diagnostic.message


def test_other_validation_data_are_refused(tmp_path):
    learn(tmp_path / "run", valid=cloud(seed=2, fingerprint="v0"))
    more = {"valid": cloud(seed=2, fingerprint="v1"), "resume": True}
    diagnostic = told(tmp_path / "run", **more)
    assert diagnostic.code == "OP0626"
    assert "validation data: fingerprint v0, now v1" in diagnostic.message


def test_modes_that_take_part_do_not_leave_when_epochs_are_added(tmp_path):
    plan = Incremental(start=2, until=0.5)
    learn(tmp_path / "run", quick(4, incremental=plan), module=Growing())
    module, _ = learn(tmp_path / "run", quick(8, incremental=plan), module=Growing(), resume=True)
    assert module.limits == [None] * 4


def test_a_setting_of_the_optimizer_changed_on_resume_holds(tmp_path):
    learn(tmp_path / "run", quick(2))
    settings = quick(3, optimizer=Optimizer(weight_decay=0.5, lr=0.01))
    learn(tmp_path / "run", settings, resume=True)
    state = CheckpointStore(tmp_path / "run").load()
    assert state["optimizer"]["param_groups"][0]["weight_decay"] == 0.5


# ------------------------------------------------------------------------------- refusals


def test_a_folder_with_a_run_is_refused(tmp_path):
    learn(tmp_path / "run")
    diagnostic = told(tmp_path / "run")
    assert diagnostic.code == "OP0624"
    assert "--resume" in diagnostic.helps[0].text


def test_another_program_is_refused(tmp_path):
    learn(tmp_path / "run")
    diagnostic = told(tmp_path / "run", arch="other", resume=True)
    assert diagnostic.code == "OP0626"
    assert diagnostic.message == "the run was begun with another program: arch toy, now other"


def test_other_data_are_refused(tmp_path):
    learn(tmp_path / "run")
    diagnostic = told(tmp_path / "run", train=cloud(fingerprint="f1"), resume=True)
    assert diagnostic.code == "OP0626"
    assert "fingerprint f0, now f1" in diagnostic.message


def test_weights_of_other_shapes_are_refused_without_a_traceback(tmp_path):
    learn(tmp_path / "run")
    assert told(tmp_path / "run", module=nn_of_one_layer(), resume=True).code == "OP0626"


def test_h1_without_a_grid_is_refused(tmp_path):
    with pytest.raises(OpError) as caught:
        fit(Toy(), cloud(), None, quick(loss="h1"), tmp_path, periodic={"u": ()}, meta={})
    assert caught.value.diagnostics[0].code == "OP0604"


def test_no_samples_are_refused(tmp_path):
    assert told(tmp_path / "run", train=cloud(size=0)).code == "OP0613"


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "run").write_text("a file")
    assert told(tmp_path / "run").code == "OP0625"


# -------------------------------------------------------------------------- what is written


def test_the_row_of_an_epoch_says_what_happened(tmp_path):
    learn(tmp_path / "run", quick(4, eval=Eval(every=3)))
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [bool(row["valid"]) for row in rows] == [False, False, True, True]
    assert [row["step"] for row in rows] == [3, 6, 9, 12]
    assert set(rows[2]["valid"]) == {"rel_l2", "rel_h1", "rmse", "max_error", "samples"}


def test_the_best_weights_are_those_of_the_best_epoch(tmp_path):
    settings = quick(6, optimizer=Optimizer(lr=0.3))
    _, out = learn(tmp_path / "run", settings, module=Toy())
    module = Toy()
    trained = load_trained(tmp_path / "run", module)
    errors = evaluate(module, trained.normaliser, cloud(seed=2), periodic={"u": (True,)})
    values = [row["valid"]["rel_l2"] for row in out.history]
    assert trained.epoch == out.best_epoch == values.index(min(values)) + 1
    assert errors.rel_l2 == pytest.approx(min(values), rel=1e-6)


def test_without_validation_the_last_weights_are_loaded(tmp_path):
    first, _ = learn(tmp_path / "run", valid=None)
    module = Toy()
    load_trained(tmp_path / "run", module)
    assert same(first, module)


def test_a_folder_without_a_run_has_no_weights(tmp_path):
    with pytest.raises(OpError) as caught:
        load_trained(tmp_path, Toy())
    assert caught.value.diagnostics[0].code == "OP0627"


def test_only_the_newest_checkpoints_stay(tmp_path):
    learn(tmp_path / "run", quick(5, checkpoint=Checkpoint(keep=2)))
    names = sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir())
    assert names[-2:] == ["step-00000012", "step-00000015"]
    assert len(names) == 3  # and the best


# ------------------------------------------------------------------------- evaluate, predict


def test_a_prediction_is_the_same_in_any_batch(tmp_path):
    module, out = learn(tmp_path / "run")
    inputs = cloud(seed=5).inputs
    one = predict(module, out.normaliser, inputs, device="cpu", batch=1)["u"]
    torch.testing.assert_close(predict(module, out.normaliser, inputs, device="cpu")["u"], one)


def test_metrics_are_those_of_a_direct_computation(tmp_path):
    module, out = learn(tmp_path / "run")
    test = cloud(size=7, seed=5)
    found = evaluate(module, out.normaliser, test, device="cpu", batch=3)
    error = (predict(module, out.normaliser, test.inputs)["u"] - test.outputs["u"]).double()
    norms = error.norm(dim=(1, 2)) / test.outputs["u"].double().norm(dim=(1, 2))
    assert found.rel_l2 == pytest.approx(float(norms.mean()), rel=1e-5)
    assert found.rmse == pytest.approx(float((error**2).mean().sqrt()), rel=1e-5)
    assert found.max_error == pytest.approx(float(error.abs().max()), rel=1e-5)
    assert found.samples == 7


def test_evaluation_leaves_dropout_on_and_draws_nothing(tmp_path):
    module, out = learn(tmp_path / "run")
    module.train()
    state = torch.get_rng_state()
    evaluate(module, out.normaliser, cloud(), device="cpu")
    assert module.training
    assert torch.equal(state, torch.get_rng_state())


def test_a_nan_anywhere_is_seen_in_every_metric():
    train = cloud()
    normaliser, module = Normaliser.fit(train, Normalise()), Toy()
    train.inputs["a"][3] = float("nan")
    found = evaluate(module, normaliser, train, device="cpu", batch=2)
    assert all(x != x for x in (found.rel_l2, found.rmse, found.max_error))  # noqa: PLR0124  NaN


def test_a_run_in_a_thread_needs_no_handlers(tmp_path):
    done = []
    thread = threading.Thread(target=lambda: done.append(learn(tmp_path / "run")))
    thread.start()
    thread.join()
    assert done


# ------------------------------------------------------------------------- few modes at first


class Growing(Toy):
    """The toy, with Fourier modes that it only counts."""

    greatest_modes = 8

    def __init__(self):
        super().__init__()
        self.limits = []

    def limit_modes(self, modes):
        self.limits.append(modes)


def test_modes_grow_from_the_first_epoch_on_until_all_take_part():
    plan = Incremental(start=2, until=0.5)
    assert [plan.modes(i, 12, 8) for i in range(12)] == [2, 3, 4, 5, 6, 7] + [None] * 6
    assert Incremental(start=8).modes(0, 12, 8) is None
    assert Incremental().modes(0, 12, 8) is None
    assert Incremental(start=2, until=0.99).modes(11, 12, 8) is None


def test_each_epoch_has_its_modes_and_only_whole_models_are_the_best(tmp_path):
    settings = quick(6, incremental=Incremental(start=2, until=0.5))
    module, _ = learn(tmp_path / "run", settings, module=Growing())
    assert module.limits == [2, 4, 6, None, None, None]
    assert trained_state(tmp_path / "run", "best")["epoch"] >= 4


class Worse(Growing):
    """Each epoch with fewer modes predicts worse than the one before."""

    def forward(self, a):
        return super().forward(a) + len(self.limits)


def test_weights_of_an_epoch_with_few_modes_are_not_kept_though_they_are_better(tmp_path):
    settings = quick(6, incremental=Incremental(start=2, until=0.5))
    _, out = learn(tmp_path / "run", settings, module=Worse())
    errors = [row["valid"]["rel_l2"] for row in out.history]
    assert errors.index(min(errors)) == 0
    assert out.best_epoch == 4
    assert out.best == errors[3]
    assert trained_state(tmp_path / "run", "best")["epoch"] == 4


def test_a_resumed_run_goes_on_with_the_modes_of_its_epoch(tmp_path):
    settings = quick(6, incremental=Incremental(start=2, until=0.5))
    with pytest.raises(RuntimeError, match="the plug"):
        learn(tmp_path / "run", settings, module=Growing(), listener=Stop(3, 2))
    module, _ = learn(tmp_path / "run", settings, module=Growing(), resume=True)
    assert module.limits == [6, None, None, None]


def test_a_model_without_modes_cannot_begin_with_few(tmp_path):
    found = told(tmp_path / "run", quick(3, incremental=Incremental(start=2)))
    assert found.code == "OP0604"
    assert "spectral convolutions" in found.message


def test_a_row_has_the_rate_of_its_last_step_whatever_changes_behind_it(tmp_path):
    """A kill between the last step of an epoch and its row, then another rate."""
    run, saved = tmp_path / "run", quick(4, checkpoint=Checkpoint(steps=3))
    learn(tmp_path / "whole", quick(4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "_row", _pulled)
        with pytest.raises(RuntimeError, match="the plug"):
            learn(run, saved)
    assert CheckpointStore(run).load()["progress"]["position"] == 3
    other = quick(4, checkpoint=Checkpoint(steps=3), optimizer=Optimizer(lr=0.5))
    _, out = learn(run, other, resume=True)
    assert out.history[0]["lr"] == read_metrics(tmp_path / "whole")[0]["lr"]
    assert [(x.step, x.epoch) for x in out.changes] == [(3, 1)]


def _pulled(_):
    raise RuntimeError("the plug was pulled")
