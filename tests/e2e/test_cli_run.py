"""The commands that learn and apply: train, evaluate, predict, data."""

import json
import re
import shutil
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from opdsl.data.io.dataset import open_dataset
from opdsl.train.run.metrics_log import read_metrics
from tests.e2e.command_line import TINY, TRAIN, data, good, process, run, start

FILES = {"resolved.op", "settings.yaml", "opdsl.json", "metrics.jsonl", "checkpoints"}
FILES |= {"model.safetensors", "report.html"}


def names(folder):
    return {x.name for x in Path(folder).iterdir()}


# ---------------------------------------------------------------------------------------- train


@pytest.mark.usefixtures("folder")
def test_training_leaves_a_whole_run_folder_and_says_where_the_report_is():
    result = run("train", "tiny.op", "--out", "run")
    assert result.exit_code == 0, result.stderr
    assert names("run") >= FILES
    assert "report page  run/report.html" in result.stdout
    assert re.search(r"^validation +9x9 +3 +0\.\d+", result.stdout, re.MULTILINE)
    assert re.search(r"^validation +17x17 +3 +0\.\d+", result.stdout, re.MULTILINE)
    assert "epoch 3/3" in result.stderr
    assert "validation   3 samples, the last of the 30 of d.h5" in result.stdout
    assert "epoch" not in re.sub("weights +epoch", "", result.stdout)


@pytest.mark.usefixtures("folder")
def test_twenty_steps_lower_the_loss():
    arguments = ("--epochs", 4, "--set", "optimizer.lr=2e-2", "--out", "run", "--quiet")
    summary = data("train", "tiny.op", *arguments, "--json")
    losses = [x["train_loss"] for x in read_metrics(Path("run"))]
    assert summary["steps"] >= 20
    assert losses[-1] < 0.8 * losses[0]
    assert summary["train_loss"] == losses[-1]


@pytest.mark.usefixtures("folder")
def test_the_same_seed_gives_the_same_weights_and_another_one_does_not():
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        good("train", "tiny.op", "--epochs", 1, "--set", f"seed={seed}", "--out", name, "-q")
    a, b, c = (Path(x, "model.safetensors").read_bytes() for x in "abc")
    assert a == b
    assert a != c


@pytest.mark.usefixtures("folder")
def test_the_default_folder_carries_the_name_of_the_model(tmp_path):
    good("train", "tiny.op", "--epochs", 1, "--quiet")
    (made,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"Tiny-\d{8}-\d{6}", made.name)
    good("train", "tiny.op", "--epochs", 2, "--quiet", "--resume")  # the latest
    assert len(list((tmp_path / "runs").iterdir())) == 1
    assert len(read_metrics(made)) == 2


@pytest.mark.usefixtures("folder")
def test_a_used_folder_is_refused_and_keeps_its_run():
    good("train", "tiny.op", "--epochs", 1, "--out", "run", "-q")
    before = names("run")
    result = run("train", "tiny.op", "--epochs", 1, "--out", "run")
    assert result.exit_code == 2
    assert "OP0624" in result.stderr
    assert names("run") == before


def test_the_report_stands_alone(trained):
    page = (trained / "report.html").read_text()
    assert "Errors by resolution" in page
    assert "17x17" in page
    assert "data:image/png;base64," in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_the_folder_says_what_made_it(trained):
    import opdsl
    from opdsl.ir.fingerprint import fingerprint

    about = json.loads((trained / "opdsl.json").read_bytes())
    assert about["fingerprint"] == fingerprint(opdsl.load(trained / "resolved.op"))
    assert about["seed"] == 0
    assert about["data"]["resolution"] == [9, 9]
    assert about["data"]["samples"] == 27


def test_the_weights_are_the_best_and_load_without_us(trained):
    from safetensors.torch import load_file

    import opdsl
    from opdsl.train.run.checkpoint import CheckpointStore

    best, weights = CheckpointStore(trained).load("best"), load_file(trained / "model.safetensors")
    parts = {
        name: {k.removeprefix(f"{name}."): x for k, x in weights.items() if k.startswith(name)}
        for name in ("module", "normaliser")
    }
    opdsl.compile(trained / "resolved.op").load_state_dict(parts["module"])
    for name, found in parts.items():
        assert found.keys() == best[name].keys()
        assert all(torch.equal(x, best[name][k]) for k, x in found.items())


@pytest.mark.usefixtures("folder")
def test_a_run_keeps_its_parameters_and_the_files_it_imports(tmp_path):
    body = TINY.split("model Tiny")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "layers.op").write_text(
        "edition 2026\n\nfrom std.fourier import FourierLayer\n\n"
        "block Layer {\n  domain D : grid\n  dim c\n  param modes : modes\n  input v : D -> R^c\n"
        "  output w : D -> R^c\n\n  w = v |> FourierLayer(modes = modes)\n}\n"
    )
    text = body[0] + 'from "mine/layers.op" import Layer\n\nmodel Tiny' + body[1]
    text = text.replace("FourierLayer(modes", "Layer(modes")
    text = text.replace("from std.fourier import FourierLayer\n", "")
    (tmp_path / "own.op").write_text(text)
    settings = ("--data", "d.h5", "--epochs", 1, "--set", "model.width=4")
    settings += ("--set", "data.coordinates=ignore")
    good("train", "own.op", *settings, "--out", "run", "--quiet")
    assert "param width : int = 4  # channels" in (tmp_path / "run" / "resolved.op").read_text()
    (tmp_path / "own.op").unlink()
    shutil.rmtree(tmp_path / "mine")
    assert len(data("evaluate", "run", "--json")["valid"]) == 1


@pytest.mark.usefixtures("folder")
def test_a_training_file_at_another_place_is_found_beside_the_program(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    good("train", "../tiny.op", "--epochs", 1, "--out", "run", "-q")
    monkeypatch.chdir(tmp_path)
    assert "17x17" in good("evaluate", "elsewhere/run")  # from another folder again


@pytest.mark.usefixtures("folder")
def test_test_files_of_two_resolutions_serve_each_their_own(tmp_path):
    fields = open_dataset("d.h5")
    pair = {"x": fields.values["coefficient"], "y": fields.values["pressure"]}
    torch.save(pair, "fine.pt")
    torch.save({k: x[..., ::2, ::2].contiguous() for k, x in pair.items()}, "coarse.pt")
    (tmp_path / "own.op").write_text(TINY.replace("{coefficient}", "1").replace("{pressure}", "1"))
    arguments = ("--test", "fine.pt", "--test", "coarse.pt", "--epochs", 1, "--out", "run", "-q")
    options = ("--data", "coarse.pt", "--set", "eval.resolutions=[9, 17]", "--json")
    rows = data("train", "own.op", *arguments, *options)["tests"]
    assert [(x["set"], x["data"], x["samples"]) for x in rows] == [
        ("9x9", "coarse.pt", 30),
        ("17x17", "fine.pt", 30),
    ]


# --------------------------------------------------------------------------------- interruptions


def metrics(run_folder):
    return [{k: v for k, v in x.items() if k != "seconds"} for x in read_metrics(run_folder)]


@pytest.mark.parametrize(
    ("signum", "code"),
    [
        (signal.SIGTERM, 143),
        # `test_faults` has a run that is interrupted
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_and_resume_gives_the_same_metrics(folder, signum, code):
    settings = ("--epochs", 40, "--set", "checkpoint.every=50")
    good("train", "tiny.op", "--out", "whole", "-q", *settings)
    child = start("train", "tiny.op", "--out", "cut", *settings, cwd=folder)
    for line in child.stderr:
        if line.startswith("epoch 2/40"):
            break
    child.send_signal(signum)
    _, err = child.communicate(timeout=60)
    assert child.returncode == code
    last = err.splitlines()[-1]
    assert last == "stopped and saved; to go on: opdsl train --resume cut"
    assert "Traceback" not in err
    assert len(metrics(folder / "cut")) < 40
    good(*last.split("opdsl ")[1].split(), "--quiet")
    assert metrics(folder / "cut") == metrics(folder / "whole")


def test_resume_in_a_folder_in_use_is_refused_and_changes_nothing(folder):
    from opdsl.train.run.folder import lock

    good("train", "tiny.op", "--epochs", 1, "--out", "run", "-q")
    before = (folder / "run" / "settings.yaml").read_text()
    with lock(folder / "run"):
        result = run("train", "tiny.op", "--epochs", 2, "--out", "run", "--resume")
    assert result.exit_code == 2
    assert "in use by process" in result.stderr
    assert (folder / "run" / "settings.yaml").read_text() == before


@pytest.mark.usefixtures("folder")
def test_resume_with_another_program_is_refused():
    good("train", "tiny.op", "--epochs", 1, "--out", "run", "-q")
    result = run("train", "tiny.op", "--out", "run", "--resume", "--set", "model.width=9")
    assert result.exit_code == 2
    assert "OP0629" in result.stderr
    assert "`model.width` is 6 in this run and cannot become 9" in result.stderr


@pytest.mark.usefixtures("folder")
def test_there_may_be_nothing_to_resume():
    result = run("train", "tiny.op", "--resume")
    assert result.exit_code == 2
    assert "OP0627" in result.stderr


# --------------------------------------------------------------------------------- bad settings


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--data", "nope.h5"), 4, "OP0610"),
        (("--set", "data.resolution=7"), 4, "OP0614"),
        (("--set", "eval.resolutions=[8]"), 4, "OP0614"),
        (("--set", "eval.resolutions=[9, 5]"), 4, "OP0903"),  # below the promise
        (("--set", "data.resolution=5"), 4, "OP0903"),
        (("--set", "data.test_samples=30"), 4, "OP0613"),
        (("--set", "data.test_samples=2", "--set", "data.samples=29"), 4, "OP0613"),
        (("--set", "data.samples=31"), 4, "OP0610"),
        (("--valid", "0.99"), 4, "OP0613"),
        (("--valid", "nope.h5"), 4, "OP0610"),
        (("--valid", "1.5"), 3, "OP0604"),
        (("--set", "model.width=1000000"), 5, "OP0630"),
        (("--set", "batch=1000000000"), 5, "OP0630"),
        (("--precision", "fp16"), 2, "OP0622"),
        (("--epochs", "0"), 3, "OP0604"),
        (("--epochs", "many"), 2, "--epochs"),
        (("--set", "optimizer.lr=1e30"), 6, "OP0620"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_cannot_be_is_told_with_its_exit_code(arguments, code, word):
    result = run("train", "tiny.op", *arguments, "--out", "run", "-q")
    assert result.exit_code == code, result.stderr
    assert word in result.stderr
    assert not result.stdout
    assert code == 6 or not Path("run").exists()  # nothing is begun


@pytest.mark.usefixtures("folder")
def test_a_program_without_data_says_what_it_lacks(tmp_path):
    (tmp_path / "bare.op").write_text(TINY)
    result = run("train", "bare.op")
    assert result.exit_code == 3
    assert "OP0602" in result.stderr
    assert "it has no train block" in result.stderr
    assert "`--data PATH`" in result.stderr


@pytest.mark.usefixtures("folder")
def test_a_nan_in_the_data_is_found_before_the_run(tmp_path):
    with h5py.File("d.h5", "r+") as file:
        file["t0_fields/pressure"][4, 0, 8, 8] = np.nan
    result = run("train", "tiny.op", "--out", "run")
    assert result.exit_code == 4
    assert "OP0612" in result.stderr
    assert "sample 4" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("folder")
def test_errors_are_json_where_json_was_asked_for():
    result = run("train", "tiny.op", "--data", "nope.h5", "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)["diagnostics"][0]["code"] == "OP0610"


# ------------------------------------------------------------------------------------- evaluate


def test_evaluate_repeats_what_training_found(trained):
    rows = data("evaluate", trained, "--device", "cpu", "--json")["valid"]
    assert [x["set"] for x in rows] == ["9x9", "17x17"]
    best = min(x["valid"]["rel_l2"] for x in read_metrics(trained))
    assert rows[0]["rel_l2"] == best


def test_evaluate_at_other_resolutions_and_on_other_data(trained):
    rows = data("evaluate", trained, "--resolutions", "17,9", "--json")["valid"]
    assert [x["resolution"] for x in rows] == [[17, 17], [9, 9]]
    other = data("evaluate", trained, "--data", trained.parent / "d.h5", "--json")["tests"]
    assert [(x["set"], x["samples"]) for x in other] == [("17x17", 30)]
    text = good("evaluate", trained, "--resolutions", "17x17")
    heads = re.split("  +", text.splitlines()[0])
    figures = ["rel. L2", "rel. H1", "RMSE", "max error", "interpolated from 9x9"]
    assert heads == ["data", "set", "samples", *figures]
    other = good("evaluate", trained, "--data", trained.parent / "d.h5")
    assert re.split("  +", other.splitlines()[0])[:2] == ["test set", "samples"]


@pytest.mark.parametrize("text", ["x", "9,", "0", "9x", "-9"])
def test_resolutions_that_are_none_are_a_usage_error(trained, text):
    assert run("evaluate", trained, f"--resolutions={text}").exit_code == 2


def test_what_is_no_run_is_told(tmp_path):
    assert run("evaluate", tmp_path).exit_code == 2
    result = run("evaluate", tmp_path / "absent")
    assert "OP0627" in result.stderr
    assert "there is no such folder" in result.stderr


def test_test_data_that_are_gone_can_be_named_anew(folder):
    good("train", "tiny.op", "--epochs", 1, "--out", "run", "-q")
    (folder / "d.h5").rename(folder / "moved.h5")
    result = run("evaluate", "run")
    assert result.exit_code == 4
    assert "`--data PATH`" in result.stderr
    assert run("evaluate", "run", "--data", "moved.h5").exit_code == 0


# -------------------------------------------------------------------------------------- predict


def test_a_prediction_in_hdf5_is_what_the_module_says(trained, tmp_path):
    from opdsl.workflow.folder.reading import read_run_folder
    from opdsl.workflow.folder.weights import trained_module

    source = trained.parent / "d.h5"
    result = run("predict", trained, "-i", source, "-o", tmp_path / "p.h5", "--device", "cpu")
    assert (result.exit_code, result.stdout) == (0, "")
    found = open_dataset(tmp_path / "p.h5")
    saved = read_run_folder(trained)
    module, kept = trained_module(trained, saved.graph, saved.settings)
    inputs = {"a": open_dataset(source).values["coefficient"]}
    with torch.no_grad():
        truth = kept.normaliser.decode(module.eval()(**kept.normaliser.encode(inputs)))["u"]
    torch.testing.assert_close(found.values["pressure"], truth)
    assert found.roles == {"pressure": "output"}
    with h5py.File(tmp_path / "p.h5") as file:
        np.testing.assert_allclose(file["dimensions/x"][[0, -1]], [0, 1])


def test_a_prediction_in_npz_is_the_same(trained, tmp_path):
    source = trained.parent / "d.h5"
    good("predict", trained, "-i", source, "-o", tmp_path / "p.h5")
    good("predict", trained, "-i", source, "-o", tmp_path / "p.npz")
    truth = open_dataset(tmp_path / "p.h5").values["pressure"].numpy()
    np.testing.assert_array_equal(np.load(tmp_path / "p.npz")["u"], truth)
    assert names(tmp_path) == {"p.h5", "p.npz"}  # no halves


@pytest.mark.parametrize("ending", [".h5", ".npz"])
def test_a_prediction_that_fails_in_its_last_batch_leaves_nothing(trained, tmp_path, ending):
    x = np.ones((12, 1, 9, 9), np.float32)
    x[11, 0, 2, 2] = np.inf
    np.savez(tmp_path / "bad.npz", x=x, y=x, coefficient=x)
    result = run("predict", trained, "-i", tmp_path / "bad.npz", "-o", tmp_path / f"p{ending}")
    assert result.exit_code == 4
    assert "first in sample 11" in result.stderr
    assert names(tmp_path) == {"bad.npz"}


def test_a_prediction_never_has_more_than_a_batch(trained, tmp_path, monkeypatch):
    from opdsl.workflow.runs import prediction

    sizes = []
    apply = prediction.apply

    def noted(model, normaliser, inputs, *more):
        sizes.append(len(inputs["a"]))
        return apply(model, normaliser, inputs, *more)

    monkeypatch.setattr(prediction, "apply", noted)
    good("predict", trained, "-i", trained.parent / "d.h5", "-o", tmp_path / "p.h5")
    assert sizes == [5] * 6
    sizes.clear()
    more = ("-o", tmp_path / "p.npz", "--batch", 16)
    good("predict", trained, "-i", trained.parent / "d.h5", *more)
    assert sizes == [16, 14]


def test_a_prediction_below_the_promise_writes_nothing(trained, tmp_path):
    x = np.ones((2, 1, 6, 6), np.float32)
    np.savez(tmp_path / "low.npz", x=x, y=x, coefficient=x)
    result = run("predict", trained, "-i", tmp_path / "low.npz", "-o", tmp_path / "p.h5")
    assert (result.exit_code, "OP0903" in result.stderr) == (4, True)
    assert not (tmp_path / "p.h5").exists()


def test_a_prediction_needs_a_known_suffix(trained):
    assert run("predict", trained, "-i", "x.h5", "-o", "p.csv").exit_code == 2


LOCAL = """edition 2026

model Local {
  domain D = grid(x: 0..1, y: 0..1, min = 9)
  input a : D -> R^{coefficient}
  output u : D -> R^{pressure}

  u = concat(a, coords(D)) |> conv(out = 4) |> gelu() |> difference_conv(out = 1)
}
"""


@pytest.mark.usefixtures("folder")
def test_a_prediction_in_tiles_is_the_same(tmp_path):
    Path("tiny.op").write_text(LOCAL + TRAIN.replace("Tiny", "Local"))
    good("train", "tiny.op", "--out", "run", "--quiet", "--epochs", 1)
    for name, more in (("whole", ()), ("one", ("--tile", 5)), ("two", ("--tile", "x=4,y=7"))):
        good("predict", "run", "-i", "d.h5", "-o", f"{name}.npz", "--device", "cpu", *more)
    truth, one, two = (np.load(tmp_path / f"{x}.npz")["u"] for x in ("whole", "one", "two"))
    np.testing.assert_allclose(one, truth, atol=1e-5 * abs(truth).max())
    np.testing.assert_allclose(two, truth, atol=1e-5 * abs(truth).max())


def test_a_model_without_tiles_says_which_block_it_is_and_writes_nothing(trained, tmp_path):
    source, out = trained.parent / "d.h5", tmp_path / "p.npz"
    result = run("predict", trained, "-i", source, "-o", out, "--tile", 8)
    assert "OP0652" in result.stderr
    assert "`spectral_conv` (" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize("tile", ["many", "x", "x=1,y", "x=a"])
def test_a_tile_is_told_in_points(trained, tile):
    result = run("predict", trained, "-i", "x.h5", "-o", "p.npz", "--tile", tile)
    assert (result.exit_code, "`x=256,y=128`" in result.stderr) == (2, True)


# ----------------------------------------------------------------------------------------- data


def test_data_are_made_and_shown(tmp_path):
    shape = ("--resolution", 9, "--samples", 4, "--fine", 33, "--seed", 7)
    made = data("data", "generate", "darcy", *shape, "--out", tmp_path / "d.h5", "--json")
    assert made["samples"] == 4
    assert made["residual"] < 1e-10
    shown = data("data", "show", tmp_path / "d.h5", "--json")
    assert shown["resolution"] == [9, 9]
    names = [(x["field"], x["role"], x["samples"], x["channels"]) for x in shown["fields"]]
    assert names == [("coefficient", "input", 4, 1), ("pressure", "output", 4, 1)]
    assert "9x9 (x, y)" in good("data", "show", tmp_path / "d.h5")


def test_a_suspect_sample_is_shown(folder):
    with h5py.File("d.h5", "r+") as file:
        file["t0_fields/pressure"][11] *= -50
    assert data("data", "show", "d.h5", "--json")["suspects"] == [11]
    text = good("data", "show", "d.h5")
    assert "warning[OP0616]" in text
    assert "1 sample looks corrupt: 11" in text
    assert folder


@pytest.mark.slow  # `test_cli_geometry` stops another generator
def test_generation_that_is_stopped_leaves_nothing(tmp_path):
    shape = ("--resolution", 65, "--samples", 100000, "--out", "big.h5")
    child = start("data", "generate", "darcy", *shape, cwd=tmp_path)
    while not list(tmp_path.glob(".tmp-*/big.h5")):
        assert child.poll() is None
    time.sleep(0.5)  # some samples are in it
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 143
    assert "Traceback" not in err
    assert names(tmp_path) == set()


def test_a_process_of_its_own_does_the_same(folder):
    few = ("--epochs", 1, "--set", "eval.resolutions=[9]")
    result = process("train", "tiny.op", *few, "--out", "run", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "report page  run/report.html"
