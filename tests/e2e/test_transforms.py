"""Runs with transforms and other normalisers: predicted, evaluated, resumed and exported."""

import numpy as np
import pytest
import torch

import opdsl
from opdsl.diagnostics import OpError
from opdsl.lower.exported import pt2
from tests.e2e.command_line import good
from tests.e2e.command_line import run as command

PROGRAM = """edition 2026

from std.fourier import FourierLayer
from std.pointwise import Lift, Project

model Line {
  domain D = grid(x: 0..1, boundary = periodic, min = 8)
  input a : D -> R^1
  output u : D -> R^1

  u = a |> Lift(out = 6) |> FourierLayer(modes = 3) |> Project(out = 1)
}

train Line {
  schedule cosine { epochs = 3 }
  batch = 8
  TRAIN
}
"""
BLOCKS = {
    "point": "normalise { inputs = point  outputs = point }",
    "sample": "normalise { inputs = sample  outputs = sample(a) }",
    "maps": "transforms { a = [clip(0.01, 1e3), log]  u = log }",
    "all": "normalise { inputs = point outputs = sample(a) } transforms { a = log u = asinh(2) }",
}


def arrays(n=16, count=32, seed=0):
    x = np.arange(n) / n
    random = np.random.default_rng(seed)
    phase, size = random.random((count, 1, 1)), np.exp(random.normal(size=(count, 1, 1)))
    a = size * np.exp(np.sin(2 * np.pi * (x + phase)))
    return {"a": a.astype("f4"), "u": (3 * a + size).astype("f4")}


def program(name):
    return PROGRAM.replace("TRAIN", BLOCKS[name])


@pytest.fixture(scope="module", params=list(BLOCKS))
def learnt(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("transforms") / request.param
    return opdsl.train(program(request.param), data=arrays(), out=out), request.param


# the program with all of them by default, each alone in the slow campaign
MOST_OF_THEM = pytest.mark.parametrize(
    "learnt",
    [x if x == "all" else pytest.param(x, marks=pytest.mark.slow) for x in BLOCKS],
    indirect=True,
    scope="module",
)


def rel_l2(found, true):
    errors = [np.linalg.norm(f - t) / np.linalg.norm(t) for f, t in zip(found, true, strict=True)]
    return float(np.mean(errors))


def test_predictions_are_physical_and_their_errors_those_of_evaluate(learnt):
    run, _ = learnt
    data = arrays(seed=1)
    opened = opdsl.open_run(run.folder)
    found = opened.predict(data["a"])
    assert np.array_equal(found, run.predict(data["a"]))
    assert opened.evaluate(data)["16"].rel_l2 == pytest.approx(rel_l2(found, data["u"]), rel=1e-4)
    with torch.no_grad():
        direct = opened.operator(torch.from_numpy(data["a"]))
    np.testing.assert_allclose(direct.numpy(), found, rtol=1e-5)


def test_a_run_predicts_at_another_resolution(learnt):
    run, name = learnt
    fine = arrays(n=32, seed=1)
    found = run.predict(fine["a"])
    coarse = run.predict(np.ascontiguousarray(fine["a"][..., ::2]))
    assert found.shape == (32, 1, 32)
    # the operator converges: values at common points agree better than they fit the truth
    assert rel_l2(found[..., ::2], coarse) < (0.1 if "point" in BLOCKS[name] else 1e-2)


@MOST_OF_THEM
def test_a_resumed_run_is_equal_to_the_bit(learnt, tmp_path):
    run, name = learnt
    begun = opdsl.train(program(name), data=arrays(), out=tmp_path / "r", epochs=2)
    whole = opdsl.train(program(name), data=arrays(), out=tmp_path / "w", epochs=2)
    more = opdsl.resume(begun, data=arrays(), epochs=3)
    other = opdsl.resume(whole, data=arrays(), epochs=3)
    states = [x.operator.state_dict() for x in (more, other)]
    assert all(torch.equal(states[0][k], x) for k, x in states[1].items())
    scales = more.operator.normaliser.state_dict()
    assert all(torch.equal(x, scales[k]) for k, x in run.operator.normaliser.state_dict().items())
    with pytest.raises(OpError) as caught:
        opdsl.resume(begun, data=arrays(), epochs=4, **{"transforms.u": "log1p"})
    assert caught.value.diagnostics[0].code == "OP0629"


@MOST_OF_THEM
def test_an_exported_file_takes_and_gives_physical_values(learnt, tmp_path):
    run, _ = learnt
    opdsl.export(run, tmp_path / "m.pt2", at="x=16")
    exported = pt2.open_file(tmp_path / "m.pt2")
    with torch.no_grad():
        for a in (arrays(seed=1)["a"], arrays(n=32)["a"]):
            (found,) = exported((torch.from_numpy(a),))
            np.testing.assert_allclose(found.numpy(), run.predict(a), rtol=1e-4, atol=1e-5)


def test_values_without_a_logarithm_are_one_diagnostic(learnt):
    run, name = learnt
    if name != "all":
        pytest.skip("the input has no `log`, or is bounded before")
    a = arrays()["a"]
    a[5] = -a[5]
    with pytest.raises(OpError) as caught:
        run.predict(a)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "OP0671"
    assert "in sample 5" in diagnostic.message
    with pytest.raises(OpError) as caught:
        opdsl.train(program(name), data=arrays(), valid={"a": a, "u": arrays()["u"]})
    assert caught.value.diagnostics[0].code == "OP0671"


def test_data_are_resampled_for_training_and_tests_alike(tmp_path):
    settings = {"data.resample": 20, "eval.resolutions": [20, 27, 40]}
    run = opdsl.train(
        PROGRAM.replace("TRAIN", ""),
        data=arrays(n=32),
        test=arrays(n=32, seed=1),
        out=tmp_path / "run",
        **settings,
    )
    assert run.about["data"]["resolution"] == [20]
    assert [x["resolution"] for x in run.metrics.tests] == [[20], [27], [40]]
    # the functions are band-limited to 1e-6 on all of these grids
    exact = arrays(n=27, seed=1)
    error = rel_l2(run.predict(exact["a"]), exact["u"])
    assert run.metrics.tests[1]["rel_l2"] == pytest.approx(error, rel=1e-4)
    report = opdsl.open_run(run.folder).evaluate(arrays(n=32, seed=1), resolutions=[24])
    exact = arrays(n=24, seed=1)
    assert report["24"].rel_l2 == pytest.approx(
        rel_l2(run.predict(exact["a"]), exact["u"]), rel=1e-4
    )


@pytest.mark.parametrize(
    ("block", "code", "text"),
    [
        ("normalise { outputs = sample(b) }", "OP0604", "`b` is no input"),
        ("normalise { outputs = sample }", "OP0604", "sample(INPUT)"),
        ("normalise { inputs = points }", "OP0604", "point"),
        ("transforms { b = log }", "OP0604", "no input or output"),
        ("transforms { u = clip(0, 1) }", "OP0604", "no inverse"),
        ("transforms { a = exp }", "OP0604", "log1p"),
        ("transforms { a = clip(1, 0) }", "OP0604", "clip(LOW, HIGH)"),
        ("transforms = log", "OP0604", "log1p"),
        ("normalise { inputs = point } symmetries = [shift(x)]", "OP0672", "shift(x)"),
        ("transforms { a = log } symmetries = [reflect(x, odd = [a])]", "OP0672", "sign of `a`"),
        ("seed = clip(0, 1)", "OP0604", "clip(0, 1)"),
    ],
)
def test_what_does_not_suit_the_model_is_one_diagnostic(tmp_path, block, code, text):
    path = tmp_path / "m.op"
    path.write_text(PROGRAM.replace("TRAIN", block))
    result = command("check", path)
    assert result.exit_code != 0
    assert code in result.stderr + result.stdout
    assert text in result.stderr + result.stdout


def test_settings_are_written_and_read_again(tmp_path):
    path = tmp_path / "m.op"
    path.write_text(PROGRAM.replace("TRAIN", BLOCKS["all"]))
    good("check", path)
    printed = good("train", path, "--print-config", "--set", "transforms.a=[clip(0.5, inf), log]")
    assert "sample(a)" in printed
    assert "clip(0.5, inf)" in printed


@pytest.mark.filterwarnings("ignore::opdsl.OpWarning")
def test_a_filled_value_without_a_logarithm_is_found_before_training(tmp_path):
    data = arrays()
    data["a"][2, 0, 3] = np.nan
    settings = {"data.missing": "mask", "data.fill": 0.0}
    text, out = program("maps").replace("clip(0.01, 1e3), ", ""), tmp_path / "run"
    with pytest.raises(OpError, match="`a` is 0 in sample 2"):
        opdsl.train(text, data=data, out=out, **settings)
    assert not list(out.glob("metrics.jsonl"))
