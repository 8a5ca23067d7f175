"""Settings of a run: who wins, who is named as the origin, and what is told of mistakes."""

import pytest
import yaml

from tests.e2e.command_line import DARCY, TINY, TRAIN, data, good, run
from tests.work import calls

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.op").write_text(TINY + TRAIN)
    (tmp_path / "one.yaml").write_text("model:\n  width: 7\noptimizer:\n  lr: 2e-3\nbatch: 2\n")
    (tmp_path / "two.yaml").write_text("batch: 3\n")


def config(*more):
    """key -> (value, origin)."""
    rows = data("train", "tiny.op", "--print-config", "--json", *more)
    return {x["key"]: (x["value"], x["origin"]) for x in rows}


def told(*arguments):
    """What stderr says of a command that fails, and its code."""
    result = run("train", "tiny.op", *arguments)
    assert "Traceback" not in result.stderr
    return result.exit_code, result.stderr


# ------------------------------------------------------------------------------------ precedence


def test_each_place_beats_the_one_before():
    line = (TINY + TRAIN).splitlines().index("  batch = 5") + 1
    assert config()["batch"] == (5, f"train block tiny.op:{line}")
    assert config()["seed"] == (0, "default")
    assert config("--config", "one.yaml")["batch"] == (2, "one.yaml:5")
    both = ("--config", "one.yaml", "--config", "two.yaml")
    assert config(*both)["batch"] == (3, "two.yaml:1")
    assert config(*both, "--set", "batch=4")["batch"] == (4, "--set")
    assert config(*both)["optimizer.lr"] == (0.002, "one.yaml:4")


def test_an_option_of_its_own_is_a_setting_and_comes_last():
    found = config("--epochs", 2, "--device", "cpu", "--data", "x.h5", "--precision", "fp64")
    assert found["schedule.epochs"] == (2, "--epochs")
    assert found["device"] == ("cpu", "--device")
    assert found["data.path"] == ("x.h5", "--data")
    assert found["precision"] == ("fp64", "--precision")
    again = config("--set", "schedule.epochs=9", "--epochs", 2)
    assert again["schedule.epochs"] == (2, "--epochs")
    assert config("--test", "a.h5", "--test", "b.h5")["data.test"] == (["a.h5", "b.h5"], "--test")


def test_parameters_of_the_model_have_origins_too():
    assert config()["model.width"] == (6, "tiny.op")
    assert config("--config", "one.yaml")["model.width"] == (7, "one.yaml:2")
    assert config("--set", "Tiny.width=8")["model.width"] == (8, "--set")
    assert config("--set", "model.modes=(2, 4)")["model.modes"] == ([2, 4], "--set")


def test_only_settings_with_an_effect_are_shown():
    assert "optimizer.betas" in config()
    assert "optimizer.momentum" not in config()
    assert "optimizer.momentum" in config("--set", "optimizer=sgd")


def test_the_text_names_value_and_origin_in_columns():
    out = good("train", "tiny.op", "--print-config", "--set", "clip=1.5")
    assert "clip                          = 1.5           # --set" in out.splitlines()


def test_print_config_needs_no_data_and_leaves_no_folder(tmp_path):
    good("train", "tiny.op", "--print-config", "--data", "absent.h5")
    assert not (tmp_path / "runs").exists()
    assert run("train", DARCY, "--print-config").exit_code == 0


# ---------------------------------------------------------------------------------- values of --set


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("optimizer.lr=1e-3", "optimizer.lr", 0.001),
        (" optimizer . lr = 1e-3 ", "optimizer.lr", 0.001),
        ("eval.resolutions=[9, 17]", "eval.resolutions", [9, 17]),
        ("device=cuda:1", "device", "cuda:1"),
        ("data.path=some/where/x.h5", "data.path", "some/where/x.h5"),
        ('data.path="a = b.h5"', "data.path", "a = b.h5"),
        ("clip=none", "clip", None),
        ("normalise.inputs=false", "normalise.inputs", "none"),
        ("optimizer=sgd", "optimizer.kind", "sgd"),
    ],
)
def test_a_value_is_read_as_the_program_would_or_as_a_text(text, key, value):
    assert config("--set", text)[key] == (value, "--set")


# --------------------------------------------------------------------------------------- mistakes


def test_a_misspelt_parameter_points_into_the_option():
    code, text = told("--set", "Tiny.widht=96")
    assert code == 3
    assert text == (
        "error[OP0207]: model `Tiny` has no parameter `widht`\n"
        " --> <--set>:1:6\n"
        "  |\n"
        "1 | Tiny.widht=96\n"
        "  |      ^^^^^ unknown parameter\n"
        "  |\n"
        "  = note: `Tiny` takes: width, modes\n"
        "  = help: did you mean `width`?\n\n"
    )


def test_a_value_of_the_model_that_cannot_be_read_points_at_its_place():
    code, text = told("--set", "model.width=9x")
    assert code == 3
    assert " --> <--set>:1:14\n" in text
    assert "1 | model.width=9x\n  |              ^" in text


def test_unknown_settings_are_errors_with_a_suggestion_all_at_once():
    code, text = told("--set", "optimzer.lr=3", "--set", "batch=none", "--set", "seed=-1")
    assert code == 3
    assert text.count("error[OP0603]") == 1
    assert text.count("error[OP0604]") == 2
    assert "1 | optimzer.lr=3\n  | ^^^^^^^^" in text
    assert "did you mean `optimizer`?" in text


@pytest.mark.parametrize("text", ["foo", "=3", "batch=", " = "])
def test_a_set_without_key_or_value_is_a_usage_error(text):
    code, said = told("--set", text)
    assert code == 2
    assert "write KEY=VALUE" in said


def test_a_command_without_a_run_knows_parameters_only():
    result = run("summary", "tiny.op", "--set", "batch=3")
    assert result.exit_code == 2
    assert "only parameters of the model" in result.stderr


# ------------------------------------------------------------------------------------------- YAML


def yaml_error(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    return told("--config", "bad.yaml")


@pytest.mark.parametrize(
    ("text", "code", "place", "words"),
    [
        ("optimzer:\n  lr: 1\n  betas: 2\n", 3, "1:1", "did you mean `optimizer`?"),
        ("optimizer:\n  rl: 1\n", 3, "2:3", "no setting `rl` in `optimizer`"),
        ("batch: many\n", 3, "1:8", "it takes a whole number from 1"),
        ("a: &x 1\nb: *x\n", 2, "2:4", "has no aliases"),
        ("batch: 1\nseed: 2\nbatch: 3\n", 2, "3:1", "`batch` is given twice"),
        ("- 1\n", 2, "1:1", "not a tree of settings"),
        ("a: [1\n", 2, "2:1", "no YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", 2, "1:4", "no YAML of plain settings"),
        ("? [1, 2]\n: 3\n", 2, "1:3", "a key is a word"),
        ("model:\n  widht: 3\n", 3, "2:3", "did you mean `width`?"),
        ("model:\n  width: wide\n", 3, "2:10", "expected a whole number"),
        ("model:\n  width: null\n", 3, "2:10", "a parameter cannot be"),
    ],
)
def test_a_mistake_in_yaml_is_told_with_its_place(tmp_path, text, code, place, words):
    found, said = yaml_error(tmp_path, text)
    assert found == code
    assert f" --> bad.yaml:{place}\n" in said
    assert words in said
    assert said.count("error[") == 1


def test_an_absent_settings_file_is_told_with_the_nearest_name():
    code, text = told("--config", "onne.yaml")
    assert code == 2
    assert "did you mean `one.yaml`?" in text


def test_a_hostile_settings_file_is_refused(tmp_path):
    for trap in ("[" * 200_000, "- " * 200_000, "? " * 200_000, "{a: " * 50_000):
        code, text = yaml_error(tmp_path, trap)
        assert code == 2
        assert "OP0605" in text
        assert calls(lambda trap=trap: yaml_error(tmp_path, trap)) < 20 * len(trap)
    assert yaml_error(tmp_path, "a: " + "x" * 2**21)[0] == 2


def test_an_empty_settings_file_says_nothing(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert config("--config", "empty.yaml") == config()


def test_settings_written_by_a_run_are_read_as_the_same_settings(tmp_path):
    from opdsl.workflow.check import read_source
    from opdsl.workflow.folder.writing import settings_text
    from opdsl.workflow.programs.program import open_program, resolve_settings

    sets = ["schedule=one_cycle", "clip=0.5", "optimizer.lr=1e-5", "data.fields=none"]
    first = resolve_settings(open_program(*read_source("tiny.op"), sets=sets[:3]))
    text = settings_text(first)
    assert "clip: 0.5  # --set" in text
    assert yaml.safe_load(text)["optimizer"]["lr"] == 1e-5
    (tmp_path / "settings.yaml").write_text(text)
    (tmp_path / "plain.op").write_text(TINY)
    program = open_program(*read_source("plain.op"), configs=["settings.yaml"])
    assert resolve_settings(program).settings == first.settings


def test_an_unknown_section_of_a_train_block_is_told_once_at_its_name(tmp_path):
    from opdsl.cli.check import diagnostics

    program = tmp_path / "m.op"
    program.write_text(
        "edition 2026\nmodel M {\n  domain D = grid(x, min = 9)\n  input a : D -> R^1\n"
        "  output u : D -> R^1\n  u = gelu(a)\n}\n"
        "train M { optimzer adamw { lr = 1 weight_decay = 2 } }\n"
    )
    (fault,) = diagnostics(str(program))
    assert fault.labels[0].span.text == "optimzer"
