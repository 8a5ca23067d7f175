"""`opdsl train --from RUN`: a trained model gets another variable."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from tests.e2e.command_line import data, good, run

NAMES = ("ux", "uy", "p")
BARE = """edition 2026

from std.codomain import CodomainLayer

model Grow "a token for each variable" {{
  domain D = grid(x: 0..1, boundary = periodic, min = 9)
  input x : D -> R^{count}
  output y : D -> R^{count}

{marks}
  marked = concat({parts})
  seen = marked
    |> linear(out = {width}, copies = {count})
    |> CodomainLayer(tokens = {count}, modes = 3)
  y = seen |> linear(out = 1, copies = {count})
}}

train Grow {{
  data flow {{ path = "{count}.npz" test = "{count}.npz" resolution = 12 }}
  optimizer adamw {{ lr = 1e-2 weight_decay = 0.0 }}
  schedule constant {{ epochs = 2 }}
  batch = 4
  device = cpu
}}
"""


def program(count: int, width: int = 4, mark: str = "mark") -> str:
    names = NAMES[:count]
    marks = [f"  {mark}_{x} = series(D, out = 2, modes = 2)" for x in names]
    return BARE.format(
        count=count,
        width=width,
        marks="\n".join(marks),
        parts=", ".join(f"x[{i}], {mark}_{n}" for i, n in enumerate(names)),
    )


@pytest.fixture(scope="module")
def two_variables(tmp_path_factory):
    """A folder with a trained model of two variables in `old`, and a program of three, `3.op`."""
    home = tmp_path_factory.mktemp("start")
    random = np.random.default_rng(0)
    for count in (1, 2, 3):
        values = random.standard_normal((2, 8, count, 12)).astype("float32")
        np.savez(home / f"{count}.npz", x=values[0], y=values[1])
        (home / f"{count}.op").write_text(program(count))
    good("train", home / "2.op", "--out", home / "old", "--quiet")
    return home


@pytest.fixture
def grown(two_variables, tmp_path, monkeypatch):
    """A copy of that folder, the current one."""
    home = shutil.copytree(two_variables, tmp_path / "home")
    monkeypatch.chdir(home)
    return home


def still(count: int, *more: object) -> dict:
    """A run from `old` whose steps are too small to change a weight."""
    given = ("--set", "optimizer.lr=1e-30", "--epochs", 1, "--quiet", "--json")
    return data("train", f"{count}.op", "--from", "old", "--out", "new", *given, *more)


@pytest.mark.parametrize("count", [3, 1])
@pytest.mark.usefixtures("grown")
def test_a_model_of_other_variables_has_the_weights_of_all_that_they_share(count):
    summary = still(count)
    old, new = (load_file(Path(x, "model.safetensors")) for x in ("old", "new"))
    old, new = (
        {k.removeprefix("module.").replace(".each.", "."): v for k, v in x.items()}
        for x in (old, new)
    )
    apart = {f"mark_{x}.weight" for x in (("p",) if count == 3 else ("uy",))}
    assert {k for k in new.keys() ^ old.keys() if "normaliser" not in k} == apart
    weights = [k for k in new.keys() & old.keys() if "normaliser" not in k]
    assert len(weights) > 20
    for name in weights:
        assert new[name].shape == old[name].shape
        assert (new[name] - old[name]).abs().max() < 1e-20, name
    told = "new: mark_p.weight" if count == 3 else "not taken over: mark_uy.weight"
    assert told in summary["start"]
    assert set(json.loads(Path("new", "start.json").read_text())["taken"]) >= set(weights)


@pytest.mark.usefixtures("grown")
def test_a_program_without_a_common_name_is_refused():
    Path("other.op").write_text(
        """edition 2026

model Grow {
  domain D = grid(x: 0..1, boundary = periodic, min = 9)
  input x : D -> R^3
  output y : D -> R^3

  far = linear(x, out = 5)
  y = away
  away = linear(far, out = 3)
}
"""
    )
    result = run("train", "other.op", "--data", "3.npz", "--from", "old", "--out", "new")
    assert result.exit_code == 3, result.stderr
    assert "OP0626" in result.stderr
    assert "no weight of a name that the trained model has" in result.stderr
    assert not Path("new").exists()


@pytest.mark.usefixtures("grown")
def test_a_common_name_of_another_shape_is_refused():
    Path("3.op").write_text(program(3, width=6))
    result = run("train", "3.op", "--from", "old", "--out", "new")
    assert result.exit_code == 3, result.stderr
    assert "have another shape than in the trained model" in result.stderr
    assert not Path("new").exists()


@pytest.mark.usefixtures("grown")
def test_a_folder_without_a_run_is_refused():
    result = run("train", "3.op", "--from", "nowhere", "--out", "new")
    assert "OP0627" in result.stderr
    assert not Path("new").exists()
