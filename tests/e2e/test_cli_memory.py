"""Training within a limit of memory, by the commands."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from opdsl.cli import app

PROGRAM = """edition 2026

from std.fourier import FourierLayer

model Waves {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 9)
  input a : D -> R^1
  output u : D -> R^1
  u = a |> linear(out = 16) |> repeat 3 { FourierLayer(modes = 3) |> gelu() } |> linear(out = 1)
}

train Waves {
  data waves { path = "waves.npz" valid = "none" }
  schedule constant { epochs = 1 }
  batch = 4
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    result = tmp_path_factory.mktemp("memory")
    a = np.random.default_rng(0).normal(size=(8, 1, 24, 24)).astype("float32")
    np.savez(result / "waves.npz", x=a, y=2 * a)
    (result / "waves.op").write_text(PROGRAM)
    return result


def run(*args):
    return CliRunner().invoke(app, [str(x) for x in args])


def planned(folder, limit, *more):
    args = ("--at", "x=24,y=24", "--memory", limit, "--json", *more)
    return json.loads(run("summary", folder / "waves.op", *args).stdout)["memory"]


def test_a_measure_that_changes_nothing_is_not_listed(folder):
    small = folder / "small.op"
    small.write_text(PROGRAM.replace("repeat 3", "repeat 1"))
    text = run("summary", small, "--at", "x=24,y=24", "--memory", "100 kB").output
    assert text.count("everything kept") == 1


def test_summary_shows_what_is_chosen_and_train_does_it(folder):
    most = planned(folder, "1 TB")["attempts"][0]["peak"]
    limit = f"{int(0.85 * most)} B"
    plan = planned(folder, limit)
    chosen = plan["attempts"][plan["chosen"]]
    assert plan["batch"] == 4
    assert chosen["computed_again"]
    assert chosen["micro_batches"] == 1
    assert chosen["peak"] <= int(0.85 * most) < most
    text = run("summary", folder / "waves.op", "--at", "x=24,y=24", "--memory", limit).stdout
    assert "everything kept" in text
    assert "chosen" in text
    out = folder / "run"
    trained = run("train", folder / "waves.op", "--set", f'memory="{limit}"', "--out", out)
    assert trained.exit_code == 0, trained.output
    for line in text[text.index("memory  at most") :].strip().splitlines():
        assert line in trained.stderr
    kept = run("train", folder / "waves.op", "--out", folder / "kept")
    assert kept.exit_code == 0
    rows = [
        json.loads((x / "metrics.jsonl").read_text().splitlines()[-1])
        for x in (out, folder / "kept")
    ]
    assert rows[0]["train_loss"] == rows[1]["train_loss"]  # equal to the bit
    resumed = run("train", "--resume", out, "--epochs", 2)
    assert resumed.exit_code == 0, resumed.output
    assert "chosen" in resumed.stderr


def test_a_limit_that_nothing_fits_is_one_diagnostic(folder):
    out = folder / "tiny"
    result = run("train", folder / "waves.op", "--set", 'memory="10 kB"', "--out", out)
    assert result.exit_code == 5
    assert result.stderr.count("error[") == 1
    assert "error[OP0850]" in result.stderr
    assert "Traceback" not in result.output
    plan = planned(folder, "10 kB", "--batch", 2)
    assert plan["chosen"] is None
    assert plan["batch"] == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--memory", "1 GB"), "needs a resolution"),
        (("--memory", "1 gb", "--at", "x=16,y=16"), "is not a number and a unit"),
    ],
)
def test_wrong_options_are_refused(folder, args, message):
    result = run("summary", folder / "waves.op", *args)
    assert result.exit_code == 2
    assert message in result.stderr
