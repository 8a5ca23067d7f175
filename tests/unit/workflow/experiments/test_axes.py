"""Axes of a sweep: their values are those that the text says, and wrong texts are refused."""

import math
from itertools import pairwise

import pytest

from opdsl.diagnostics import OpError
from opdsl.workflow.experiments.axes import axes_of, parse_axis
from opdsl.workflow.experiments.search import extreme_points, fixed_points

LISTS = {
    "model.width=16,32,64": ("16", "32", "64"),
    "modes=(4, 8), (8, 8)": ("(4, 8)", "(8, 8)"),
    "eval.resolutions=[16,32],[64]": ("[16,32]", "[64]"),
    'data.path="a,b.h5","c.h5"': ('"a,b.h5"', '"c.h5"'),
    "loss=l2": ("l2",),
    "optimizer=adam, sgd": ("adam", "sgd"),
}


@pytest.mark.parametrize(("text", "values"), LISTS.items())
def test_commas_separate_values_outside_brackets_and_quotes(text, values):
    axis = parse_axis(text)
    assert axis.values == values
    assert axis.key == text.partition("=")[0]


def test_a_logarithmic_range_has_equal_ratios():
    values = [float(x) for x in parse_axis("optimizer.lr=log(1e-4, 1e-2, 8)").values]
    assert (values[0], values[-1], len(values)) == (1e-4, 1e-2, 8)
    ratios = [b / a for a, b in pairwise(values)]
    assert all(math.isclose(x, 100 ** (1 / 7), rel_tol=1e-4) for x in ratios)


def test_a_linear_range_has_equal_differences():
    assert parse_axis("x.y=linear(0, 1.0, 5)").values == ("0.0", "0.25", "0.5", "0.75", "1.0")


def test_integers_stay_integers():
    assert parse_axis("model.width=log(8, 64, 4)").values == ("8", "16", "32", "64")
    assert parse_axis("model.depth=linear(1, 3, 9)").values == ("1", "2", "3")


def test_python_values_are_written_as_a_program_writes_them():
    (axis,) = axes_of({"x": [True, None, 0.5, (1, 2), [3]]})
    assert axis.values == ("true", "none", "0.5", "(1, 2)", "[3]")
    (axis,) = axes_of({"optimizer.lr": "log(1e-3, 1e-1, 3)"})
    assert axis.values == ("0.001", "0.01", "0.1")


WRONG = {
    "model.width": "lacks KEY or values",
    "=3": "lacks KEY or values",
    "model.width=16,,32": "a value is missing",
    "model.width=16,32,": "a value is missing",
    "model.width=16,16": "listed twice",
    "optimizer.lr=log(1e-2, 1e-4, 8)": "less than the second",
    "optimizer.lr=log(0, 1, 8)": "above zero",
    "optimizer.lr=log(1e-4, 1e-2, 1)": "between 2 and",
    "optimizer.lr=log(1e-4)": "takes two numbers",
    "optimizer.lr=log(a, b)": "takes two numbers",
    "optimizer.lr=linear(1, 2, 3, 4)": "takes two numbers",
    "optimizer.lr=linear(1, inf, 4)": "takes two numbers",
}


@pytest.mark.parametrize(("text", "part"), WRONG.items())
def test_a_wrong_axis_is_refused_at_its_place(text, part):
    with pytest.raises(OpError) as caught:
        parse_axis(text)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "OP0743"
    assert part in diagnostic.message
    assert diagnostic.labels[0].span.source.text == text


def test_a_logarithm_of_zero_is_answered_with_a_range_of_this_axis():
    with pytest.raises(OpError) as caught:
        parse_axis("optimizer.lr=log(0, 1, 8)")
    (diagnostic,) = caught.value.diagnostics
    assert "write `optimizer.lr=log(" in diagnostic.helps[0].text


def test_all_wrong_axes_are_reported_together():
    with pytest.raises(OpError) as caught:
        axes_of(["a", "b=", "c=1"])
    assert len(caught.value.diagnostics) == 2


def test_two_axes_of_one_name_are_refused():
    with pytest.raises(OpError, match="`a` is the name of two axes"):
        axes_of(["a=1", "a=2"])


# ------------------------------------------------------------------------------ points


def test_a_grid_has_every_combination():
    points = fixed_points(axes_of(["a=1,2", "b=x,y,z"]), "grid", None, 0)
    assert [tuple(x.values()) for x in points] == [(a, b) for a in "12" for b in "xyz"]
    assert fixed_points(axes_of(["a=1,2", "b=x,y,z"]), "grid", 4, 0) == points[:4]


def test_a_grid_of_a_continuous_range_is_refused():
    with pytest.raises(OpError, match="how many values of `a` there are"):
        fixed_points(axes_of(["a=log(1, 2)"]), "grid", None, 0)


def test_a_grid_of_very_many_points_is_refused():
    with pytest.raises(OpError, match="the grid has 1000000 points"):
        fixed_points(axes_of([f"{k}=linear(1, 100, 100)" for k in "abc"]), "grid", None, 0)


def test_random_points_follow_from_the_seed_and_fill_the_range():
    axes = axes_of(["a=log(1e-4, 1.0)", "b=x,y"])
    points = fixed_points(axes, "random", 400, 5)
    assert points == fixed_points(axes, "random", 400, 5)
    assert points != fixed_points(axes, "random", 400, 6)
    logs = [math.log10(float(x["a"])) for x in points]
    assert abs(sum(logs) / 400 + 2) < 0.15  # uniform on [-4, 0]: a deviation of 1.15 / 20
    assert abs(sum(x["b"] == "x" for x in points) - 200) < 50


def test_a_random_search_draws_no_point_twice():
    points = fixed_points(axes_of(["a=1,2", "b=1,2"]), "random", 50, 0)
    assert len(points) == 4


def test_extreme_points_contain_every_value_and_both_ends():
    points = extreme_points(axes_of(["a=1,2,3", "b=log(1e-3, 1e-1)"]))
    assert len(points) == 4
    assert {x["a"] for x in points} == {"1", "2", "3"}
    assert {x["b"] for x in points} == {"0.001", "0.1"}


def test_optuna_finds_the_least_value_of_a_parabola_and_repeats_itself():
    pytest.importorskip("optuna")
    from opdsl.workflow.experiments.search import OptunaSearch

    def run(count):
        search, finished = OptunaSearch(axes_of(["a=linear(-4.0, 4.0)", "b=p,q"]), 1), []
        for _ in range(count):
            point = search.propose(finished, [])
            error = (float(point["a"]) - 1) ** 2 + (point["b"] == "p")
            finished.append((point, None if len(finished) == 2 else error))
        return finished

    finished = run(40)
    best = min((x for x in finished if x[1] is not None), key=lambda x: x[1])
    assert abs(float(best[0]["a"]) - 1) < 0.5
    assert best[0]["b"] == "q"
    assert run(12) == finished[:12]
