"""Assignments from any place become settings, and every mistake is told at once."""

import subprocess
import sys
from pathlib import Path

import pytest

import opdsl
from opdsl.diagnostics import OpError, Source
from opdsl.setting import Setting
from opdsl.train.config.changes import on_resume
from opdsl.train.config.schema import Settings
from opdsl.train.config.settings import resolve


def give(name, value, origin="--set"):
    return Setting(tuple(name.split(".")), value, origin)


def faults(*assignments):
    with pytest.raises(OpError) as caught:
        resolve(assignments)
    return caught.value.diagnostics


def test_nothing_said_gives_the_defaults():
    made = resolve([])
    assert made.settings == Settings()
    assert set(made.origins.values()) == {"default"}


def test_later_assignments_win_and_are_named():
    made = resolve([give("optimizer.lr", 1e-3, "a.op:3"), give("optimizer.lr", 1e-2, "--set")])
    assert made.settings.optimizer.lr == 1e-2
    assert made.origins["optimizer.lr"] == "--set"


def test_the_block_of_the_manual_resolves():
    made = resolve(
        [
            give("data.kind", "darcy"),
            give("data.path", "x.h5"),
            give("data.resolution", 85),
            give("loss", "h1"),
            give("optimizer.kind", "adamw"),
            give("optimizer.lr", 1e-3),
            give("schedule.kind", "cosine"),
            give("schedule.epochs", 500),
            give("precision", "mixed"),
            give("eval.resolutions", [85, 141]),
        ]
    ).settings
    assert (made.data.kind, made.data.path, made.data.resolution) == ("darcy", "x.h5", 85)
    assert (made.loss, made.schedule.epochs, made.eval.resolutions) == ("h1", 500, [85, 141])


def test_a_misspelt_key_is_pointed_at_with_its_cure():
    source = Source("a.op", "optimizer adamw { larning = 1 }")
    key, value = source.span(18, 25), source.span(28, 29)
    given = Setting(("optimizer", "momentums"), 1, "a.op:1", value, (source.span(0, 9), key))
    (told,) = faults(given)
    assert told.code == "OP0603"
    assert told.primary.span == key
    assert told.helps[0].text == "did you mean `momentum`?"
    assert "weight_decay" in told.helps[1].text


def test_a_key_of_another_section_is_found():
    (told,) = faults(give("lr", 1e-3))
    assert told.helps[0].text == "it stands elsewhere: `optimizer.lr`"
    assert told.file == "--set"


def test_every_mistake_is_told_at_once():
    told = faults(give("lr", 1), give("batch", 0), give("optimizer.lr", -1.0), give("loss", "h2"))
    assert [x.code for x in told] == ["OP0603", "OP0604", "OP0604", "OP0604"]


EXPRESSION = "an expression such as `rel_l2(u) + 0.1 * rel_h1(u)`"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("optimizer.lr", -1.0, "a number above 0"),
        ("optimizer.lr", "fast", "a number above 0"),
        ("optimizer.lr", float("inf"), "a number above 0"),
        ("batch", 2.5, "a whole number from 1"),
        ("batch", True, "a whole number from 1"),
        ("loss", "h2", f"one of h1, h1_spectral, l2 or {EXPRESSION}"),
        ("eval.resolutions", [85, 0], "a list, each a whole number from 1"),
        ("optimizer.betas", [0.9], "a list of 2, each a number from 0 below 1"),
        ("device", "gpu", "auto, cpu, mps, cuda or cuda:0, cuda:1 ..."),
        ("stop", 3, "settings in braces: patience, min_change"),
        ("data.test", 3, "a text or a list, each a text or none"),
    ],
)
def test_a_bad_value_is_told_with_what_would_do(name, value, words):
    (told,) = faults(give(name, value))
    assert told.code == "OP0604"
    assert told.helps[-1].text == f"it takes {words}"


def test_a_misspelt_word_gets_a_suggestion():
    (told,) = faults(give("schedule.kind", "cosin"))
    assert told.message == '`schedule.kind` cannot be "cosin"'
    assert told.helps[0].text == "did you mean `cosine`?"


def test_a_word_behind_a_block_that_takes_none_is_refused():
    (told,) = faults(give("eval.kind", "often"))
    assert told.message == "`eval` takes no word behind its name"


def test_a_key_that_its_kind_ignores_is_refused():
    (told,) = faults(give("schedule.kind", "cosine"), give("schedule.gamma", 0.5))
    assert told.message == "`gamma` has no effect in `schedule cosine`"


def test_a_new_kind_forgets_the_keys_of_the_old_one():
    given = [give("schedule.kind", "step"), give("schedule.gamma", 0.1), give("schedule.epochs", 7)]
    made = resolve([*given, give("schedule.kind", "cosine")])
    assert made.settings.schedule.epochs == 7
    assert made.origins["schedule.gamma"] == "default"


def test_a_section_named_by_one_word_takes_it_as_its_kind():
    assert resolve([give("optimizer", "sgd")]).settings.optimizer.kind == "sgd"


def test_a_number_that_yaml_reads_as_text_is_a_number():
    assert resolve([give("optimizer.lr", "1e-3")]).settings.optimizer.lr == 1e-3


def test_names_of_fields_are_free():
    made = resolve([give("data.fields.a", "nu"), give("data.fields.u", "tensor")])
    assert made.settings.data.fields == {"a": "nu", "u": "tensor"}


def test_true_and_none_are_understood():
    made = resolve([give("normalise.inputs", False), give("clip", "none")]).settings
    assert made.normalise.inputs == "none"
    assert made.clip is None


def test_a_warmup_longer_than_the_run_is_refused():
    (told,) = faults(give("schedule.epochs", 10), give("schedule.warmup", 20))
    assert told.message == "`schedule.warmup` is 20 epochs, but the run has only 10"


def test_explain_names_every_setting_once():
    rows = resolve([give("batch", 4, "run.yaml:2")]).explain()
    keys = [key for key, _, _ in rows]
    assert ("batch", 4, "run.yaml:2") in rows
    assert len(keys) == len(set(keys))
    assert "schedule.epochs" in keys


def test_settings_need_no_torch():
    code = "import sys, opdsl.train.config.settings; sys.exit('torch' in sys.modules)"
    root = Path(opdsl.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0  # noqa: S603  our own interpreter


def test_every_setting_says_whether_it_may_change_while_a_run_goes_on():
    rules = {key: on_resume(key) for key, _ in Settings().rows()}
    assert {k: x for k, x in rules.items() if x not in {"free", "fixed", "moved"}} == {}
    assert {k for k, x in rules.items() if x == "moved"} == {"data.path", "data.valid", "data.test"}
    for key in ("seed", "batch", "loss", "data.skip", "normalise.outputs", "optimizer.kind"):
        assert rules[key] == "fixed"
    for key in ("schedule.epochs", "optimizer.lr", "device", "eval.resolutions"):
        assert rules[key] == "free"


def test_the_schema_says_the_same():
    schema = Settings.model_json_schema()
    assert schema["properties"]["batch"]["resume"] == "fixed"
    assert schema["$defs"]["Optimizer"]["properties"]["lr"]["resume"] == "free"


@pytest.mark.parametrize("value", ["none", "auto", "x.h5", 0.25])
def test_validation_data_are_a_word_a_path_or_a_part(value):
    assert resolve([give("data.valid", value)]).settings.data.valid == value


@pytest.mark.parametrize("value", [0.0, 1.0, 5, True])
def test_a_part_for_validation_lies_between_nothing_and_everything(value):
    (told,) = faults(give("data.valid", value))
    assert told.helps[-1].text == "it takes a number above 0 below 1 or a text"


@pytest.mark.parametrize("loss", ["l2", "mse", "rel_l2(u) + 0.1 * rel_h1(u)", "function(f)"])
def test_a_loss_is_a_name_or_an_expression(loss):
    assert resolve([give("loss", loss)]).settings.loss == loss


def test_metrics_are_one_expression_or_a_list():
    assert resolve([give("eval.metrics", "mse(u)")]).settings.eval.metrics == ["mse(u)"]
    assert (
        resolve([give("eval.metrics", ["mse(u)", "mae(u)"])]).settings.eval.metrics[1] == "mae(u)"
    )
    (fault,) = faults(give("eval.metrics", 3))
    assert fault.code == "OP0604"
