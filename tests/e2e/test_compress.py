"""`opdsl compress`: a run with factorised weights, and what they cost."""

import json
import math
import re

import numpy as np
import pytest

import opdsl
from tests.e2e.command_line import data, good, run


@pytest.fixture(scope="module")
def small(tmp_path_factory, trained):
    """The report of a compression with fine-tuning, and the folder of the compressed run."""
    out = tmp_path_factory.mktemp("compressed") / "small"
    chosen = ("--factor", "tucker", "--rank", "0.3", "--epochs", "2")
    return data("compress", trained, *chosen, "--out", out, "--quiet", "--json"), out


def rel_l2(stage):
    return [x["rel_l2"] for x in stage["errors"]]


def test_the_errors_are_those_that_evaluate_measures(small, trained):
    report, out = small
    decomposed = out.with_name("small-decomposed")
    assert [x["name"] for x in report["stages"]] == ["trained", "decomposed", "fine-tuned"]
    for stage, folder in zip(report["stages"], (trained, decomposed, out), strict=True):
        measured = data("evaluate", folder, "--json")
        assert rel_l2(stage) == [x["rel_l2"] for x in (*measured["valid"], *measured["tests"])]


def test_decomposing_costs_accuracy_and_fine_tuning_restores_it(small):
    trained, decomposed, tuned = map(rel_l2, small[0]["stages"])
    assert all(a < b for a, b in zip(trained, decomposed, strict=True))
    assert all(a < b for a, b in zip(tuned, decomposed, strict=True))


def test_the_compressed_run_has_the_weights_that_the_report_says(small, trained):
    report, out = small
    (layer,) = report["layers"]
    counts = [sum(x.numel() for x in opdsl.open_run(y).module.parameters()) for y in (trained, out)]
    assert [report["stages"][i]["weights"] for i in (0, 2)] == counts
    dense, factors = layer["numbers"]
    assert counts[0] - counts[1] == 2 * (dense - factors)
    assert dense == math.prod(layer["shape"])
    assert factors < 0.4 * dense


def test_the_record_in_the_folder_is_the_report(small):
    report, out = small
    assert json.loads((out / "compression.json").read_text()) == report


def test_the_program_of_the_compressed_run_is_a_program(small):
    text = (small[1] / "resolved.op").read_text()
    assert "factor = tucker" in text
    good("check", small[1] / "resolved.op")


def test_a_compressed_run_is_resumed_and_published(small, tmp_path):
    out = small[1]
    good("publish", out, tmp_path / "model")
    assert opdsl.from_pretrained(tmp_path / "model").graph.name == "Tiny"


def test_the_table_shows_layers_and_stages(tmp_path, trained):
    text = good(
        "compress", trained, "--factor", "tt", "--epochs", "0", "--out", tmp_path / "s", "--quiet"
    )
    assert re.search(r"u\.fourier_layer\.k +6x6x7x4", text)
    assert "decomposed" in text
    assert (tmp_path / "s" / "report.html").is_file()
    assert not (tmp_path / "s-decomposed").exists()


def test_a_run_on_arrays_is_compressed_with_arrays(tmp_path):
    random = np.random.default_rng(0)
    a = random.normal(size=(20, 1, 16)).astype("float32")
    fields = {"a": a, "u": np.roll(a, 3, axis=-1)}
    program = """edition 2026

model Shift {
  domain D = grid(x, boundary = periodic, min = 13)
  input a : D -> R^1
  output u : D -> R^1

  u = a |> linear(out = 8) |> spectral_conv(modes = 6) |> linear(out = 1)
}
"""
    trained = opdsl.train(program, data=fields, epochs=2, out=tmp_path / "run")
    small = trained.compress(
        tmp_path / "small", factor="cp", rank=4, epochs=1, data=fields, test=fields
    )
    assert [x.name for x in small.stages] == ["trained", "decomposed", "fine-tuned"]
    assert small.run.predict(a[:2]).shape == (2, 1, 16)
    assert small.run.settings.schedule.epochs == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--factor", "svd"), "OP0763"),
        (("--rank", "1.5"), "OP0763"),
        (("--rank", "4,4"), "OP0763"),
        (("--only", "u.lift*"), "OP0762"),
        (("--data", "gone.h5"), "OP0610"),
    ],
    ids=" ".join,
)
def test_a_wrong_choice_is_one_diagnostic_before_training(tmp_path, trained, arguments, code):
    result = run("compress", trained, *arguments, "--out", tmp_path / "small", "--quiet")
    assert result.stderr.count("error[") == 1
    assert f"error[{code}]" in result.stderr
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize("rank", ["", "a", "1,x"])
def test_a_rank_that_is_no_number_is_a_wrong_command_line(tmp_path, trained, rank):
    result = run("compress", trained, "--rank", rank, "--out", tmp_path / "small")
    assert result.exit_code == 2
    assert "--rank" in result.stderr


def test_a_used_folder_is_refused_before_anything_is_computed(tmp_path, trained):
    (tmp_path / "small-decomposed").mkdir()
    (tmp_path / "small-decomposed" / "a").write_text("precious")
    result = run("compress", trained, "--out", tmp_path / "small")
    assert "error[OP0624]" in result.stderr
