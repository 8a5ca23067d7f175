"""What was written at c7bf416 opens, and means what it meant; `grammar/compatibility.md` says so.

The files are in tests/fixtures/c7bf416, whose `make.py` says how they were made.
"""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import opdsl
from opdsl.data import open_dataset
from opdsl.export import load_compiled
from opdsl.ir.fingerprint import fingerprint
from opdsl.train.run.metrics_log import read_metrics
from opdsl.train.run.trained import trained_state
from tests.e2e.command_line import data, good, run

ROOT = Path(__file__).parents[2]
OLD = ROOT / "tests/fixtures/c7bf416"
PRINTS = json.loads((OLD / "fingerprints.json").read_text())
ERRORS = json.loads((OLD / "errors.json").read_text())
RUNS = ("grid", "points", "sphere", "steps", "line", "band")
ACROSS_PROCESSORS = 1e-6  # of the greatest value


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A copy of the files as the current folder: a run names its data relative to it."""
    shutil.copytree(OLD, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


def samples_of(name):
    """The file of test samples of a run."""
    home = "line" if name == "band" else name
    return f"{home}_test.{'h5' if name == 'points' else 'npz'}"


def assert_predicted(found, name):
    wanted = np.load(OLD / f"predictions/{name}.npz")
    assert set(found) == set(wanted)
    for key, x in wanted.items():
        assert found[key].shape == x.shape
        assert np.abs(found[key] - x).max() <= ACROSS_PROCESSORS * np.abs(x).max(), key


# ------------------------------------------------------------------------- programs and graphs


@pytest.mark.parametrize("name", PRINTS)
def test_a_program_or_graph_keeps_its_fingerprint(name):
    assert fingerprint(opdsl.load(OLD / name)) == PRINTS[name]


@pytest.mark.parametrize("name", sorted(x.stem for x in (OLD / "graphs").glob("*.json")))
def test_a_graph_gives_the_module_of_its_program(name):
    parts = [dict(opdsl.compile(path).named_parameters()) for path in _both(name)]
    shapes = [{k: x.shape for k, x in each.items()} for each in parts]
    assert shapes[0] == shapes[1]


def _both(name):
    return OLD / f"graphs/{name}.json", OLD / f"{name}.op"


def test_a_compiled_folder_has_the_same_weights_and_outputs():
    compiled = load_compiled(OLD / "compiled")
    told = np.load(OLD / "predictions/compiled.npz")
    for source in ("resolved.op", "ir.json"):
        module = opdsl.compile(OLD / "compiled" / source)
        module.load_state_dict(compiled.weights)
        with torch.no_grad():
            y = module(torch.from_numpy(told["x"])).numpy()
        assert np.abs(y - told["y"]).max() <= ACROSS_PROCESSORS * np.abs(told["y"]).max()


# ---------------------------------------------------------------------------------------- runs


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.usefixtures("old")
def test_the_command_predicts_what_it_predicted(name):
    good("predict", f"runs/{name}", "-i", samples_of(name), "-o", "out.npz", "--device", "cpu")
    assert_predicted(dict(np.load("out.npz")), name)


@pytest.mark.parametrize("name", [x for x in RUNS if x != "points"])
def test_python_predicts_what_the_command_predicted(name):
    found = opdsl.open_run(OLD / "runs" / name).predict(np.load(OLD / samples_of(name))["x"])
    names = list(np.load(OLD / f"predictions/{name}.npz"))
    assert_predicted(found if isinstance(found, dict) else {names[0]: found}, name)


def test_python_predicts_on_points_what_the_command_predicted():
    samples = open_dataset(OLD / samples_of("points"))
    found = opdsl.open_run(OLD / "runs/points").predict(samples.values["f"], P=samples.places["P"])
    told = {"u": found.values.numpy(), "u_sizes": np.array(found.sizes)}
    assert_predicted(told, "points")


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.usefixtures("old")
def test_a_run_is_evaluated(name):
    (row,) = data("evaluate", f"runs/{name}", "--device", "cpu", "--json")["tests"]
    (wanted,) = ERRORS[name]
    assert row["samples"] == wanted["samples"]
    if name != "sphere":  # cells of unequal size counted alike then
        assert row["rel_l2"] == pytest.approx(wanted["rel_l2"], rel=1e-5)


@pytest.mark.parametrize("name", ["sphere", pytest.param("grid", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("old")
def test_a_run_is_exported(name):
    good("export", f"runs/{name}", "--out", "out.pt2", "--fixed", "--batch", 4, *_size(name))
    x = torch.from_numpy(np.load(samples_of(name))["x"])
    found = torch.export.load("out.pt2").module()(x)
    found = found if isinstance(found, torch.Tensor) else found[0]
    (key,) = np.load(OLD / f"predictions/{name}.npz")
    wanted = np.load(OLD / f"predictions/{name}.npz")[key]
    assert np.abs(found.detach().numpy() - wanted).max() <= 1e-4 * np.abs(wanted).max()


def _size(name):
    return ("--at", {"grid": "x=16,y=13", "sphere": "lat=8,lon=16"}[name])


@pytest.mark.usefixtures("old")
def test_a_run_lends_its_weights_to_another():
    arguments = ("--epochs", 1, "--set", "optimizer.lr=1e-30", "-q", "--json")
    summary = data("train", "line.op", "--from", "runs/line", "--out", "new", *arguments)
    assert "weights from runs/line" in summary["start"]
    before, after = (trained_state(Path(x))["module"] for x in ("runs/line", "new"))
    assert all((before[k] - x).abs().max() < 1e-20 for k, x in after.items())


@pytest.mark.usefixtures("old")
def test_a_run_is_calibrated_again():
    before = json.loads(Path("runs/band/calibration.json").read_text())
    given = ("--data", "line_calibration.npz", "--device", "cpu", "--json")
    found = data("calibrate", "runs/band", *given)
    assert found["factor"] == pytest.approx(before["factor"], rel=1e-5)
    assert found["weights"] == before["weights"]


@pytest.mark.usefixtures("old")
def test_an_interrupted_run_goes_on_to_the_same_end():
    """Rounding of another processor grows with the steps, so the end is equal to 1e-3 only."""
    whole = read_metrics(OLD / "runs/grid")
    assert len(read_metrics(Path("runs/grid_half"))) < len(whole)
    good("train", "grid.op", "--out", "runs/grid_half", "--resume", "-q")
    history = read_metrics(Path("runs/grid_half"))
    assert [x["epoch"] for x in history] == [x["epoch"] for x in whole]
    for found, wanted in zip(history, whole, strict=True):
        assert found["train_loss"] == pytest.approx(wanted["train_loss"], rel=1e-3)
    good("predict", "runs/grid_half", "-i", "grid_test.npz", "-o", "out.npz", "--device", "cpu")
    wanted = np.load(OLD / "predictions/grid.npz")["u"]
    assert np.abs(np.load("out.npz")["u"] - wanted).max() <= 1e-3 * np.ptp(wanted)


@pytest.mark.usefixtures("old")
def test_weights_of_an_earlier_run_are_for_a_bare_module_only_with_its_normaliser():
    """They have bare names, which no module can refuse; `open_run` finds the normaliser."""
    found = opdsl.open_run("runs/grid")
    x = torch.from_numpy(np.load("grid_test.npz")["x"])
    with torch.no_grad():
        bare = found.module(x)
    assert (bare - torch.from_numpy(found.predict(x.numpy()))).abs().max() > 100


# ---------------------------------------------------------------------------------------- page


def test_the_page_names_every_kind_of_file():
    page = (ROOT / "grammar/compatibility.md").read_text()
    for word in ("resolved.op", "settings.yaml", "opdsl.json", "model.safetensors", "checkpoints"):
        assert word in page


def test_links_of_the_page_lead_somewhere():
    page = ROOT / "grammar/compatibility.md"
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_a_graph_of_a_later_version_is_refused_in_one_diagnostic(tmp_path):
    told = json.loads((OLD / "graphs/line.json").read_text())
    key = next(k for k, x in told.items() if isinstance(x, int))
    (tmp_path / "later.json").write_text(json.dumps(told | {key: 999}))
    result = run("check", tmp_path / "later.json")
    assert result.exit_code == 3
    assert result.stderr.count("error[") + result.stdout.count("error[") == 1
