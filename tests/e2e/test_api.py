"""Training from Python: on arrays, tensors and data sets of torch, without the command line."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset, TensorDataset

import opdsl
from opdsl import Geometry, OpError, OpWarning
from opdsl.resources import root
from tests import typed_client
from tests.e2e.command_line import data, good, run

LINE = """edition 2026

from std.pointwise import Lift, Project

model Line {
  domain D = grid(x, boundary = periodic, min = 9)
  input a : D -> R^1
  output u : D -> R^1
  param width : int = 4

  u = a |> Lift(out = width) |> Project(out = 1)
}
"""
PLANE = """edition 2026

model Plane {
  domain D = grid(x, y, min = 5)
  input a : D -> R^{k, f}
  input b : D -> R^1
  output u : D -> R^1

  u = concat(a, b) |> linear(out = 1)
}
"""
CLOUD = """edition 2026

model Cloud {
  domain P = points(2, geometry = per_sample)
  input f : P -> R^1
  output u : P -> R^1

  u = concat(f, coords(P)) |> linear(out = 4) |> gelu() |> linear(out = 1)
}
"""
A = np.random.default_rng(0).normal(size=(20, 1, 16)).astype("float32")
PAIR = {"a": A, "u": 2 * A}
QUICK = {"epochs": 1, "batch": 4, "device": "cpu"}


def code(raised):
    (diagnostic,) = raised.value.diagnostics
    return diagnostic.code


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, an empty one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on arrays."""
    return opdsl.train(LINE, data=PAIR, out=tmp_path_factory.mktemp("api") / "run", **QUICK)


# -------------------------------------------------------------------------------- what data may be


def weights(run):
    return {k: x.clone() for k, x in run.module.state_dict().items()}


def same(one, other):
    return all(torch.equal(x, weights(other)[k]) for k, x in weights(one).items())


class Stream(IterableDataset):
    def __iter__(self):
        yield from ({"u": 2 * x, "a": x} for x in A)


@pytest.mark.parametrize(
    "kind",
    [
        lambda: {"a": torch.tensor(A), "u": torch.tensor(2 * A)},
        lambda: {"u": 2 * A[:, 0], "a": A[:, 0]},
        lambda: {"a": list(A), "u": list(2 * A)},
        lambda: TensorDataset(torch.tensor(A), torch.tensor(2 * A)),
        Stream,
    ],
    ids=["tensors", "without channels", "lists", "pairs", "dictionaries"],
)
def test_every_kind_of_data_teaches_what_arrays_teach(kind, trained):
    assert same(opdsl.train(LINE, data=kind(), out="run", **QUICK), trained)


def test_a_file_teaches_what_its_arrays_teach(folder):
    np.savez("d.npz", x=A, y=2 * A)
    from_file = opdsl.train(LINE, data="d.npz", out="file", **QUICK)
    from_fields = opdsl.train(LINE, data={"a": A, "u": 2 * A}, out="fields", **QUICK)
    assert same(from_file, from_fields)
    good(
        "train", written(folder), "--data", "d.npz", "--set", "batch=4", "--epochs", 1, "--out", "c"
    )
    assert same(opdsl.open_run("c"), from_file)


def written(folder):
    (folder / "line.op").write_text(LINE)
    return "line.op"


def test_a_graph_a_path_and_a_text_are_the_same_program(folder):
    paths = [Path(written(folder)), opdsl.load("line.op"), opdsl.load(LINE), LINE]
    first, *others = [
        opdsl.train(x, data=PAIR, out=f"run{i}", **QUICK) for i, x in enumerate(paths)
    ]
    assert all(same(first, x) for x in others)
    assert all(x.about["fingerprint"] == first.about["fingerprint"] for x in others)


def test_a_graph_without_a_text_is_trained_as_its_flat_program(folder):
    good("ir", written(folder), "--out", "line.json")
    run = opdsl.train(opdsl.load("line.json"), data=PAIR, out="run", **QUICK)
    assert opdsl.diff(run.graph, LINE).same


def test_parameters_of_the_model_are_set():
    run = opdsl.train(LINE, data=PAIR, parameters={"width": 6}, out="run", **QUICK)
    assert run.graph.params["width"] == 6
    loaded = opdsl.train(opdsl.load(LINE, width=6), data=PAIR, out="run2", **QUICK)
    assert same(run, loaded)


def test_components_and_several_inputs_are_named_as_in_the_program():
    a = np.random.default_rng(1).normal(size=(12, 2, 6, 7)).astype("float32")
    b, u = a[:, :1] ** 2, a.sum(1, keepdims=True)
    run = opdsl.train(
        PLANE,
        data={"a": a, "b": b, "u": u},
        out="run",
        epochs=60,
        batch=4,
        device="cpu",
        optimizer={"lr": 0.05},
    )
    assert run.predict(a=a, b=b).shape == (12, 1, 6, 7)
    (row,) = run.evaluate({"a": a, "b": b, "u": u}).rows()
    assert row["rel_l2"] < 0.9


@pytest.mark.parametrize("sizes", [(9,) * 12, range(8, 20)], ids=["shared", "own"])
def test_functions_on_points_come_with_their_coordinates(sizes):
    random = np.random.default_rng(2)
    places = [random.uniform(size=(n, 2)).astype("float32") for n in sizes]
    f = [x[:, :1].T + x[:, 1:].T for x in places]
    given = {"f": f, "u": [2 * x for x in f], "P": places}
    run = opdsl.train(CLOUD, data=given, out="run", **QUICK)
    found = run.predict(f=f[:3], P=places[:3])
    assert [x.shape for x in found] == [(1, n) for n in list(sizes)[:3]]
    (row,) = run.evaluate(given).rows()
    assert row["samples"] == 12
    if len(set(sizes)) == 1:
        shared = {"f": np.stack(f), "u": np.stack(f), "P": Geometry(torch.tensor(places[0]))}
        assert opdsl.train(CLOUD, data=shared, out="shared", **QUICK).predict(
            f=np.stack(f), P=torch.tensor(places[0])
        ).shape == (12, 1, 9)


# ---------------------------------------------------------------------------------- the division


def test_validation_is_a_part_as_for_files(trained):
    data = trained.about["data"]
    assert data["samples"] == 18
    assert data["choice"] == "2 samples, the last of the 20 of <data>"


@pytest.mark.parametrize(
    ("valid", "samples", "choice"),
    [
        (0.25, 15, "5 samples, the last"),
        ("none", 20, "none, so the last"),
        ({"a": A[:3], "u": A[:3]}, 20, "3 samples of <valid>"),
    ],
    ids=["part", "none", "arrays"],
)
def test_validation_data_are_a_part_or_data_of_their_own(valid, samples, choice):
    about = opdsl.train(LINE, data=PAIR, valid=valid, out="run", **QUICK).about["data"]
    assert about["samples"] == samples
    assert about["choice"].startswith(choice)


def test_test_data_are_measured_at_the_end():
    np.savez("t.npz", x=A[:7], y=A[:7])
    run = opdsl.train(LINE, data=PAIR, test=[{"a": A[:5], "u": A[:5]}, "t.npz"], out="r", **QUICK)
    assert [x["samples"] for x in run.metrics.tests] == [5, 7]


def test_a_coarser_resolution_is_taken_from_arrays():
    more = {"data.resolution": 8, "eval.resolutions": [8]}
    text = LINE.replace("min = 9", "min = 8")
    run = opdsl.train(text, data=PAIR, test=PAIR, out="run", **QUICK, **more)
    assert run.about["data"]["resolution"] == [8]
    assert [x["resolution"] for x in run.metrics.tests] == [[8]]
    with pytest.raises(OpError) as raised:
        run.evaluate(PAIR, resolutions=[7])
    assert code(raised) == "OP0614"


# ------------------------------------------------------------------------------ the run afterwards


def test_a_run_on_arrays_opens_again_and_predicts(trained):
    again = opdsl.open_run(trained.folder)
    assert np.array_equal(again.predict(A[:3]), trained.predict(A[:3]))
    told = json.loads((trained.folder / "opdsl.json").read_text())
    assert told["data"]["path"] == "<data>"


def test_a_run_on_arrays_needs_them_again_to_be_measured(trained):
    for act in (trained.evaluate, trained.report):
        with pytest.raises(OpError) as raised:
            act()
        assert code(raised) == "OP0610"
        assert "run.evaluate({...})" in str(raised.value)
    with pytest.raises(OpError) as raised:
        opdsl.resume(trained, epochs=2)
    assert code(raised) == "OP0610"


def test_the_report_has_the_errors_that_the_command_prints():
    np.savez("d.npz", x=A, y=2 * A)
    run = opdsl.train(LINE, data="d.npz", test="d.npz", out="run", **QUICK)
    report = run.evaluate()
    told = data("evaluate", "run", "--device", "cpu", "--json")
    assert report.to_json() == told
    assert report["16"].rel_l2 == told["tests"][0]["rel_l2"]


def test_a_run_goes_on_as_if_it_had_never_stopped():
    more = {"batch": 4, "device": "cpu", "schedule": "constant"}
    whole = opdsl.train(LINE, data=PAIR, out="whole", epochs=3, **more)
    first = opdsl.train(LINE, data=PAIR, out="parts", epochs=1, **more)
    parts = opdsl.resume(first, data=PAIR, epochs=3)
    assert same(whole, parts)
    with pytest.raises(OpError) as raised:
        opdsl.resume(parts, data={"a": A, "u": 3 * A}, epochs=4)
    assert code(raised) == "OP0626"


def test_a_run_begins_with_the_weights_of_another(trained):
    run = opdsl.train(LINE, data=PAIR, start=trained, out="run", **QUICK)
    assert not same(run, trained)
    assert (Path("run") / "start.json").exists()


def test_the_page_of_a_run_is_written_anew(trained, tmp_path):
    page = trained.report(PAIR, out=tmp_path / "page.html")
    text = page.read_text()
    assert "Validation data: 2 samples" in text


def test_a_run_without_a_folder_is_below_runs():
    run = opdsl.train(LINE, data=PAIR, **QUICK)
    assert run.folder.parent == Path("runs")
    assert run.folder.name.startswith("Line-")


# ------------------------------------------------------------------------------ progress, warnings


def test_progress_is_a_callback_and_nothing_is_printed(capsys):
    records = []
    opdsl.train(LINE, data=PAIR, out="run", progress=records.append, **(QUICK | {"epochs": 2}))
    assert [(x.epoch, x.epochs) for x in records] == [(1, 2), (2, 2)]
    assert str(records[0]).startswith("epoch 1/2  train ")
    assert capsys.readouterr() == ("", "")


def test_a_warning_is_a_warning_of_python():
    u = 2 * A.copy()
    u[3] = 0
    with pytest.warns(OpWarning) as caught:
        opdsl.train(LINE, data={"a": A, "u": u}, out="run", **QUICK)
    assert {x.message.diagnostic.code for x in caught} == {"OP0616", "OP0631"}
    heard = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opdsl.train(LINE, data={"a": A, "u": u}, out="run2", warn=heard.extend, **QUICK)
    assert {x.code for x in heard} == {"OP0616", "OP0631"}


# ---------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("wrong", "expected", "words"),
    [
        ({"aa": A, "u": A}, "OP0611", "did you mean `a`"),
        ({"a": A}, "OP0611", "the output `u` of `Line` is missing"),
        ({"u": A}, "OP0611", "the input `a` of `Line` is missing"),
        ({}, "OP0611", "no functions to learn from"),
        ({"a": A[0, 0], "u": A}, "OP0613", "has shape (16,), expected (samples, 1, x)"),
        ({"a": A, "u": A[:9]}, "OP0613", "20 of `a` and 9 of `u`"),
        ({"a": A.repeat(3, 1), "u": A}, "OP0613", "has 3 channels"),
        ({"a": A + 1j, "u": A}, "OP0613", "is complex"),
        ({"a": "text", "u": A}, "OP0613", "is a str"),
        ({"a": A.astype(object), "u": A}, "OP0905", "expected numbers"),
        ({"a": A * np.nan, "u": A}, "OP0612", "not finite"),
        ({"a": A[:0], "u": A[:0]}, "OP0610", "no samples"),
        ({"a": A[..., :8], "u": A[..., :8]}, "OP0903", "9"),
        (A, "OP0611", "is a ndarray"),
        (TensorDataset(torch.tensor(A)), "OP0613", "expected (a, u)"),
        ("nowhere.npz", "OP0610", "no such file"),
        (None, "OP0602", "nothing says which data"),
    ],
)
def test_a_mistake_in_the_data_is_one_diagnostic_and_leaves_nothing(wrong, expected, words):
    with pytest.raises(OpError) as raised:
        opdsl.train(LINE, data=wrong, out="run", **QUICK)
    assert code(raised) == expected
    assert words in str(raised.value)
    assert not Path("run").exists()


def test_points_without_coordinates_are_refused():
    f = np.ones((4, 1, 9), np.float32)
    with pytest.raises(OpError) as raised:
        opdsl.train(CLOUD, data={"f": f, "u": f}, out="run", **QUICK)
    assert {x.code for x in raised.value.diagnostics} == {"OP0611"}
    with pytest.raises(OpError) as raised:
        opdsl.train(CLOUD, data={"f": f, "u": f, "P": np.ones((9, 3))}, out="run", **QUICK)
    assert code(raised) == "OP0613"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"epochs": 0}, "OP0604"),
        ({"optimzer": "adam"}, "OP0603"),
        ({"optimizer": {"lr": -1}}, "OP0604"),
        ({"optimizer.momentum": 0.5}, "OP0603"),
        ({"device": "abacus"}, "OP0604"),
    ],
)
def test_a_wrong_setting_is_shown_as_it_was_written(settings, expected):
    with pytest.raises(OpError) as raised:
        opdsl.train(LINE, data=PAIR, out="run", **settings)
    assert code(raised) == expected
    key = next(iter(settings))
    assert "<arguments>:1" in str(raised.value)
    assert key.split(".")[0] in str(raised.value)


def test_numbers_of_numpy_and_sections_are_settings():
    settings = {"optimizer": {"kind": "sgd", "lr": np.float32(0.5)}, "batch": np.int64(4)}
    run = opdsl.train(LINE, data=PAIR, out="run", epochs=1, **settings)
    assert run.settings.optimizer.kind == "sgd"
    assert run.settings.optimizer.lr == 0.5
    assert "# an argument of Python" in (run.folder / "settings.yaml").read_text()


# ------------------------------------------------------------------------------------- short texts


def test_graphs_runs_and_reports_are_one_short_line(trained):
    graph = opdsl.load(root("specs") / "fno_darcy.op")
    for x in (graph, trained, trained.evaluate(PAIR), opdsl.summary(graph), opdsl.render(graph)):
        assert len(repr(x)) < 200, repr(x)
        assert "\n" not in repr(x)
    assert len(str(graph)) < 200
    assert repr(graph) == "<Graph DarcyFNO: a -> u, 25 nodes>"


def test_a_difference_is_one_line_and_prints_what_the_command_prints():
    specs = root("specs")
    difference = opdsl.diff(specs / "fno_darcy.op", specs / "fno_darcy_small.op")
    assert repr(difference).startswith("<Difference: another function, parameters 2,673,313 => ")
    assert len(repr(difference)) < 200
    printed = run("diff", specs / "fno_darcy.op", specs / "fno_darcy_small.op")
    assert printed.stdout == f"{difference}\n"


def test_notebooks_show_drawings_and_tables(trained):
    graph = opdsl.load(LINE)
    assert graph._repr_svg_().startswith("<?xml") or "<svg" in graph._repr_svg_()
    assert "<svg" in opdsl.render(graph)._repr_svg_()
    assert "<td>20</td>" in trained.evaluate(PAIR)._repr_html_()
    assert "Line" in trained._repr_html_()
    assert "<pre>" in opdsl.summary(graph)._repr_html_()


def test_a_user_with_types_trains_and_looks(folder):
    run, records = typed_client.learn(folder / "run")
    assert len(records) == 2
    assert 0 < typed_client.look(run, folder) < 10
    assert typed_client.codes("edition 2026\nmodel M {\n") != []
