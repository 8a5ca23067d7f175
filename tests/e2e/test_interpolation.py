"""Predictions on finer grids beside interpolated ones: table, JSON, report page and warning."""

import json
import warnings
from html import unescape

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

import opdsl
from opdsl.cli.results import metrics_table
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
    found = [x.message.diagnostic for x in caught if isinstance(x.message, opdsl.OpWarning)]
    return trained, [x for x in found if x.code == "OP0656"]


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
    assert fine["interpolated_h1"] < 0.5 * fine["rel_h1"]
    assert "<th>interpolated from 9</th>" in report._repr_html_()
    (warning,) = found
    for figure in (fine["rel_l2"], fine["interpolated"]):
        assert f"{figure:.4g}" in warning.message
    assert "on the test data at 33 " in warning.message
    assert warning.file == str(trained.folder)
    helps = " ".join(x.text for x in warning.helps)
    assert "std.spectral" in helps
    assert "basis = auto" in helps
    assert "extend(" in helps
    again = trained.report(ramps(FINE), out=tmp_path / "page.html").read_text()
    for page in ((trained.folder / "report.html").read_text(), again):
        assert "<th>interpolated from 9</th>" in page
        assert f">{fine['interpolated']:.4g}</td>" in page
        assert f"warning[OP0656]: {warning.message}" in unescape(page)
        assert all(f"<li>help: {x.text}</li>" in unescape(page) for x in warning.helps)
        assert not any(x in page for x in ("trained resolution", "interpolated h1"))
    assert json.loads(json.dumps(report.to_json()))["tests"][1]["interpolated"] is not None


def test_a_model_that_does_better_is_not(tmp_path):
    trained, found = train(tmp_path, POINTWISE, noise(COARSE), noise(FINE))
    assert not found
    assert "OP0656" not in (trained.folder / "report.html").read_text()
    with warnings.catch_warnings():
        warnings.simplefilter("error", opdsl.OpWarning)
        (fine,) = trained.evaluate(noise(FINE)).rows()
    assert fine["rel_l2"] < 0.1
    assert fine["interpolated"] > 0.5  # noise cannot be interpolated


def test_grids_without_the_coarse_points_and_coarser_ones_have_no_figure(tmp_path):
    trained, _ = train(tmp_path, POINTWISE, noise(17), noise(17))
    (other,) = trained.evaluate(noise(20)).rows()
    assert other["interpolated"] is None
    reason = "the 20 points of `x` (points at both ends) do not contain those of a grid of 17; "
    reason += "`sampling` declares other places"
    assert other["not_interpolated"] == reason
    report = trained.evaluate([noise(20), noise(33)])
    lines = metrics_table(report.rows()).splitlines()
    assert lines[0].endswith("  interpolated from 17")
    assert [x.split()[-1] == "-" for x in lines[1:3]] == [True, False]
    assert lines[3] == f"not interpolated to 20: {reason}"
    assert f"<p>not interpolated to 20: {reason}</p>" in report._repr_html_()
    (coarser,) = trained.evaluate(noise(9)).rows()
    assert "interpolated" not in coarser


def test_the_tables_of_training_and_evaluation_have_the_column(folder):
    program = folder / "tiny.op"  # its data have points at both ends
    program.write_text(program.read_text().replace("periodic", "none"))
    text = good("train", "tiny.op", "--out", "run", "-q")
    head = next(x for x in text.splitlines() if x.startswith("data "))
    assert head.endswith("  interpolated from 9x9")
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


def test_the_page_says_why_there_is_no_figure(tmp_path):
    trained, _ = train(tmp_path, POINTWISE, noise(17), noise(20))
    page = (trained.folder / "report.html").read_text()
    assert "<th>interpolated from 17</th>" in page
    assert "<p>Not interpolated to 20: the 20 points of `x` (points at both ends) do not" in page
    again = trained.report(noise(20), out=tmp_path / "again.html").read_text()
    assert again.count("<p>Not interpolated") == 1


def test_data_of_unknown_layout_agree_with_scipy(tmp_path):
    """Points at the lower end only: the last ones are extrapolated from every second one."""
    files = {n: tmp_path / f"{n}.npz" for n in (16, 32)}
    for n, file in files.items():
        np.savez(file, x=noise(n)["a"], y=noise(n)["u"])
    for options in ("boundary = none", "boundary = none, sampling = lower"):
        program = PROGRAM.replace("boundary = none", options).replace("BLOCK", WRAPPING)
        out = tmp_path / f"run{len(options)}"
        ready = opdsl.train(
            program, data=str(files[16]), epochs=1, device="cpu", out=out, warn=[].extend
        )
        (fine,) = ready.evaluate(str(files[32]), warn=[].extend).rows()
        a, u = noise(32)["a"], noise(32)["u"]
        spline = CubicSpline(range(0, 32, 2), ready.predict(a[..., ::2]), axis=-1)(np.arange(32))
        assert fine["interpolated"] == pytest.approx(rel_l2(spline, u), rel=1e-4)
        assert fine["trained_resolution"] == [16]


def rel_l2(pred, true):
    squares = ((pred - true) ** 2).sum((-1, -2)), (true**2).sum((-1, -2))
    return np.sqrt(squares[0] / squares[1]).mean()


STEPS = """edition 2026

model Steps {
  domain D = grid(x: 0..1, boundary = periodic, min = 9)
  input u : D -> R^1
  output v : D -> R^1
  feedback v -> u

  v = spectral_conv(u, modes = 3, out = 1)
}
"""


def test_rollouts_are_interpolated_step_by_step(tmp_path):
    r = np.random.default_rng(0)

    def steps(n):
        values = {"u": r.normal(size=(8, 1, n)), "v": r.normal(size=(8, 3, n))}
        return {k: x.astype("float32") for k, x in values.items()}

    out = tmp_path / "run"
    ready = opdsl.train(STEPS, data=steps(9), out=out, epochs=1, rollout=3, device="cpu")
    fine = steps(36)
    (row,) = ready.evaluate(fine, warn=[].extend).rows()
    coarse = ready.predict(fine["u"][..., ::4], steps=3)  # (samples, steps, channels, points)
    ring = np.concatenate([coarse, coarse[..., :1]], -1)
    spline = CubicSpline(range(0, 37, 4), ring, axis=-1, bc_type="periodic")(np.arange(36))
    assert row["interpolated"] == pytest.approx(rel_l2(spline, fine["v"][:, :, None]), rel=1e-4)
    assert row["interpolated_h1"] > 0
    assert "not_interpolated" not in row
