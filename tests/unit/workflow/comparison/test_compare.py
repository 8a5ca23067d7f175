"""Runs side by side: what differs, which is better, and what cannot be said."""

import json
import re
import shutil
import sys
from pathlib import Path
from subprocess import run as process

import numpy as np
import pytest

import opdsl
from opdsl.diagnostics import OpError
from opdsl.workflow.comparison.pictures import picked_samples
from opdsl.workflow.comparison.runs import run_names
from opdsl.workflow.comparison.text import text_table

PROGRAM = """edition 2026

model Line {{
  domain D = grid(x: 0..1, boundary = periodic, min = 9)
  input a : D -> R^1
  output u : D -> R^{{left, right}}
  param width : int = {width}

  u = a |> linear(out = width) |> gelu() |> linear(out = 2)
}}

train Line {{
  data {{ path = "train.npz" test = "test.npz" }}
  optimizer adam {{ lr = {lr} }}
  schedule cosine {{ epochs = {epochs} }}
  seed = {seed}
  device = cpu
}}
"""


def arrays(count, seed):
    a = np.random.default_rng(seed).normal(size=(count, 1, 16)).astype("float32")
    return {"a": a, "u": np.concatenate([a, -a], 1)}


def trained(home, name, *, width=4, lr=0.01, epochs=2, seed=0, **more):
    text = PROGRAM.format(width=width, lr=lr, epochs=epochs, seed=seed)
    source = home / f"{name}.op"
    source.write_text(text)
    return opdsl.train(source, out=home / name, warn=[].extend, **more).folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two runs with other settings, and two with other seeds."""
    home = tmp_path_factory.mktemp("runs")
    np.savez(home / "train.npz", **arrays(12, 0))
    np.savez(home / "test.npz", **arrays(6, 1))
    trained(home, "narrow")
    trained(home, "wide", width=8, lr=0.05, epochs=3)
    trained(home, "again", seed=1)
    return home


def test_settings_parameters_and_models_that_differ_are_listed(home):
    comparison = opdsl.compare(home / "narrow", home / "wide")
    assert comparison.settings == {
        "model.width": ("4", "8"),
        "optimizer.lr": ("0.01", "0.05"),
        "schedule.epochs": ("2", "3"),
    }
    (model,) = comparison.models
    assert not model.same
    assert comparison.names == ["narrow", "wide"]
    text = str(comparison)
    for words in ("optimizer.lr", "another function", "parameters", "test 16"):
        assert words in text


def test_the_smallest_error_has_a_star(home):
    runs = [opdsl.open_run(home / x) for x in ("narrow", "wide")]
    comparison = opdsl.compare(*runs)
    key = ("test", "16")
    errors = comparison.errors()[key]
    assert errors == tuple(x.metrics.tests[0]["rel_l2"] for x in runs)
    best = int(np.argmin(errors))
    assert comparison.best(key) == best
    assert comparison.error_rows()["test 16"][best] == f"{errors[best]:.4g}*"


def test_runs_that_differ_in_the_seed_only_have_mean_and_deviation(home):
    comparison = opdsl.compare(home / "narrow", home / "again")
    assert list(comparison.settings) == ["seed"]
    errors = comparison.errors()[("test", "16")]
    mean, deviation = comparison.seeds()[("test", "16")]
    assert mean == pytest.approx(np.mean(errors))
    assert deviation == pytest.approx(np.std(errors, ddof=1))
    assert f"{mean:.4g} ± {deviation:.2g} over the seeds" in str(comparison)
    assert opdsl.compare(home / "narrow", home / "wide").seeds() == {}


def test_errors_on_other_data_have_no_best(home, tmp_path):
    shutil.copytree(home / "wide", tmp_path / "wide")
    about = json.loads((tmp_path / "wide/opdsl.json").read_text())
    about["data"]["tests"][0]["path"] = "/elsewhere.npz"
    (tmp_path / "wide/opdsl.json").write_text(json.dumps(about))
    comparison = opdsl.compare(home / "narrow", tmp_path / "wide")
    assert comparison.best(("test", "16")) is None
    assert comparison.best(("valid", "16")) is not None
    assert any("different test data" in x for x in comparison.notes)


def test_whether_arrays_were_the_same_is_not_known(home):
    for name in ("first", "second"):
        trained(home, name, data=arrays(12, 0), test=arrays(6, 1))
    comparison = opdsl.compare(home / "first", home / "second")
    assert comparison.settings == {}
    assert comparison.best(("test", "16")) is None
    assert any("arrays in memory" in x for x in comparison.notes)
    assert "no settings differ" in str(comparison)


def test_a_run_in_progress_has_the_errors_of_its_best_epoch(home, tmp_path):
    shutil.copytree(home / "wide", tmp_path / "wide")
    about = json.loads((tmp_path / "wide/opdsl.json").read_text())
    del about["finished"]
    (tmp_path / "wide/opdsl.json").write_text(json.dumps(about))
    comparison = opdsl.compare(home / "narrow", tmp_path / "wide")
    rows = [json.loads(x) for x in (tmp_path / "wide/metrics.jsonl").read_text().splitlines()]
    best = min(x["valid"]["rel_l2"] for x in rows)
    assert comparison.errors()[("valid", "so far")] == (None, best)
    assert any("has not finished" in x for x in comparison.notes)


def test_the_page_shows_all_runs_on_the_same_samples(home, tmp_path):
    comparison = opdsl.compare(home / "narrow", home / "wide", out=tmp_path / "c.html")
    assert comparison.page == tmp_path / "c.html"
    page = comparison.page.read_text()
    for words in ("Learning curves", "Error spectra", "Settings that differ", "Programs"):
        assert f"<h2>{words}</h2>" in page
    for run in ("narrow", "wide"):
        assert f"{run}: rel. L2" in page
        assert f"error of {run}" in page
    for words in ("u.left", "u.right", "+  param width : int = 8"):
        assert words in page
    assert not re.search(r"https?://|url\(|@import|<script", page)


def test_the_errors_on_the_page_are_those_of_the_samples(home, tmp_path):
    comparison = opdsl.compare(home / "narrow", home / "wide", out=tmp_path / "c.html")
    page = comparison.page.read_text()
    test = arrays(6, 1)
    for name in ("narrow", "wide"):
        prediction = opdsl.open_run(home / name).predict(test["a"])
        norms = [np.sqrt((x**2).sum((1, 2))) for x in (prediction - test["u"], test["u"])]
        errors = norms[0] / norms[1]
        for number, shown in re.findall(rf"sample (\d)</b>.*?{name}: rel\. L2 ([\d.]+)<", page):
            assert float(shown) == pytest.approx(errors[int(number)], rel=1e-3)


def test_a_run_with_other_outputs_is_left_out_of_the_samples_with_a_note(home, tmp_path):
    source = tmp_path / "other.op"
    text = PROGRAM.format(width=4, lr=0.01, epochs=1, seed=0)
    source.write_text(text.replace("R^{left, right}", "R^1").replace("out = 2", "out = 1"))
    data = arrays(8, 0)
    data["u"] = data["u"][:, :1]
    out = tmp_path / "other"
    opdsl.train(source, out=out, data=data, test=data, warn=[].extend)
    comparison = opdsl.compare(home / "narrow", out, out=tmp_path / "c.html")
    assert any("no samples of other" in x for x in comparison.notes)
    assert "narrow: rel. L2" in comparison.page.read_text()


def test_data_that_are_gone_leave_a_page_without_samples(home, tmp_path):
    shutil.copytree(home, tmp_path / "moved")
    for name in ("narrow", "wide"):
        path = tmp_path / "moved" / name / "opdsl.json"
        path.write_text(path.read_text().replace(str(home), str(tmp_path / "gone")))
    runs = [tmp_path / "moved" / x for x in ("narrow", "wide")]
    comparison = opdsl.compare(*runs, out=tmp_path / "c.html")
    assert any("the page shows no samples" in x for x in comparison.notes)
    assert "<h2>Samples</h2>" not in comparison.page.read_text()
    given = opdsl.compare(*runs, out=tmp_path / "c.html", data=arrays(3, 2))
    assert "<h2>Samples</h2>" in given.page.read_text()


@pytest.mark.parametrize("names", [(), ("narrow",), ("narrow", "../{}/narrow")])
def test_fewer_than_two_runs_are_one_diagnostic(home, names):
    runs = [home / x.format(home.name) for x in names]
    with pytest.raises(OpError) as caught:
        opdsl.compare(*runs)
    assert [x.code for x in caught.value.diagnostics] == ["OP0770"]


def test_every_folder_that_is_no_run_is_named(home, tmp_path):
    with pytest.raises(OpError) as caught:
        opdsl.compare(home / "narrow", tmp_path, tmp_path / "nothing")
    assert [x.code for x in caught.value.diagnostics] == ["OP0627", "OP0627"]


def test_a_comparison_without_a_page_does_not_import_torch(home):
    code = "import sys, opdsl; opdsl.compare(*sys.argv[1:]); assert 'torch' not in sys.modules"
    done = process([sys.executable, "-c", code, home / "narrow", home / "wide"], check=False)  # noqa: S603  our own code
    assert done.returncode == 0


def test_plain_data_have_every_error_and_difference(home):
    data = json.loads(json.dumps(opdsl.compare(home / "narrow", home / "wide").to_json()))
    assert [x["name"] for x in data["runs"]] == ["narrow", "wide"]
    assert {"split", "set", "rel_l2", "rel_h1", "rmse", "max_error"} == {
        *data["runs"][0]["errors"][0]
    }
    assert data["models"]["wide"]["same"] is False


def test_names_are_as_short_as_they_can_be():
    assert run_names([Path("/a/x"), Path("/a/y")]) == ["x", "y"]
    assert run_names([Path("/a/x"), Path("/b/x")]) == ["a/x", "b/x"]


def test_a_table_that_is_too_wide_is_turned():
    rows = {"rel. L2": ["0.1"] * 20, "time": ["1 s"] * 20}
    text = text_table("", rows, [f"run {i}" for i in range(20)])
    assert len(text.splitlines()) == 21
    upright = text_table("", rows, [f"run {i}" for i in range(20)][:2] * 10)
    assert max(map(len, upright.splitlines())) <= 100


def test_samples_are_chosen_by_all_runs():
    errors = [np.array([0.1, 0.5, 0.9, np.nan]), np.array([0.2, 0.1, 0.8, 0.1])]
    picks = picked_samples(errors)
    assert picks == {"median of the mean error": 1, "worst mean error": 2}
    errors = [np.array([0.1, 0.5, 0.9, 0.2]), np.array([0.85, 0.1, 0.8, 0.2])]
    assert picked_samples(errors) == {
        "median of the mean error": 1,
        "worst mean error": 2,
        "greatest difference": 0,
    }
    assert picked_samples([np.array([np.nan])] * 2) == {"first": 0}
