"""Settings of the loop through `opdsl train`: groups, means, plateaus, several seeds."""

import json
import re
from pathlib import Path
from statistics import mean, stdev

import pytest
import torch
import yaml

import opdsl
from opdsl.compiler import check, train_settings
from opdsl.train.config.settings import resolve
from opdsl.train.engine.weights.paths import refuse_unknown_paths
from opdsl.train.run.checkpoint import CheckpointStore
from opdsl.train.run.metrics_log import read_metrics
from tests.e2e.command_line import ROOT, data, good, run
from tests.e2e.test_cli_resume import PROGRAM, metrics, save, weights

LOOP = """
train Line {
  data { path = "train.npz" test = "test.npz" valid = 0.2 }
  optimizer muon { lr = 1e-2 }
  groups {
    last { paths = ["linear*.bias"] rate = 0.5 decay = 0.0 }
  }
  freeze = ["linear.bias"]
  schedule plateau { epochs = 4 patience = 1 gamma = 0.5 warmup = 1 }
  average ema { decay = 0.9 }
  stop { patience = 50 }
  recompute = true
  noise = 0.01
  batch = 4
  accumulate = 2
  clip = 10.0
  device = cpu
}
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("train.npz", 30, 0)
    save("test.npz", 6, 1)
    model = PROGRAM.partition("train Line")[0]
    Path("line.op").write_text(model + LOOP)
    Path("short.op").write_text(PROGRAM)
    return tmp_path


@pytest.mark.usefixtures("home")
def test_a_run_with_every_setting_of_the_loop_goes_on_as_itself():
    good("train", "line.op", "--out", "whole", "-q")
    good("train", "line.op", "--out", "run", "-q", "--epochs", 2)
    state = CheckpointStore(Path("run")).load("step")
    assert state["average"]["count"] == state["step"] == 6
    good("train", "--resume", "run", "-q", "--epochs", 4)
    assert weights("run") == weights("whole")
    assert metrics("run") == metrics("whole")
    assert all(row["grad_norm"] > 0 for row in read_metrics(Path("run")))
    settings = yaml.safe_load(Path("run/settings.yaml").read_text())
    assert settings["groups"] == {"last": {"paths": ["linear*.bias"], "rate": 0.5, "decay": 0.0}}
    assert settings["schedule"]["patience"] == 1
    assert "milestones" not in settings["schedule"]


@pytest.mark.usefixtures("home")
def test_the_mean_of_the_weights_is_what_is_predicted_with():
    good("train", "line.op", "--out", "run", "-q", "--set", "data.valid=none", "--set",
         "schedule.kind=constant", "--set", "stop.patience=none")  # fmt: skip
    mean_of = CheckpointStore(Path("run")).load("step")["average"]["values"]
    found = dict(opdsl.open_run("run").module.named_parameters())
    assert all(torch.equal(x, mean_of[k]) for k, x in found.items())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["freeze=[liner]"], "OP0730"),
        (["groups.last.paths=[nothing]"], "OP0730"),
        (["groups.last.rates=2"], "OP0603"),
        (["groups.last.rate=-1"], "OP0604"),
        (["recompute=[nothing]"], "OP0730"),
        (["pushforward=last"], "OP0731"),
        (["data.valid=none"], "OP0731"),
        (["schedule.kind=multistep"], "OP0731"),
        (["average.start=0.5"], "OP0603"),
        (["optimizer.kind=lbfgs"], "OP0731"),
    ],
)
@pytest.mark.usefixtures("home")
def test_wrong_settings_are_one_diagnostic_and_no_folder(arguments, words):
    sets = [x for text in arguments for x in ("--set", text)]
    result = run("train", "line.op", "--out", "run", "-q", *sets)
    assert result.exit_code != 0
    assert f"error[{words}]" in result.stderr
    assert not Path("run").exists()


# ------------------------------------------------------------------------------- several seeds


@pytest.mark.usefixtures("home")
def test_several_seeds_have_a_mean_and_a_deviation():
    text = good("train", "short.op", "--seeds", 3, "--out", "runs", "-q", "--epochs", 1)
    runs = [json.loads(Path(f"runs/seed-{i}/opdsl.json").read_text()) for i in range(3)]
    assert [x["seed"] for x in runs] == [0, 1, 2]
    errors = [x["finished"]["tests"][0]["rel_l2"] for x in runs]
    assert len(set(errors)) == 3
    assert f"{mean(errors):.4g} +- {stdev(errors):.2g}" in text
    stored = json.loads(Path("runs/seeds.json").read_text())
    test_rows = [x for x in stored["sets"] if x["split"] == "test"]
    assert test_rows[0]["rel_l2"]["mean"] == pytest.approx(mean(errors))
    assert test_rows[0]["rel_l2"]["deviation"] == pytest.approx(stdev(errors))
    good("train", "short.op", "--out", "alone", "-q", "--epochs", 1, "--set", "seed=2")
    assert weights("alone") == weights("runs/seed-2")


@pytest.mark.usefixtures("home")
def test_seeds_go_on_where_they_stopped():
    arguments = ("train", "short.op", "--epochs", 1, "-q")
    good(*arguments, "--seeds", 1, "--out", "runs")
    before = weights("runs/seed-0")
    assert run(*arguments, "--seeds", 2, "--out", "runs").exit_code != 0
    summary = data(*arguments, "--seeds", 2, "--resume", "runs", "--json")
    assert summary["seeds"] == [0, 1]
    assert weights("runs/seed-0") == before
    assert len(summary["sets"]) == 2


@pytest.mark.usefixtures("home")
def test_seeds_need_a_program():
    result = run("train", "--seeds", 2, "--resume", "runs")
    assert result.exit_code == 2
    assert "name a program" in result.stderr


def test_the_paths_of_the_chapter_are_those_of_its_programs():
    text = (ROOT / "grammar/language/17-training-loop.md").read_text()
    programs = re.findall(r"```op\n(.*?)```", text, re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        checked = check(program)
        settings = resolve(train_settings(checked)).settings
        refuse_unknown_paths(opdsl.compile(program), settings)
