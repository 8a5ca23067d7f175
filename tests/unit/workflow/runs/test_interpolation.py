"""Where the points of training lie within a finer grid, and the warning OP0656."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import opdsl
from opdsl.data.bind.samples import Samples
from opdsl.train.config.schema import Settings
from opdsl.train.scaling.normalise import Normaliser
from opdsl.workflow.runs import interpolation
from opdsl.workflow.runs.interpolation import measure_interpolation
from opdsl.workflow.runs.interpolation_warning import interpolation_warnings

PROGRAM = """edition 2026

model Line {
  domain D = grid(x: 0..1, boundary = none, min = 9)
  input a : D -> R^1
  output u : D -> R^1

  u = a |> BLOCK
}
"""


def layout_case(options, data_layout, have, trained, monkeypatch, source="file.npz"):
    """Return which points are knots, whether the axis is circular, or else the reason."""
    program = PROGRAM.replace("boundary = none", options).replace("BLOCK", "linear(out = 1)")
    graph = opdsl.load(program)
    a = torch.ones(2, 1, have)
    samples = Samples({"a": a}, {"u": a}, "s", source, "f", (have,), layout=data_layout)
    calls = []

    def measured(*arguments, **_):
        coarse, circular = arguments[3:]
        calls.append((coarse.knots[0], circular["u"][0]))
        return SimpleNamespace(rel_l2=1.0, rel_h1=None)

    monkeypatch.setattr(interpolation, "interpolated_errors", measured)
    found = measure_interpolation(
        None, Normaliser({}, {}), graph, samples, Settings(), (trained,), {}
    )
    return calls[0] if calls else found.reason


@pytest.mark.parametrize(
    ("options", "data_layout", "have", "trained", "expected"),
    [
        # what the data state comes first
        ("boundary = periodic", "node", 33, 17, (range(0, 33, 2), False)),
        ("boundary = periodic", "node", 34, 17, "the 34 points of `x` (points at both ends) do"),
        ("sampling = centres", "centres", 27, 9, (range(1, 27, 3), False)),
        ("sampling = centres", "centres", 18, 9, "the 18 points of `x` (points at the centres of"),
        ("sampling = interior", "interior", 15, 7, (range(1, 15, 2), False)),
        ("boundary = periodic, sampling = upper", "upper", 18, 9, (range(1, 18, 2), True)),
        # then the program, where the data state nothing
        ("sampling = lower", "periodic", 32, 16, (range(0, 32, 2), False)),
        ("sampling = both", "periodic", 32, 16, "the 32 points of `x` (points at both ends) do"),
        ("sampling = centres", "periodic", 48, 16, (range(1, 48, 3), False)),
        ("boundary = periodic", "periodic", 32, 16, (range(0, 32, 2), True)),
        # and where neither does, both ends or every k-th point
        ("boundary = none", "periodic", 33, 17, (range(0, 33, 2), False)),
        ("boundary = none", "periodic", 32, 16, (range(0, 32, 2), False)),
        ("boundary = none", "periodic", 30, 16, "the 30 points of `x` (points at both ends or a"),
    ],
)
def test_the_layout_is_that_of_the_data_then_of_the_program(
    options, data_layout, have, trained, expected, monkeypatch
):
    found = layout_case(options, data_layout, have, trained, monkeypatch)
    if isinstance(expected, str):
        assert found.startswith(expected)
    else:
        assert found == expected


def test_arrays_in_memory_state_no_layout(monkeypatch):
    found = layout_case("boundary = periodic", "node", 34, 17, monkeypatch, source="<test>")
    assert found == (range(0, 34, 2), True)


def test_spheres_have_a_reason():
    graph = opdsl.load(Path(opdsl.__file__).parents[1] / "specs/sfno_swe.op")
    values = {x.name: torch.ones(2, 3, 64, 128) for x in (*graph.inputs, *graph.outputs)}
    samples = Samples(values, values, "s", "f.npz", "f", (64, 128))
    found = measure_interpolation(
        None, Normaliser({}, {}), graph, samples, Settings(), (32, 64), {}
    )
    assert found.reason == "functions on spheres are not interpolated by splines"


def row(own, interpolated, name="33"):
    return {
        "set": name,
        "split": "test",
        "rel_l2": own,
        "interpolated": interpolated,
        "trained_resolution": [9],
    }


@pytest.mark.parametrize(
    ("own", "interpolated", "warned"),
    [
        (1.0, 0.98, True),
        (1.0, 0.995, False),
        (1.0, 1.2, False),
        (None, 1.0, True),  # the prediction on the fine grid is not finite
        (None, None, False),
        (1.0, None, False),
    ],
)
def test_the_warning_has_a_margin(own, interpolated, warned):
    graph = opdsl.load(PROGRAM.replace("BLOCK", "linear(out = 1)"))
    found = interpolation_warnings(graph, [row(own, interpolated)], Path("runs/line"))
    assert bool(found) is warned
    assert not interpolation_warnings(graph, [{"set": "9", "rel_l2": own}], Path("runs/line"))


def test_the_worst_set_is_the_message_and_others_are_notes():
    graph = opdsl.load(PROGRAM.replace("BLOCK", "spectral_conv(modes = 4)"))
    rows = [row(0.2, 0.1), row(0.4, 0.1, "65"), row(0.1, 0.2, "129")]
    (warning,) = interpolation_warnings(graph, rows, Path("runs/line"))
    assert warning.message == (
        "on the test data at 65 the relative L2 error is 0.4; that of the prediction at 9, the "
        "resolution of training, interpolated by cubic splines is 0.1"
    )
    assert warning.notes[0] == "on the test data at 33: 0.2, interpolated 0.1"
    assert not any("129" in x for x in warning.notes)
    assert warning.file == "runs/line"
