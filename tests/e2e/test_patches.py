"""Runs on patches from the outside: training, resuming, prediction, publishing and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import opdsl
from opdsl.cli import app
from opdsl.diagnostics import OpError, Source
from opdsl.workflow.check import check_file
from tests.e2e.command_line import process

PROGRAM = """edition 2026

from std.fourier import FourierLayer
from std.pointwise import Lift, Project

model Waves {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 16)
  input a : D -> R^1
  output u : D -> R^1

  u = concat(a, coords(D)) |> Lift(out = 4) |> FourierLayer(modes = 2) |> Project(out = 1)
}

train Waves {
  data { path = "waves.npz" valid = 0.25 }
  optimizer adam { lr = 1e-2 }
  schedule one_cycle { epochs = 3 }
  batch = 4
  patches { parts = 2 levels = 1 overlap = 0.25 }
}
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    a = generator.normal(size=(16, 1, 16, 16)).astype("float32")
    np.savez("waves.npz", a=a, u=a + np.roll(a, 1, -1))
    Path("waves.op").write_text(PROGRAM)
    return a


def opdsl_command(*words):
    result = CliRunner().invoke(app, [str(x) for x in words])
    return result.exit_code, result.output


def test_a_run_on_patches_predicts_whole_functions_and_goes_on_to_the_bit(home):
    run = opdsl.train("waves.op", out="run")
    assert run.predict(home[:3]).shape == (3, 1, 16, 16)
    assert run.predict(np.zeros((2, 1, 24, 20), "float32")).shape == (2, 1, 24, 20)
    with pytest.raises(OpError, match="OP0741"):
        opdsl.train("waves.op", out="part", callbacks=[Fails()])
    resumed = opdsl.resume("part")
    for k, x in run.module.state_dict().items():
        assert torch.equal(x, resumed.module.state_dict()[k]), k


class Fails(opdsl.Callback):
    """Stops a run behind its first epoch, which is saved then."""

    def on_epoch_start(self, run):
        if run.epoch == 2:
            raise RuntimeError("power cut")


def test_the_settings_of_patches_choose_the_model_of_a_published_run(home):
    run = opdsl.train("waves.op", out="run", epochs=1, patches={"parts": [2, 1], "levels": 0})
    assert run.settings.patches.parts == [2, 1]
    expected = run.predict(home[:2])
    published = opdsl.from_pretrained(run.save_pretrained("published"))
    assert np.array_equal(published.predict(home[:2]), expected)
    assert np.array_equal(opdsl.open_run("run").predict(home[:2]), expected)


def test_patches_at_once_change_neither_errors_nor_predictions(home):
    runs = [
        opdsl.train("waves.op", out=f"run-{n}", epochs=2, **{"patches.at_once": n}) for n in (1, 16)
    ]
    predictions = [x.predict(home[:4]) for x in runs]
    assert np.allclose(*predictions, atol=1e-4)


def test_commands_train_predict_and_refuse(home):
    code, text = opdsl_command("train", "waves.op", "--out", "run", "--set", "schedule.epochs=1")
    assert code == 0, text
    code, text = opdsl_command("predict", "run", "-i", "waves.npz", "-o", "out.npz")
    assert code == 0, text
    assert np.load("out.npz")["u"].shape == home.shape
    for words in (
        ("predict", "run", "-i", "waves.npz", "-o", "tiled.npz", "--tile", "8"),
        ("export", "run", "-o", "waves.pt2"),
        ("compress", "run", "--factor", "tucker", "--rank", "0.5", "--out", "small"),
    ):
        code, text = opdsl_command(*words)
        assert code != 0
        assert text.count("error[") == 1, text
        assert "OP0863" in text
    assert not Path("small").exists()


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ("patches.parts=[2, 2, 2]", "OP0860"),
        ("patches.parts=0", "OP0604"),
        ("patches.parts=[]", "OP0604"),
        ("patches.padding=mirror", "OP0604"),
        ("patches.overlap=1.5", "OP0604"),
        ("patches.parts=16", "OP0862"),
        ("patches.sizes=2", "OP0603"),
    ],
)
@pytest.mark.usefixtures("home")
def test_wrong_patches_are_one_diagnostic_and_no_folder(setting, code):
    status, text = opdsl_command("train", "waves.op", "--out", "run", "--set", setting)
    assert status != 0
    assert text.count("error[") == 1, text
    assert code in text
    assert not Path("run").exists()


@pytest.mark.parametrize("space", ["q = 2", "x = 2 q = 1", "x = 2 y = 2"])
def test_an_axis_that_cannot_be_divided_is_found_by_a_check(space):
    patches = next(x for x in PROGRAM.splitlines() if "patches {" in x)
    program = PROGRAM.replace(patches, f"  parallel {{ space {{ {space} }} }}")
    codes = [x.code for x in check_file(Source("w.op", program), Path()) if x.code != "OP0411"]
    assert codes == ["OP0822"]


def test_patches_that_do_not_fit_are_found_by_a_check():
    assert not [x.code for x in check_file(Source("w.op", PROGRAM), Path()) if x.code != "OP0411"]
    wrong = PROGRAM.replace("concat(a, coords(D))", "(a + linear(a, out = 1))")
    (diagnostic,) = check_file(Source("w.op", wrong), Path())
    assert diagnostic.code == "OP0861"
    assert diagnostic.labels


@pytest.mark.usefixtures("home")
def test_a_run_goes_on_with_its_patches_only():
    opdsl.train("waves.op", out="run", epochs=1)
    with pytest.raises(OpError) as caught:
        opdsl.resume("run", **{"patches.levels": 0, "schedule.epochs": 2})
    assert [x.code for x in caught.value.diagnostics] == ["OP0629"]


@pytest.mark.slow
def test_a_run_in_two_processes_that_share_patches_is_that_of_one(home, tmp_path):
    more = ("--set", "parallel.space=2")
    Path("waves.op").write_text(PROGRAM.replace("batch = 4", "batch = 5 precision = fp64"))
    ends = []
    for name, words in (("one", ()), ("two", ("--nproc", 2, *more))):
        result = process("train", "waves.op", "--out", name, *words, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        ends.append(json.loads(Path(name, "opdsl.json").read_text())["finished"]["valid"][0])
    assert ends[0]["rel_l2"] == pytest.approx(ends[1]["rel_l2"], rel=1e-9)
    assert opdsl.open_run("two").predict(home[:2]).shape == (2, 1, 16, 16)
