"""Data, training and predictions follow the sampling that the program declares."""

import h5py
import numpy as np
import pytest
import torch

import opdsl
from opdsl.data.derive.coarsen import sampling_of
from opdsl.diagnostics import OpError
from opdsl.sampling import positions
from opdsl.workflow.runs.prediction import predict_file

LINE = """edition 2026

model Line {{
  domain D = grid(x: 1..3, {options}min = 5)
  input a : D -> R^1
  output u : D -> R^1

  u = concat(a, coords(D)) |> linear(out = 1)
}}
"""
QUICK = {"epochs": 1, "batch": 4, "device": "cpu"}
CENTRES = np.array(positions("centres", 18))


@pytest.fixture
def pair(tmp_path):
    """Functions at 18 cell centres; `x` is the coordinate itself, so points can be recognised."""
    x = np.broadcast_to(1 + 2 * CENTRES, (12, 18)).astype("float32")
    np.savez(tmp_path / "pair.npz", x=x, y=3 * x)
    return tmp_path / "pair.npz"


def train(pair, options, **more):
    program = LINE.format(options=options)
    settings = {"data.fields.a": "x", "data.fields.u": "y", **more}
    return opdsl.train(program, data=str(pair), out=pair.parent / "run", **settings, **QUICK)


def test_a_coarser_grid_of_cells_consists_of_centres(pair):
    run = train(pair, "sampling = centres, ", **{"data.resolution": 6})
    predict_file(run, str(pair), pair.parent / "found.hdf5")
    with h5py.File(pair.parent / "found.hdf5") as file:
        assert file.attrs["opdsl_layout"] == "centres"
        np.testing.assert_allclose(file["dimensions/x"][()], 1 + 2 * CENTRES)
    again = opdsl.open_dataset(pair.parent / "found.hdf5", resolution=6)
    assert again.layout == "centres"
    whole = opdsl.open_dataset(pair.parent / "found.hdf5")
    np.testing.assert_array_equal(again.values["u"], whole.values["u"][..., 1::3])


def test_an_even_step_leaves_no_centres(pair):
    with pytest.raises(OpError) as caught:
        train(pair, "sampling = centres, ", **{"data.resolution": 9})
    assert caught.value.diagnostics[0].code == "OP0614"
    assert "possible here: 18, 6, 2" in str(caught.value.diagnostics[0].helps)


@pytest.mark.parametrize("options", ["", "sampling = both, ", "boundary = periodic, "])
def test_data_that_say_where_their_points_are_must_fit(pair, options):
    predict_file(train(pair, "sampling = centres, "), str(pair), pair.parent / "found.hdf5")
    fields = {"data.fields.a": "u", "data.fields.u": "u"}
    with pytest.raises(OpError) as caught:
        opdsl.train(
            LINE.format(options=options), data=str(pair.parent / "found.hdf5"),
            out=pair.parent / "other", **fields, **QUICK,
        )  # fmt: skip
    (said,) = caught.value.diagnostics
    assert said.code == "OP0613"
    assert "centres of cells" in said.message
    assert ("lower" if "periodic" in options else "both") in said.message


def test_arrays_in_memory_are_where_the_program_says():
    from opdsl.workflow.datasets.reading.in_memory import as_fields

    for word in ("lower", "upper", "interior", "centres", "both"):
        graph = opdsl.load(LINE.format(options=f"sampling = {word}, "))
        held = as_fields(graph, {"a": np.zeros((3, 1, 15)), "u": np.zeros((3, 1, 15))}, "<data>")
        assert sampling_of(held.layout) == word


def _messages(found):
    return [x.message for x in found if x.code == "OP0653"]


def test_arrays_that_contradict_the_boundary_are_a_warning_in_training_and_evaluation(tmp_path):
    program = LINE.format(options="boundary = dirichlet, ")
    x = np.linspace(0, 1, 17)
    a = np.sin(np.pi * np.outer(np.arange(1, 13), x))[:, None].astype("float32")
    wall, open_ = {"a": a, "u": a}, {"a": a, "u": a + 1}
    messages, later = [], []
    run = opdsl.train(program, data=open_, out=tmp_path / "a", warn=messages.extend, **QUICK)
    run.evaluate(wall, warn=later.extend)
    (message,) = _messages(messages)
    assert "of its RMS at the lower end of `x`, where `dirichlet` promises 0" in message
    assert _messages(later) == []
    run.evaluate([open_, wall], warn=later.extend)
    assert len(_messages(later)) == 1
    later.clear()
    run.evaluate(open_, resolutions=[17, 9], warn=later.extend)
    assert len(_messages(later)) == 1

    messages.clear()
    run = opdsl.train(program, data=wall, out=tmp_path / "b", warn=messages.extend, **QUICK)
    assert _messages(messages) == []


def test_a_dataset_that_contradicts_the_boundary_is_a_warning(tmp_path):
    a = torch.ones(12, 1, 17)
    items = torch.utils.data.TensorDataset(a, a)
    messages = []
    program = LINE.format(options="boundary = dirichlet, ")
    opdsl.train(program, data=items, out=tmp_path / "run", warn=messages.extend, **QUICK)
    (message,) = _messages(messages)
    assert message.startswith("`u` is up to 1 of its RMS at the lower end of `x`")


def test_training_begins_with_a_warning_where_data_contradict_the_boundary(pair):
    messages = []
    program = LINE.format(options="boundary = dirichlet..none, sampling = centres, ")
    fields = {"data.fields.a": "x", "data.fields.u": "y"}
    opdsl.train(
        program, data=str(pair), out=pair.parent / "run", warn=messages.extend, **fields, **QUICK
    )
    (said,) = [x for x in messages if x.code == "OP0653"]
    # y = 3 x is 3 at the lower end, with the mean square 9 (27 - 1) / 6 over 1..3
    assert f"up to {3 / (9 * 26 / 6) ** 0.5:.2g} of its RMS at the lower end of `x`" in said.message
