"""The setting `data.resample`, against the domains of a model."""

import math

import pytest
import torch

from opdsl.compiler import check
from opdsl.data.bind.samples import Samples
from opdsl.diagnostics import OpError, Source
from opdsl.workflow.datasets.resampling import Resampling

PROGRAM = """edition 2026

model M {{
  domain D = {domain}
  input a : D -> R^1
  input nu : R^2
  output u : D -> R^1

  u = modulate(a |> linear(out = 2), nu) |> linear(out = 1)
}}
"""


def graph(domain):
    return check(Source("m.op", PROGRAM.format(domain=domain))).sound()


def samples(*shape, layout="periodic"):
    x = torch.randn(3, 1, *shape)
    return Samples({"a": x, "nu": torch.ones(3, 2)}, {"u": x}, "d", "d.h5", "f", shape, layout)


def refusal(domain, size, data):
    with pytest.raises(OpError) as caught:
        Resampling(graph(domain), size)(data)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def test_functions_move_and_vectors_stay():
    domain = "grid(x: 0..1, y: 0..2, boundary = (periodic, dirichlet), min = 8)"
    data = samples(12, 13)
    found = Resampling(graph(domain), (20, 9))(data)
    assert found.resolution == (20, 9)
    assert found.inputs["a"].shape == (3, 1, 20, 9)
    assert found.inputs["nu"] is data.inputs["nu"]
    # both ends of y are points of both grids, and so is the first of x
    torch.testing.assert_close(found.outputs["u"][..., 0, 0], data.outputs["u"][..., 0, 0])
    torch.testing.assert_close(found.outputs["u"][..., 0, -1], data.outputs["u"][..., 0, -1])


def test_steps_in_time_and_channels_come_before_the_grid():
    x = torch.arange(10) / 10
    wave = torch.sin(2 * math.pi * x).expand(2, 4, 1, -1)
    data = Samples({"a": wave[:, 0], "nu": torch.ones(2, 2)}, {"u": wave}, "d", "d", "f", (10,))
    found = Resampling(graph("grid(x: 0..1, boundary = periodic, min = 4)"), 25)(data)
    fine = torch.sin(2 * math.pi * torch.arange(25) / 25)
    torch.testing.assert_close(found.outputs["u"], fine.expand(2, 4, 1, -1), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("domain", "size", "layout", "code", "text"),
    [
        ("grid(x: 0..1, y: 0..1, min = 4)", (8, 8, 8), "node", "OP0614", "3 numbers"),
        ("grid(x: 0..1, boundary = periodic, min = 4)", 8, "node", "OP0673", "seam of `x` twice"),
        ("grid(x: 0..1, sampling = lower, min = 4)", 8, "lower", "OP0673", "determine no series"),
    ],
)
def test_what_has_no_series_is_refused(domain, size, layout, code, text):
    shape = (12,) * domain.count("..")
    diagnostic = refusal(domain, size, samples(*shape, layout=layout))
    assert diagnostic.code == code
    assert text in diagnostic.message


def test_functions_on_points_and_masked_values_have_no_series():
    assert "on points" in refusal("points(2)", 8, samples(12)).message
    data = samples(12)
    data.weights["u"] = torch.ones(3, 1, 12, dtype=torch.bool)
    assert "masked" in refusal("grid(x: 0..1, boundary = periodic, min = 4)", 8, data).message
