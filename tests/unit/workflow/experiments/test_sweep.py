"""Sweeps: the choice by validation data, resuming, points that fail, and early mistakes."""

import json

import numpy as np
import pytest

import opdsl
from opdsl.diagnostics import OpError
from opdsl.train.engine.signals import Interrupted
from opdsl.workflow.datasets.reading.in_memory import as_sources
from opdsl.workflow.errors import ArgumentError
from opdsl.workflow.experiments import point as points
from opdsl.workflow.experiments import sweep as module
from opdsl.workflow.experiments.sweep_plan import read_plan
from opdsl.workflow.experiments.sweep_state import SweepState, nothing
from tests.unit.workflow.experiments.line_problem import PROGRAM, waves

OVER = {"optimizer.lr": [1e-4, 1e-1], "model.width": [1, 2]}
QUICK = {"epochs": 2, "batch": 6, "checkpoint.every": 100}


def sweep(out, over=None, **more):
    said = {"data": waves(), "valid": waves(4, 1)} | QUICK | more
    return opdsl.sweep(PROGRAM, over or OVER, out=out, **said)


def refusal(out, over=None, **more):
    with pytest.raises(OpError) as caught:
        sweep(out, over, **more)
    assert not out.exists()
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def test_the_best_point_is_that_of_the_least_validation_error(tmp_path):
    result = sweep(tmp_path / "s")
    errors = {}
    for number, point in enumerate(result.points, 1):
        run = opdsl.open_run(tmp_path / "s" / f"{number:04d}")
        errors[number] = run.metrics.valid[0]["rel_l2"]
        assert run.settings.optimizer.lr == float(point.values["optimizer.lr"])
        assert str(run.graph.params["width"]) == point.values["model.width"]
        assert point.score == pytest.approx(errors[number], rel=1e-6)
    assert result.best.number == min(errors, key=errors.get)
    assert result.open_best().folder == tmp_path / "s" / f"{result.best.number:04d}"
    assert [x.number for x in result.ranked] == sorted(errors, key=errors.get)


def test_a_run_of_a_sweep_is_equal_to_the_run_alone(tmp_path):
    result = sweep(tmp_path / "s", {"optimizer.lr": [1e-2, 1e-1]})
    alone = opdsl.train(
        PROGRAM,
        data=waves(),
        valid=waves(4, 1),
        out=tmp_path / "alone",
        **QUICK,
        **{"optimizer.lr": 1e-1},
    )
    run = opdsl.open_run(result.points[1].folders[0])
    assert run.metrics.history[-1]["train_loss"] == alone.metrics.history[-1]["train_loss"]


def test_test_data_are_measured_once_and_for_the_best_point_only(tmp_path):
    result = sweep(tmp_path / "s", test=waves(5, 2))
    for point in result.points:
        assert opdsl.open_run(point.folders[0]).metrics.tests == []
    (rows,) = result.tests
    expected = result.open_best().evaluate(waves(5, 2)).rows()[0]["rel_l2"]
    assert rows[0]["rel_l2"] == pytest.approx(expected, rel=1e-6)
    assert json.loads((tmp_path / "s" / "best.json").read_text())["point"] == result.best.number
    assert opdsl.open_sweep(tmp_path / "s").tests == result.tests


def test_several_seeds_are_compared_by_their_mean(tmp_path):
    result = sweep(tmp_path / "s", {"optimizer.lr": [1e-3, 1e-1]}, seeds=3)
    for point in result.points:
        scores = [x.score for x in point.results]
        assert len(set(scores)) == 3
        assert point.score == pytest.approx(np.mean(scores))
        assert point.deviation == pytest.approx(np.std(scores, ddof=1))
        seeds = [opdsl.open_run(x).settings.seed for x in point.folders]
        assert seeds == [0, 1, 2]


class Stop:
    """Stops a sweep, as a signal would, when a number of points have ended."""

    def __init__(self, count):
        self.count = count

    def __call__(self, point):
        self.count -= 1
        if self.count == 0:
            raise Interrupted(2)


def test_an_interrupted_sweep_goes_on_and_ends_as_if_it_had_not_been(tmp_path):
    with pytest.raises(Interrupted):
        sweep(tmp_path / "s", progress=Stop(2))
    before = {x: x.stat().st_mtime_ns for x in (tmp_path / "s").glob("*/metrics.jsonl")}
    assert len(before) == 2
    result = sweep(tmp_path / "s", resume=True)
    assert {x: x.stat().st_mtime_ns for x in before} == before  # no run is trained again
    whole = sweep(tmp_path / "whole")
    assert [x.score for x in result.points] == [x.score for x in whole.points]


def test_a_run_that_was_interrupted_goes_on_from_its_checkpoint(tmp_path):
    every = {"checkpoint.every": 1}
    state = SweepState(read_plan(_begun(tmp_path / "s")), tmp_path / "s", nothing)
    assert state.next_run().point == 2
    result = sweep(tmp_path / "s", resume=True, **every)
    whole = sweep(tmp_path / "whole", **every)
    assert [x.score for x in result.points] == [x.score for x in whole.points]
    changed = (tmp_path / "s" / "0002" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(x)["epoch"] for x in changed] == [1, 2]


def _begun(out):
    """Make a sweep whose second point has one epoch of two."""
    with pytest.raises(Interrupted):
        sweep(out, progress=Stop(1), **{"checkpoint.every": 1})
    plan = read_plan(out)
    sources, _ = as_sources(opdsl.load(PROGRAM), waves(), waves(4, 1))
    original = points.begin_run

    def stopped(*args, **more):
        class Pull(opdsl.Callback):
            def on_epoch_start(self, run):
                if run.epoch == 2:
                    raise KeyboardInterrupt

        return original(*args, **more, callbacks=[Pull()])

    points.begin_run = stopped
    try:
        with pytest.raises(KeyboardInterrupt):
            points.train_point(plan, points.SweepRun(2, plan.points[1], 0, "0002"), out, sources)
    finally:
        points.begin_run = original
    assert not json.loads((out / "0002" / "opdsl.json").read_text()).get("finished")
    return out


def test_a_point_that_diverges_fails_alone_and_is_not_trained_again(tmp_path):
    over = {"optimizer.lr": [1e-2, 1e30]}
    result = sweep(tmp_path / "s", over, bad_steps=1, epochs=20)
    good, bad = result.points
    assert good.score is not None
    assert bad.score is None
    assert "finite" in bad.message
    assert result.best is good
    assert result.ranked[-1] is bad
    count = len((tmp_path / "s" / "results.jsonl").read_text().splitlines())
    sweep(tmp_path / "s", over, bad_steps=1, epochs=20, resume=True)
    assert len((tmp_path / "s" / "results.jsonl").read_text().splitlines()) == count


def test_a_point_that_failed_for_want_of_memory_is_tried_again(tmp_path, monkeypatch):
    over = {"optimizer.lr": [1e-2, 1e-1]}
    with monkeypatch.context() as patch:
        patch.setattr(module, "train_point", lambda *_: points.RunResult(message="no memory"))
        result = sweep(tmp_path / "s", over)
    assert result.best is None
    assert [x.message for x in result.points] == ["no memory", "no memory"]
    with pytest.raises(OpError, match="no point of the sweep"):
        result.open_best()
    again = sweep(tmp_path / "s", over, resume=True)
    assert [x.score for x in again.points] == [x.score for x in sweep(tmp_path / "t", over).points]


def test_a_torn_line_of_the_journal_costs_nothing(tmp_path):
    result = sweep(tmp_path / "s")
    with (tmp_path / "s" / "results.jsonl").open("a") as file:
        file.write('{"point": 1, "se')
    again = opdsl.open_sweep(tmp_path / "s")
    assert [x.score for x in again.points] == [x.score for x in result.points]


# --------------------------------------------------------- mistakes, before the first point starts


def test_an_unknown_setting_is_one_diagnostic(tmp_path):
    diagnostic = refusal(tmp_path / "s", {"optimizer.lrr": [1, 2, 3], "model.width": [1, 2]})
    assert diagnostic.code == "OP0603"
    assert "lrr" in diagnostic.message
    assert any("did you mean `lr`?" in x.text for x in diagnostic.helps)


def test_an_unknown_parameter_is_one_diagnostic(tmp_path):
    diagnostic = refusal(tmp_path / "s", {"model.widht": [1, 2, 3]})
    assert (diagnostic.code, diagnostic.labels[0].span.source.name) == ("OP0207", "<--over>")


def test_a_bad_last_value_is_found_before_the_first_point_is_trained(tmp_path):
    assert refusal(tmp_path / "s", {"model.width": [1, 2, 0]}).code == "OP0208"
    assert refusal(tmp_path / "s", {"batch": [1, 2, "none"]}).code == "OP0604"


def test_data_that_do_not_fit_are_found_before_the_first_point(tmp_path):
    data = {"a": np.zeros((3, 2, 8), "float32"), "u": np.zeros((3, 1, 8), "float32")}
    assert refusal(tmp_path / "s", data=data).code.startswith("OP061")


def test_axes_without_effect_are_refused(tmp_path):
    diagnostic = refusal(tmp_path / "s", {"data.samples": [4, 4.0]})
    assert diagnostic.code in {"OP0743", "OP0604"}
    diagnostic = refusal(tmp_path / "s", {"optimizer.lr": [1e-3, 0.001]})
    assert diagnostic.code == "OP0743"


@pytest.mark.parametrize("word", ["none", "test"])
def test_a_sweep_without_validation_data_is_refused(tmp_path, word):
    assert refusal(tmp_path / "s", valid=word).code == "OP0745"


def test_a_sweep_without_data_is_refused(tmp_path):
    assert refusal(tmp_path / "s", data=None, valid=None).code == "OP0602"


def test_the_folder_of_another_sweep_is_refused(tmp_path):
    over = {"optimizer.lr": [1e-3, 1e-2]}
    sweep(tmp_path / "s", over)
    with pytest.raises(OpError, match="holds a sweep already"):
        sweep(tmp_path / "s", over)
    with pytest.raises(OpError, match="`over` has changed"):
        sweep(tmp_path / "s", {"optimizer.lr": [1e-3, 1e-1]}, resume=True)
    with pytest.raises(OpError, match="`options` has changed"):
        sweep(tmp_path / "s", over, resume=True, batch=4)


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OpError, match="not empty and holds no sweep"):
        sweep(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 2}', "{" * 1000])
def test_a_strange_plan_is_one_diagnostic(tmp_path, text):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(OpError) as caught:
        opdsl.open_sweep(tmp_path)
    assert caught.value.diagnostics[0].code == "OP0744"


@pytest.mark.parametrize("more", [{"jobs": 0}, {"seeds": 0}, {"points": 0}, {"search": "genetic"}])
def test_numbers_without_meaning_are_refused(tmp_path, more):
    with pytest.raises(ArgumentError):
        sweep(tmp_path / "s", **more)


def test_data_in_memory_need_one_process(tmp_path):
    with pytest.raises(ArgumentError, match="one process"):
        sweep(tmp_path / "s", jobs=2)


def test_a_full_disk_ends_a_sweep_with_one_diagnostic(tmp_path, monkeypatch):
    from opdsl.workflow.experiments import sweep_state

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sweep_state, "write_all", full)
    with pytest.raises(OpError) as caught:
        sweep(tmp_path / "s")
    assert caught.value.diagnostics[0].code == "OP0625"
    monkeypatch.undo()
    assert len(sweep(tmp_path / "s", resume=True).points) == 4


def test_optuna_proposes_points_and_a_resumed_search_proposes_equal_ones(tmp_path):
    pytest.importorskip("optuna")
    over = {"optimizer.lr": "log(1e-4, 1e-1)"}
    with pytest.raises(Interrupted):
        sweep(tmp_path / "s", over, search="optuna", points=4, progress=Stop(2))
    result = sweep(tmp_path / "s", over, search="optuna", points=4, resume=True)
    whole = sweep(tmp_path / "whole", over, search="optuna", points=4)
    assert [x.values for x in result.points] == [x.values for x in whole.points]
    assert len(result.points) == 4


def test_the_public_function_is_the_one_of_the_module():
    assert opdsl.sweep is module.sweep
