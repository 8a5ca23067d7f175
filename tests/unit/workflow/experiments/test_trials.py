"""Trials before training, the parts for a loop of one's own, and the profile of a step."""

import numpy as np
import pytest
import torch

import opdsl
from opdsl.diagnostics import OpError
from opdsl.workflow.experiments.step_profile import profile_step
from opdsl.workflow.experiments.trials import dry_run, find_rate, overfit
from tests.unit.workflow.experiments.line_problem import PROGRAM, waves


def prepared(**more):
    said = {"data": waves(), "valid": waves(4, 1), "epochs": 3, "batch": 5, "device": "cpu"} | more
    return opdsl.prepare_training(PROGRAM, **said)


def test_a_loop_of_ones_own_is_equal_to_train_to_the_bit(tmp_path):
    more = {"optimizer.lr": 0.02, "symmetries": ["reflect(x)"]}
    said = {"data": waves(), "valid": waves(4, 1), "epochs": 3, "batch": 5}
    run = opdsl.train(PROGRAM, out=tmp_path / "run", **said, **more)
    training, number, errors = prepared(**more), 0, []
    for epoch in range(3):
        training.step.begin()
        for batch in training.batches(epoch):
            training.step.learn(batch, training.rate(number))
            number += 1
        errors.append(training.validate().rel_l2)
    assert [x["valid"]["rel_l2"] for x in run.metrics.history] == errors
    assert number == 9
    a = torch.from_numpy(waves(4, 1)["a"])
    best = int(np.argmin(errors))
    if best == 2:
        assert torch.equal(training.operator()(a), torch.as_tensor(run.predict(a)))


def test_a_loop_of_ones_own_needs_data():
    with pytest.raises(OpError) as caught:
        opdsl.prepare_training(PROGRAM)
    assert caught.value.diagnostics[0].code == "OP0602"


def test_validation_leaves_the_module_in_training_mode():
    training = prepared()
    training.step.begin()
    training.validate()
    assert training.step.module.training
    assert prepared(valid="none").validate() is None


def test_a_dry_run_counts_what_a_run_would_do():
    result = dry_run(prepared())
    assert (result.samples, result.valid_samples, result.steps, result.epochs) == (12, 4, 3, 3)
    assert result.parameters == 2 + 2 + 2 + 1
    assert result.seconds == pytest.approx(3 * (3 * result.step_seconds + result.valid_seconds))
    assert 0 < result.loss < 10
    assert result.to_json()["device"] == "cpu"


def test_the_range_test_suggests_a_rate_that_learns_and_sees_the_explosion():
    result = find_rate(prepared(optimizer="sgd", batch=12), high=1e4)
    assert result.rates[0] == pytest.approx(1e-7)
    ratios = np.diff(np.log(result.rates))
    assert np.allclose(ratios, ratios[0])
    assert result.diverged is not None
    assert result.suggestion < result.diverged
    after, before = (
        overfit(prepared(optimizer={"kind": "sgd", "lr": x}), 12, 30).ratio
        for x in (result.suggestion, result.suggestion / 1000)
    )
    assert after < 0.9 * before


def test_a_loss_that_never_falls_has_no_rate():
    with pytest.raises(OpError) as caught:
        find_rate(prepared(), low=1e-30, high=1e-29, steps=30)
    assert caught.value.diagnostics[0].code == "OP0746"


def test_few_samples_are_learnt_by_heart():
    result = overfit(prepared(**{"optimizer.lr": 0.05}), 2, 300)
    assert (result.samples, len(result.losses)) == (2, 300)
    assert result.ratio < 0.1
    assert overfit(prepared(), 100, 1).samples == 12


def test_a_step_with_an_infinite_loss_is_one_diagnostic():
    training = prepared()
    with torch.no_grad():
        next(training.step.module.parameters()).fill_(float("inf"))
    for trial in (dry_run, lambda x: overfit(x, 2, 3)):
        with pytest.raises(OpError) as caught:
            trial(training)
        assert caught.value.diagnostics[0].code == "OP0746"


def test_a_profile_has_every_node_with_its_memory():
    profile = profile_step(prepared(batch=6))
    nodes = {x.path: x for x in profile.nodes}
    assert len(nodes) == 3
    first, last = (x for x in nodes.values() if x.block == "linear")
    (middle,) = (x for x in nodes.values() if x.block == "apply")
    assert {first.weights, last.weights} == {4 * (2 + 2), 4 * (2 + 1)}
    assert middle.weights == 0
    assert middle.saved == 4 * 6 * 8 * 2  # its input, (batch, grid, width) of float32
    assert all(x.calls == 1 and x.forward > 0 and x.backward > 0 for x in nodes.values())
    assert profile.batch == 6
    assert profile.seconds > 0
    assert profile.peak is None
    assert len(profile.to_json()["nodes"]) == 3
