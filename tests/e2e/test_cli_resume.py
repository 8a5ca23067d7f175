"""`opdsl train --resume`: a run goes on as itself, and what changes is on record."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from opdsl.cli.train import with_values
from opdsl.train.run.metrics_log import read_metrics
from tests.e2e.command_line import data, good, run

PROGRAM = """edition 2026

model Line {
  domain D = grid(x: 0..1, boundary = periodic, min = 8)
  input x : D -> R^1
  output y : D -> R^1

  param width : int = 4
  y = x |> linear(out = width) |> gelu() |> linear(out = 1)
}

train Line {
  data { path = "train.npz" test = "test.npz" }
  optimizer adamw { lr = 1e-2 }
  schedule cosine { epochs = 4 }
  batch = 8
  device = cpu
}
"""


def save(path, count, seed):
    x = np.random.default_rng(seed).standard_normal((count, 1, 8)).astype("float32")
    np.savez(path, x=x, y=x * x)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("train.npz", 30, 0)
    save("test.npz", 6, 1)
    Path("line.op").write_text(PROGRAM)
    return tmp_path


def contents(folder):
    return {x: x.read_bytes() for x in Path(folder).rglob("*") if x.is_file()}


def weights(folder):
    return Path(folder, "model.safetensors").read_bytes()


def metrics(folder):
    return [{k: v for k, v in x.items() if k != "seconds"} for x in read_metrics(Path(folder))]


def changes(folder):
    path = Path(folder, "changes.jsonl")
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(x) for x in lines]


def cut(folder, checkpoints=1):
    """As if the run had been killed before its last checkpoints and its end."""
    for path in sorted(Path(folder, "checkpoints").glob("step-*"))[-checkpoints:]:
        shutil.rmtree(path)
    about = json.loads(Path(folder, "opdsl.json").read_text())
    about.pop("finished")
    Path(folder, "opdsl.json").write_text(json.dumps(about))
    Path(folder, "report.html").unlink()


# ------------------------------------------------------------------------------- spellings


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["m.op", "--out", "R", "--resume"], ["m.op", "--out", "R", "--resume="]),
        (["m.op", "--resume", "--out", "R"], ["m.op", "--resume=", "--out", "R"]),
        (["--out", "R", "--resume", "m.op"], ["--out", "R", "--resume=", "m.op"]),
        (["--resume", "-", "--out", "R"], ["--resume=", "-", "--out", "R"]),
        (["--resume", "R"], ["--resume", "R"]),
        (["--resume=R", "-q"], ["--resume=R", "-q"]),
        (["--resume", "R", "--set", "schedule.epochs=30"],) * 2,
        (["--", "--resume"],) * 2,
    ],
)
def test_resume_stands_alone_or_before_a_run(given, read):
    assert list(with_values(given)) == read


@pytest.mark.parametrize(
    "spelling",
    [
        ("--resume", "run"),
        ("line.op", "--out", "run", "--resume"),
        ("line.op", "--resume", "--out", "run"),
        ("line.op", "--resume", "run"),
        ("--out", "run", "--resume", "line.op"),
    ],
)
@pytest.mark.usefixtures("home")
def test_every_spelling_goes_on_with_the_settings_of_the_run(spelling):
    own = ("--set", "batch=4", "--set", "model.width=3", "--epochs", 3, "-q")
    good("train", "line.op", "--out", "whole", *own)
    shutil.copytree("whole", "run")
    cut("run")
    told = {name: Path("run", name).read_text() for name in ("settings.yaml", "resolved.op")}
    good("train", *spelling, "-q")
    assert weights("run") == weights("whole")
    assert metrics("run") == metrics("whole")
    assert {name: Path("run", name).read_text() for name in told} == told
    assert "batch: 4  # --set" in told["settings.yaml"]
    assert changes("run") == []


def test_a_run_needs_neither_its_program_nor_its_folder_of_origin(home, monkeypatch):
    good("train", "line.op", "--out", "run", "-q")
    good("train", "line.op", "--out", "cut", "-q")
    cut("cut")
    Path("line.op").unlink()
    (home / "elsewhere").mkdir()
    monkeypatch.chdir(home / "elsewhere")
    good("train", "--resume", "../cut", "-q")
    assert weights("../cut") == weights("../run")


def test_the_latest_run_is_meant_where_none_is_named(home):
    good("train", "line.op", "-q", "--epochs", 1)
    (made,) = (home / "runs").iterdir()
    good("train", "--resume", "-q", "--epochs", 2)
    good("train", "line.op", "--resume", "-q", "--epochs", 3)
    assert [x["epoch"] for x in read_metrics(made)] == [1, 2, 3]
    assert len(list((home / "runs").iterdir())) == 1


# ------------------------------------------------------------------------------- finished runs


@pytest.mark.parametrize(
    "spelling", [("--resume", "run"), ("line.op", "--out", "run", "--resume", "--set", "clip=1.0")]
)
def test_a_finished_run_with_nothing_to_do_stays_as_it_is(home, spelling):
    made = data("train", "line.op", "--out", "run", "-q", "--json")
    before = contents("run")
    Path("line.op").write_text(PROGRAM.replace("batch = 8", "batch = 5"))
    result = run("train", *spelling, "--json")
    assert result.exit_code == 0, result.stderr
    assert contents("run") == before
    assert "the run is finished after 4 epochs and stays as it is" in result.stderr
    assert "to go on with it: opdsl train --resume run --epochs N" in result.stderr
    assert ("`clip` would take effect with more epochs only" in result.stderr) == (
        "clip=1.0" in spelling
    )
    assert json.loads(result.stdout) == made
    assert home


@pytest.mark.usefixtures("home")
def test_more_epochs_extend_a_finished_run_and_are_on_record():
    good("train", "line.op", "--out", "run", "-q")
    made = data("train", "--resume", "run", "--epochs", 6, "--set", "clip=1.0", "-q", "--json")
    assert (made["epochs"], len(read_metrics(Path("run")))) == (6, 6)
    record = {x["setting"]: (x["step"], x["before"], x["after"]) for x in changes("run")}
    assert record == {"schedule.epochs": (16, 4, 6), "clip": (16, None, 1.0)}
    assert made["changes"] == changes("run")
    text = Path("run/settings.yaml").read_text()
    assert "epochs: 6  # --epochs" in text
    assert "clip: 1.0  # --set" in text
    page = Path("run/report.html").read_text()
    assert "Settings that changed while the run went on" in page
    assert '>schedule.epochs</td><td data-label="before">4</td>' in page
    assert '<td data-label="after">6</td>' in page
    before = contents("run")
    good("train", "--resume", "run")
    assert contents("run") == before


@pytest.mark.usefixtures("home")
def test_an_extended_run_that_is_killed_before_its_end_finishes_its_report():
    good("train", "line.op", "--out", "run", "-q")
    good("train", "--resume", "run", "--epochs", 6, "-q")
    end = json.loads(Path("run/opdsl.json").read_text())
    Path("run/opdsl.json").write_text(json.dumps(end | {"finished": None}))
    page = Path("run/report.html")
    page.write_text("of an earlier end")
    good("train", "--resume", "run", "-q")
    assert "schedule.epochs" in page.read_text()
    assert json.loads(Path("run/opdsl.json").read_text()) == end


# ------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--set", "batch=16"), "`batch` is 8 in this run and cannot become 16"),
        (("--set", "seed=3"), "`seed` is 0 in this run and cannot become 3"),
        (("--set", "model.width=9"), "`model.width` is 4 in this run and cannot become 9"),
        (("--set", "normalise.inputs=none"), "`normalise.inputs` is channel in this run"),
        (("--valid", "0.5"), "`data.valid` is auto in this run and cannot become 0.5"),
        (("--set", "data.samples=20"), "`data.samples` is none in this run"),
        (("--set", "optimizer=sgd"), "`optimizer.kind` is adamw in this run"),
        (("--config", "other.yaml"), "`loss` is l2 in this run and cannot become h1"),
        (("--epochs", "3"), "`schedule.epochs` cannot become 3: the run has begun epoch 4"),
    ],
)
@pytest.mark.usefixtures("home")
def test_what_would_make_another_run_is_refused_once_and_changes_nothing(option, message):
    Path("other.yaml").write_text("loss: h1\nbatch: 8\n")
    good("train", "line.op", "--out", "run", "-q")
    before = contents("run")
    result = run("train", "--resume", "run", *option)
    assert result.exit_code == 2
    assert result.stderr.count("error[") == 1
    assert f"error[OP0629]: {message}" in result.stderr
    assert "help: " in result.stderr
    assert contents("run") == before


@pytest.mark.usefixtures("home")
def test_another_program_is_refused():
    good("train", "line.op", "--out", "run", "-q")
    Path("other.op").write_text(PROGRAM.replace("gelu", "tanh"))
    result = run("train", "other.op", "--out", "run", "--resume")
    assert result.exit_code == 3
    assert "begun with another program than `other.op`" in result.stderr
    assert "`opdsl train --resume run`" in result.stderr


@pytest.mark.parametrize("words", [("--resume", "rnu"), ("line.op", "--out", "rnu", "--resume")])
def test_a_misspelt_run_begins_no_new_one(home, words):
    good("train", "line.op", "--out", "run", "-q", "--epochs", 1)
    result = run("train", *words)
    assert result.exit_code == 2
    assert "OP0627" in result.stderr
    assert "did you mean `run`?" in result.stderr
    assert not (home / "rnu").exists()


@pytest.mark.usefixtures("home")
def test_two_folders_or_none_are_a_usage_error():
    assert "name one folder" in run("train", "--resume", "a", "--out", "b").stderr
    assert "name a program" in run("train").stderr


def test_data_whose_content_changed_are_refused_and_moved_ones_are_found(home):
    good("train", "line.op", "--out", "run", "-q")
    Path("train.npz").rename("moved.npz")
    result = run("train", "--resume", "run", "--epochs", 5)
    assert result.exit_code == 4
    assert "say where they are now: `--data PATH`" in result.stderr
    save("other.npz", 30, 7)
    result = run("train", "--resume", "run", "--epochs", 5, "--data", "other.npz")
    assert result.exit_code == 3
    assert "begun with other training data" in result.stderr
    good("train", "--resume", "run", "--epochs", 5, "--data", "moved.npz", "-q")
    assert {x["setting"] for x in changes("run")} == {"schedule.epochs", "data.path"}
    good("train", "--resume", "run", "--epochs", 6, "-q")
    assert json.loads(Path("run/opdsl.json").read_text())["data"]["path"] == str(home / "moved.npz")


@pytest.mark.usefixtures("home")
def test_other_validation_data_are_refused():
    save("valid.npz", 5, 3)
    good("train", "line.op", "--valid", "valid.npz", "--out", "run", "-q")
    save("valid.npz", 5, 4)
    result = run("train", "--resume", "run", "--epochs", 5)
    assert result.exit_code == 3
    assert "begun with other validation data" in result.stderr


# ------------------------------------------------------------------------------- other runs


@pytest.mark.usefixtures("home")
def test_a_run_from_another_one_goes_on_without_it():
    good("train", "line.op", "--out", "first", "-q", "--epochs", 1)
    good("train", "line.op", "--from", "first", "--out", "whole", "-q")
    good("train", "line.op", "--from", "first", "--out", "cut", "-q")
    cut("cut")
    old = ("line.op", "--from", "first", "--out", "cut", "--resume", "--print-config")
    good("train", *old)  # the old spelling named it again
    assert "leave `--from` out" in run("train", "--resume", "cut", "--from", "whole").stderr
    shutil.rmtree("first")
    made = data("train", "--resume", "cut", "-q", "--json")
    assert weights("cut") == weights("whole")
    assert "from first" in made["start"]


@pytest.mark.usefixtures("home")
def test_print_config_of_a_run_names_who_gave_its_settings():
    good("train", "line.op", "--out", "run", "-q", "--set", "batch=4", "--epochs", 1)
    more = ("--epochs", 9, "--print-config", "--json")
    rows = {x["key"]: (x["value"], x["origin"]) for x in data("train", "--resume", "run", *more)}
    assert rows["batch"] == (4, "--set")
    assert rows["schedule.epochs"] == (9, "--epochs")
    assert rows["seed"] == (0, "default")
    assert rows["optimizer.lr"][1].startswith("train block line.op:")
