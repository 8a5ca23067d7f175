"""Training, validation and test data are three things, and every table says which is which."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from opdsl.train.metrics.evaluate import evaluate
from opdsl.train.run.metrics_log import read_metrics, validation
from tests.e2e.command_line import data, good, run
from tests.e2e.test_cli_resume import PROGRAM, contents, metrics, save, weights

FIXTURES = Path(__file__).parents[1] / "fixtures" / "c7bf416"
FILE = PROGRAM.replace(' test = "test.npz"', "")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("train.npz", 30, 0)
    save("valid.npz", 5, 2)
    save("test.npz", 6, 1)
    Path("line.op").write_text(PROGRAM)
    Path("file.op").write_text(FILE)
    return tmp_path


def about(folder="run"):
    return json.loads(Path(folder, "opdsl.json").read_text())["data"]


def learnt(*arguments):
    """The summary of a short run in `run`."""
    return data("train", *arguments, "--out", "run", "-q", "--json")


def best_epoch(folder="run"):
    scores = [x["valid"]["rel_l2"] for x in read_metrics(Path(folder))]
    return scores.index(min(scores)) + 1


# ------------------------------------------------------------------------------- the division


@pytest.mark.parametrize(
    ("arguments", "train", "valid", "tests", "choice"),
    [
        (("line.op",), 27, 3, 6, "3 samples, the last of the 30 of train.npz"),
        (("file.op",), 27, 3, 0, "3 samples, the last of the 30 of train.npz"),
        (("line.op", "--valid", "0.5"), 15, 15, 6, "15 samples, the last of the 30 of train.npz"),
        (("line.op", "--valid", "valid.npz"), 30, 5, 6, "5 samples of valid.npz"),
        (("line.op", "--valid", "none"), 30, 0, 6, "none, so the last weights are used"),
        (("file.op", "--set", "data.test_samples=10"), 18, 2, 10, "2 samples, the last of the 20"),
        (("line.op", "--set", "data.samples=20", "--set", "data.skip=5"), 18, 2, 6, "of the 20"),
        (("line.op", "--set", "data.samples=9"), 9, 0, 6, "9 training samples are too few"),
        (("line.op", "--set", "data.valid=test"), 30, 0, 6, "the test data"),
        (("file.op", "--set", "data.valid=test"), 27, 0, 3, "the test data"),
    ],
)
@pytest.mark.usefixtures("home")
def test_the_samples_are_divided_as_the_settings_say(arguments, train, valid, tests, choice):
    summary = learnt(*arguments, "--epochs", 1)
    assert about()["samples"] == train
    assert [x["samples"] for x in summary["valid"]] == ([valid] if valid else [])
    assert [x["samples"] for x in summary["tests"]] == ([tests] if tests else [])
    assert choice in summary["choice"]
    (row,) = read_metrics(Path("run"))
    assert (row["valid"] or {}).get("samples") == (valid or (tests if "test" in choice else None))


@pytest.mark.usefixtures("home")
def test_validation_samples_stand_before_those_for_tests_and_behind_those_left_out():
    with np.load("train.npz") as held:
        x, y = held["x"], held["y"]
    sets = ("data.skip=4", "data.samples=10", "data.valid=0.2", "data.test_samples=6")
    summary = learnt("file.op", *(y for x in sets for y in ("--set", x)))
    for name, rows in (("v", slice(12, 14)), ("t", slice(24, 30))):
        np.savez(f"{name}.npz", x=x[rows], y=y[rows])
    found = {
        name: data("evaluate", "run", "--data", f"{name}.npz", "--json")["tests"][0]["rel_l2"]
        for name in "vt"
    }
    assert found["v"] == pytest.approx(summary["valid"][0]["rel_l2"], rel=1e-6)
    assert found["t"] == pytest.approx(summary["tests"][0]["rel_l2"], rel=1e-6)


def test_a_folder_has_parts_of_its_own(home):
    for part, count, seed in (("train", 12, 0), ("valid", 4, 1), ("test", 3, 2)):
        place = home / "set" / "data" / part
        place.mkdir(parents=True)
        shape = ("--resolution", 9, "--samples", count, "--fine", 17, "--seed", seed)
        good("data", "generate", "darcy", *shape, "--out", place / "d.hdf5")
    Path("plane.op").write_text(
        FILE.replace("x: 0..1, boundary = periodic", "x: 0..1, y: 0..1")
        .replace("input x", "input a")
        .replace("output y", "output u")
        .replace("y = x", "u = a")
        .replace("train.npz", "set")
    )
    summary = learnt("plane.op", "--epochs", 1)
    assert about()["samples"] == 12
    assert summary["choice"] == "4 samples of set, its part `valid`"
    assert (summary["valid"][0]["samples"], summary["tests"][0]["samples"]) == (4, 3)
    shutil.rmtree(home / "set" / "data" / "test")
    shutil.rmtree("run")
    assert learnt("plane.op", "--epochs", 1)["tests"] == []


# ------------------------------------------------------------------------------- what they do


@pytest.mark.usefixtures("home")
def test_test_data_change_neither_the_weights_nor_the_curve():
    rate = ("--set", "optimizer.lr=0.3", "--epochs", 5)
    summary = learnt("line.op", *rate)
    shutil.move("run", "first")
    save("test.npz", 6, 99)
    again = learnt("line.op", *rate)
    assert weights("run") == weights("first")
    assert metrics("run") == metrics("first")
    assert again["tests"] != summary["tests"]
    assert summary["best_epoch"] == best_epoch()
    best = read_metrics(Path("run"))[best_epoch() - 1]["valid"]
    assert again["valid"][0]["rel_l2"] == best["rel_l2"]


@pytest.mark.usefixtures("home")
def test_test_data_are_measured_once(monkeypatch):
    sizes = []

    def counting(*arguments, **more):
        sizes.append(len(arguments[2]))
        return evaluate(*arguments, **more)

    monkeypatch.setattr("opdsl.workflow.runs.evaluation.evaluate", counting)
    learnt("line.op")
    assert sorted(sizes) == [3, 6]


@pytest.mark.usefixtures("home")
def test_without_validation_the_last_weights_are_used_and_it_is_said():
    result = run("train", "line.op", "--valid", "none", "--out", "run")
    assert "validation: none, so the last weights are used" in result.stderr
    assert "weights      the last, of epoch 4" in result.stdout
    assert "The weights are the last ones, of epoch 4." in Path("run/report.html").read_text()
    assert not list(Path("run/checkpoints").glob("best-*"))


@pytest.mark.usefixtures("home")
def test_the_tables_and_the_report_say_which_data_are_which():
    result = run("train", "line.op", "--out", "run")
    assert "validation: 3 samples, the last of the 30 of train.npz" in result.stderr
    assert "epoch 4/4  train" in result.stderr
    lines = [x.split()[:3] for x in result.stdout.splitlines()]
    assert ["validation", "8", "3"] in lines
    assert ["test", "8", "6"] in lines
    page = Path("run/report.html").read_text()
    assert ">validation</td>" in page
    assert ">test</td>" in page
    assert "The test data were measured once, with these weights." in page
    assert "best error, validation" in page
    assert good("evaluate", "run").splitlines()[0].startswith("test set")


@pytest.mark.usefixtures("home")
def test_where_there_are_no_test_data_nothing_is_called_a_test():
    summary = learnt("file.op", "--set", "eval.resolutions=[8]")
    assert [x["split"] for x in summary["valid"]] == ["valid"]
    page = Path("run/report.html").read_text()
    assert "There are no test data" in page
    assert ">test</td>" not in page
    assert good("evaluate", "run").splitlines()[1].startswith("validation")
    told = data("evaluate", "run", "--json")
    assert (len(told["valid"]), told["tests"]) == (1, [])


# ------------------------------------------------------------------------------- --data


def config(*more):
    rows = data("train", *more, "--print-config", "--json")
    return {x["key"]: x["value"] for x in rows}


@pytest.mark.usefixtures("home")
def test_other_data_replace_all_that_a_block_says_of_its_own():
    block = 'test = "gone.npz" valid = 0.3 skip = 3 samples = 20 resolution = 9 fields { x = "y" }'
    text = PROGRAM.replace('test = "test.npz"', block).replace(
        "batch", "eval { resolutions = [99] }\n  batch"
    )
    Path("own.op").write_text(text)
    found = config("own.op", "--data", "train.npz")
    assert found["data.path"] == "train.npz"
    usual = {"test": None, "valid": "auto", "skip": 0, "samples": None, "fields": None}
    usual |= {"resolution": None}
    assert {k: found[f"data.{k}"] for k in usual} == usual
    assert found["eval.resolutions"] == []
    more = ("--test", "test.npz", "--valid", "0.2", "--set", "data.skip=1")
    found = config("own.op", "--data", "train.npz", *more)
    told = (found["data.test"], found["data.valid"], found["data.skip"])
    assert told == (["test.npz"], 0.2, 1)
    assert learnt("own.op", "--data", "train.npz", *more)["tests"][0]["samples"] == 6


@pytest.mark.usefixtures("home")
def test_what_a_block_without_a_path_says_of_data_stays():
    Path("any.op").write_text(FILE.replace('path = "train.npz"', 'fields { x = "x" } skip = 2'))
    found = config("any.op", "--data", "train.npz")
    assert (found["data.fields"], found["data.skip"]) == ({"x": "x"}, 2)
    Path("own.yaml").write_text("data:\n  path: other.npz\n  samples: 3\nbatch: 4\n")
    found = config("any.op", "--config", "own.yaml", "--data", "train.npz")
    assert (found["data.samples"], found["data.skip"], found["batch"]) == (None, 2, 4)
    found = config("line.op", "--set", "data.path=moved.npz")
    assert (found["data.path"], found["data.test"]) == ("moved.npz", "test.npz")


# ------------------------------------------------------------------- runs of earlier versions


@pytest.fixture
def earlier(tmp_path, monkeypatch):
    shutil.copytree(FIXTURES, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


def test_an_interrupted_run_of_an_earlier_version_goes_on_by_its_own_rule(earlier):
    before = read_metrics(earlier / "runs/grid_half")
    summary = data("train", "--resume", "runs/grid_half", "-q", "--json")
    rows = read_metrics(earlier / "runs/grid_half")
    assert rows[: len(before)] == before
    assert all("tests" in x for x in before)
    assert [x["epoch"] for x in rows] == list(range(1, len(rows) + 1))
    assert summary["choice"] == "the test data"
    scores = [validation(x)["rel_l2"] for x in rows]
    assert summary["best_epoch"] == scores.index(min(scores)) + 1
    whole = read_metrics(earlier / "runs/grid")
    assert [validation(x)["rel_l2"] for x in whole] == pytest.approx(scores, rel=1e-4)
    page = (earlier / "runs/grid_half/report.html").read_text()
    assert "errors on the test data are smaller than on data that chose nothing" in page
    assert "test 16x13, rel. L2" not in good("evaluate", "runs/grid_half")


def test_a_finished_run_of_an_earlier_version_is_extended_or_left_alone(earlier):
    epochs = len(read_metrics(earlier / "runs/grid"))
    (earlier / "runs/grid/report.html").write_text("a page")
    before = contents("runs/grid")
    assert data("train", "--resume", "runs/grid", "--json")["tests"][0]["split"] == "test"
    assert contents("runs/grid") == before
    for more in (1, 2):
        wish = ("--resume", "runs/grid", "--epochs", epochs + more, "-q", "--json")
        summary = data("train", *wish)
        assert {x["setting"] for x in summary["changes"]} == {"schedule.epochs"}
        assert (len(summary["changes"]), summary["epochs"]) == (more, epochs + more)
        assert "valid: test" in (earlier / "runs/grid/settings.yaml").read_text()
