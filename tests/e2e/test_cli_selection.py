"""Which samples of a file a run learns from, seen by the means that it keeps of them."""

from pathlib import Path

import numpy as np
import pytest

from opdsl.train.run.trained import trained_state
from tests.e2e.command_line import good, run

PROGRAM = """edition 2026

model Plain {
  domain D = grid(x: 0..1, min = 4)
  input a : D -> R^1
  output u : D -> R^1

  u = a |> linear(out = 1)
}

train Plain {
  data { path = "numbered.npz" }
  schedule constant { epochs = 1 }
  device = cpu
}
"""
COUNT = 60


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """A program, and samples that have their own index as values."""
    monkeypatch.chdir(tmp_path)
    Path("plain.op").write_text(PROGRAM)
    index = np.broadcast_to(np.arange(COUNT, dtype=np.float32)[:, None], (COUNT, 16))
    wave = np.sin(np.arange(16) * 2 * np.pi / 16).astype(np.float32)
    np.savez("numbered.npz", x=index + wave, y=index + 1 + wave)


def mean_index(*settings):
    """The mean index of the samples that a run has learnt from."""
    more = [y for x in settings for y in ("--set", x)]
    good("train", "plain.op", "--out", "run", "--quiet", *more)
    return float(trained_state(Path("run"))["normaliser"]["scales.in_a.mean"])


def test_samples_are_counted_from_those_that_are_left_out():
    found = mean_index("data.test=numbered.npz", "data.skip=5", "data.samples=20")
    assert 13 <= found <= 15  # of 5 to 24, of which some may be kept for validation


def test_as_many_samples_are_read_as_are_left_out_and_asked_for():
    found = mean_index("data.test=numbered.npz", "data.skip=30", "data.samples=20")
    assert 38 <= found <= 40


def test_without_test_data_the_first_samples_after_those_left_out_are_learnt_from():
    found = mean_index("data.skip=5", "data.samples=20", "data.test_samples=10")
    assert 13 <= found <= 15


def test_the_last_samples_are_kept_for_testing():
    good("train", "plain.op", "--out", "run", "--quiet", "--set", "data.test_samples=10")
    result = run("evaluate", "run", "--json")
    assert result.exit_code == 0, result.stderr
    from_file = good("evaluate", "run", "--json", "--data", last_ten())
    assert errors(from_file) == errors(result.stdout)


def last_ten():
    with np.load("numbered.npz") as held:
        np.savez("last.npz", **{k: held[k][-10:] for k in held.files})
    return "last.npz"


def errors(text):
    import json

    (row,) = json.loads(text)["tests"]
    return {k: row[k] for k in ("rel_l2", "rmse", "max_error", "samples")}
