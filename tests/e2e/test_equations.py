"""Training with equations: alone, beside data, and on one instance; what the check refuses."""

import json

import numpy as np
import pytest
import torch

import opdsl
from opdsl.diagnostics import OpError
from tests.e2e.command_line import good

PROGRAM = """
edition 2026

from std.physics import poisson

model M {{
  domain D = grid(x: 0..1, boundary = periodic, min = 9)
  input f : D -> R^1
  output u : D -> R^1

  u = f |> spectral_conv(out = 1, modes = 4)
}}

train M {{
  data {{ {data} }}
  loss = {loss}
  {more}
  optimizer {optimizer}
  schedule constant {{ epochs = {epochs} }}
  batch = {batch}
  device = cpu
}}
"""
ALONE = "fields { u = none }"
LBFGS = "lbfgs { lr = 1.0 weight_decay = 0.0 }"  # the losses are quadratic
ADAM = "adamw { lr = 0.02 }"
BALANCE = "balance relobralo { smoothing = 0.9 lookback = 0.5 }"


def samples(count, seed=0, n=16):
    """Right-hand sides without mean, and the solutions of -u'' = f without mean."""
    random = np.random.default_rng(seed)
    k = 2 * np.pi * np.arange(1, 4)[:, None]
    x = np.arange(n) / n
    a, b = random.normal(size=(2, count, 3))
    f = a @ np.cos(k * x) + b @ np.sin(k * x)
    u = (a / k.T**2) @ np.cos(k * x) + (b / k.T**2) @ np.sin(k * x)
    return {"f": f[:, None].astype("f4"), "u": u[:, None].astype("f4")}


def program(loss="mse(poisson(u, f))", data=ALONE, more="", epochs=4, optimizer=LBFGS, batch=32):
    text = PROGRAM.format(
        loss=loss, data=data, more=more, epochs=epochs, optimizer=optimizer, batch=batch
    )
    return text if "poisson(" in loss else text.replace("from std.physics import poisson", "")


def error(run, seed=9):
    truth = samples(20, seed)
    found = run.predict(truth["f"])
    found = found - found.mean(-1, keepdims=True)
    return np.linalg.norm(found - truth["u"]) / np.linalg.norm(truth["u"])


def test_an_equation_alone_determines_the_operator(tmp_path):
    data = {"f": samples(32)["f"]}
    run = opdsl.train(program(), data=data, test=samples(8, 5), out=tmp_path / "run")
    assert error(run) < 0.02
    rows = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["train_loss"] < 1e-3 * rows[0]["train_loss"]
    assert run.metrics.tests[0]["samples"] == 8
    assert opdsl.open_run(tmp_path / "run").predict(data["f"]).shape == (32, 1, 16)


def test_a_loop_of_ones_own_learns_an_equation_alone(tmp_path):
    text, data = program(optimizer=ADAM, epochs=1), {"f": samples(32)["f"]}
    run = opdsl.train(text, data=data, out=tmp_path / "run")
    training = opdsl.prepare_training(text, data=data)
    (batch,) = training.batches(0)
    training.step.begin()
    loss = training.step.learn(batch, training.rate(0)).loss
    assert loss == run.metrics.history[0]["train_loss"]


def test_samples_without_truth_learn_from_the_equation_beside_those_with(tmp_path):
    data, wave = samples(32), np.cos(2 * np.pi * np.arange(16) / 16)
    data["f"][0], data["u"][0] = wave, wave / (2 * np.pi) ** 2  # shows one mode alone
    data["u"][1:] = np.nan
    text = program("rel_l2(u) + mse(poisson(u, f))", "missing = mask valid = none")
    run = opdsl.train(text, data=data, out=tmp_path / "both", warn=lambda _: None)
    few = program("rel_l2(u)", "missing = mask valid = none")
    alone = opdsl.train(few, data=data, out=tmp_path / "data", warn=lambda _: None)
    assert error(run) < 0.1 * error(alone)
    terms = run.metrics.history[-1]["terms"]
    assert set(terms) == {"rel_l2(u)", "mse(poisson(u, f))"}


@pytest.mark.parametrize(
    "balance", [BALANCE, "balance softadapt { every = 3 }"], ids=["relobralo", "softadapt"]
)
def test_a_resumed_run_with_adaptive_weights_equals_a_whole_one_to_the_bit(tmp_path, balance):
    loss, data = "rel_l2(u) + 0.1 * mse(poisson(u, f))", samples(20)
    whole = opdsl.train(program(loss, "", balance, 6, ADAM, 8), data=data, out=tmp_path / "whole")
    opdsl.train(program(loss, "", balance, 3, ADAM, 8), data=data, out=tmp_path / "part")
    part = opdsl.resume(tmp_path / "part", data=data, epochs=6)
    for a, b in zip(whole.module.parameters(), part.module.parameters(), strict=True):
        assert torch.equal(a, b)
    rows = [x.metrics.history for x in (whole, part)]
    assert [x["weights"] for x in rows[0]] == [x["weights"] for x in rows[1]]
    assert sum(rows[0][-1]["weights"].values()) == pytest.approx(2)
    assert rows[0][-1]["weights"]["rel_l2(u)"] != 1


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that has learnt little, from data and the equation."""
    text = program("rel_l2(u) + 0.1 * mse(poisson(u, f))", "", "", 1, ADAM, 8)
    return opdsl.train(text, data=samples(20), out=tmp_path_factory.mktemp("adapt") / "run")


def test_a_run_is_adapted_to_an_instance_by_its_equation(trained):
    truth, weights = samples(2, 9), [x.clone() for x in trained.module.parameters()]
    adapted = trained.adapt({"f": truth["f"]}, steps=200, lr=0.05)
    assert adapted.terms == ("mse(poisson(u, f))",)
    assert all(b < 1e-2 * a for a, b in zip(adapted.before, adapted.after, strict=True))
    found = adapted.outputs["u"].numpy()
    found = found - found.mean(-1, keepdims=True)
    distance = np.linalg.norm(found - truth["u"]) / np.linalg.norm(truth["u"])
    assert distance < 0.1 * error(trained)
    for a, b in zip(weights, trained.module.parameters(), strict=True):
        assert torch.equal(a, b)  # the run itself stays
    last = torch.as_tensor(adapted.run.predict(truth["f"][1:]))
    assert torch.allclose(last, adapted.outputs["u"][1:])


def test_adapt_writes_the_predictions(trained, tmp_path):
    np.savez(tmp_path / "new.npz", f=samples(2, 4)["f"])
    command = ["adapt", trained.folder, "-i", tmp_path / "new.npz", "--steps", "3"]
    for name in ("out.npz", "out.h5"):
        good(*command, "-o", tmp_path / name)
    text = good(*command, "-o", tmp_path / "third.npz", "--loss", "mse(u - f)")
    assert text.startswith("loss  mse(u - f)\nsample 0  ")
    assert np.load(tmp_path / "out.npz")["u"].shape == (2, 1, 16)
    read = opdsl.open_dataset(tmp_path / "out.h5").values["u"]
    assert np.asarray(read).ravel() == pytest.approx(np.load(tmp_path / "out.npz")["u"].ravel())


@pytest.mark.parametrize(
    ("loss", "code", "words"),
    [("rel_l2(u)", "OP0724", "without the truth"), ("mse(v)", "OP0700", "`v`")],
)
def test_adapt_refuses_a_loss_without_an_equation(trained, loss, code, words):
    with pytest.raises(OpError, match=code) as raised:
        trained.adapt({"f": samples(1)["f"]}, loss=loss)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("loss", "data", "more", "code", "words"),
    [
        ("rel_l2(u) + mse(poisson(u, f))", ALONE, "", "OP0722", "compares `u` with its truth"),
        ("l2", ALONE, "", "OP0722", "needs a truth"),
        ("mse(poisson(u, f))", "fields { u = none } valid = 0.2", "", "OP0722", "valid"),
        ("mse(poisson(u, f))", "", BALANCE, "OP0723", "has one"),
        ("l2", "", BALANCE, "OP0723", "has one"),
        ("mse(curl(u))", "", "", "OP0703", "curl"),
    ],
)
def test_what_cannot_be_learnt_is_one_diagnostic(tmp_path, loss, data, more, code, words):
    with pytest.raises(OpError, match=code) as raised:
        opdsl.train(program(loss, data, more), data=samples(20), out=tmp_path / "run")
    assert len(raised.value.diagnostics) == 1
    assert words in str(raised.value)
    assert not (tmp_path / "run").exists()
