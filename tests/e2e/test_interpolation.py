"""Predictions on finer grids beside interpolated ones: table, JSON, report page and warning."""

import json
import warnings

import numpy as np
import pytest

import opdsl
from tests.e2e.command_line import good, run

PROGRAM = """edition 2026

model Line {
  domain D = grid(x: 0..1, boundary = none, min = 9)
  input a : D -> R^1
  output u : D -> R^1

  u = a |> BLOCK
}
"""
WRAPPING = "spectral_conv(modes = 4)"  # a ramp jumps at the ends, so few modes carry it badly
POINTWISE = "linear(out = 1)"
COARSE, FINE = 9, 33


def ramps(n, samples=40):
    slopes = np.random.default_rng(0).uniform(1, 2, (samples, 1, 1))
    a = (slopes * np.linspace(-1, 1, n)).astype("float32")
    return {"a": a, "u": 2 * a}


def noise(n, samples=40):
    a = np.random.default_rng(0).normal(size=(samples, 1, n)).astype("float32")
    return {"a": a, "u": 2 * a}


def train(folder, block, data, test):
    """Train on the coarse grid; returns the run and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", opdsl.OpWarning)
        trained = opdsl.train(
            PROGRAM.replace("BLOCK", block),
            data=data,
            test=test,
            epochs=30,
            batch=8,
            optimizer={"kind": "adam", "lr": 0.05},
            device="cpu",
            out=folder / "run",
        )
    return trained, interpolation_warnings(caught)


def interpolation_warnings(caught):
    found = [x.message.diagnostic for x in caught if isinstance(x.message, opdsl.OpWarning)]
    return [x for x in found if x.code == "OP0656"]


def test_a_model_that_loses_against_interpolation_is_warned_about(tmp_path):
    trained, found = train(tmp_path, WRAPPING, ramps(COARSE), ramps(FINE))
    with pytest.warns(opdsl.OpWarning, match="OP0656"):
        report = trained.evaluate([ramps(COARSE), ramps(FINE)])
    coarse, fine = report.rows()
    assert "interpolated" not in coarse
    assert fine["trained_resolution"] == [COARSE]
    # ramps are interpolated exactly, so the errors are those of the coarse grid up to weights of
    # the norm
    assert fine["interpolated"] == pytest.approx(coarse["rel_l2"], rel=0.5)
    assert fine["interpolated"] < 0.5 * fine["rel_l2"]
    assert "<th>interpolated</th>" in report._repr_html_()
    (warning,) = found
    for figure in (fine["rel_l2"], fine["interpolated"]):
        assert f"{figure:.4g}" in warning.message
    helps = " ".join(x.text for x in warning.helps)
    assert "std.spectral" in helps
    assert "basis = auto" in helps
    assert "extend(" in helps
    page = trained.report(ramps(FINE), out=tmp_path / "page.html").read_text()
    assert f"{fine['interpolated']:.4g}" in page
    assert "trained resolution" not in page
    assert json.loads(json.dumps(report.to_json()))["tests"][1]["interpolated"] is not None


def test_a_model_that_does_better_is_not(tmp_path):
    trained, found = train(tmp_path, POINTWISE, noise(COARSE), noise(FINE))
    assert not found
    with warnings.catch_warnings():
        warnings.simplefilter("error", opdsl.OpWarning)
        (fine,) = trained.evaluate(noise(FINE)).rows()
    assert fine["rel_l2"] < 0.1
    assert fine["interpolated"] > 0.5  # noise cannot be interpolated


def test_grids_without_the_coarse_points_and_coarser_ones_have_no_figure(tmp_path):
    trained, _ = train(tmp_path, POINTWISE, noise(17), noise(17))
    (other,) = trained.evaluate(noise(20)).rows()
    assert other["interpolated"] is None
    assert other["not_interpolated"] == "the 20 points do not contain those of a 17 grid"
    (coarser,) = trained.evaluate(noise(9)).rows()
    assert "interpolated" not in coarser


def test_the_tables_of_training_and_evaluation_have_the_column(folder):
    program = folder / "tiny.op"  # its data have points at both ends
    program.write_text(program.read_text().replace("periodic", "none"))
    text = good("train", "tiny.op", "--out", "run", "-q")
    head = next(x for x in text.splitlines() if x.startswith("data "))
    assert head.split()[-1] == "interpolated"
    rows = json.loads(run("evaluate", "run", "--json").stdout)["valid"]
    assert rows[1]["trained_resolution"] == [9, 9]
    cells = [x.split()[-1] for x in text.splitlines() if x.startswith("validation  ")][:2]
    assert cells == ["-", f"{rows[1]['interpolated']:.4g}"]
    about = folder / "run" / "opdsl.json"
    content = json.loads(about.read_text())
    assert content["finished"]["valid"][1]["interpolated"] == rows[1]["interpolated"]
    del content["data"]["resolution"]  # so that the run does not say how it was trained
    about.write_text(json.dumps(content))
    assert "interpolated" not in good("evaluate", "run")
