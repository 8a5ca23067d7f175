import time

import pytest
import torch

from opdsl.lower.measure import measurable, measure
from opdsl.lower.torch import lower
from tests.programs import graph

POINTWISE = """edition 2026

model M {
  domain D = grid(x: 0..1)
  input a : D -> R^2
  output u : D -> R^8
  u = a |> linear(out = 8) |> gelu() |> gelu() |> linear(out = 8)
}
"""
SIZES, BATCH = {"D": (100,)}, 3
NUMBER = 4  # bytes
POINTS = 100 * BATCH


@pytest.fixture
def module():
    found = lower(graph(POINTWISE))
    found.fuse = False
    return found


def test_a_line_tells_the_bytes_of_its_result(module):
    lines = measure(module, SIZES, BATCH).lines
    assert [x.result for x in lines] == [NUMBER * POINTS * c for c in (8, 8, 8, 8)]


def test_what_a_step_keeps_for_the_gradient_is_counted_once(module):
    # each keeps its input; the weights of the last product are there anyway
    lines = measure(module, SIZES, BATCH).lines
    assert [x.saved for x in lines] == [NUMBER * POINTS * c for c in (2, 8, 8, 8)]


def test_the_time_of_a_slow_step_is_in_its_line_and_in_the_whole_call(module):
    module.steps[1].module.register_forward_pre_hook(lambda *_: time.sleep(0.05))
    found = measure(module, SIZES, BATCH)
    assert [x.milliseconds >= 50 for x in found.lines] == [False, True, False, False]
    assert found.forward >= 50
    assert found.step >= 50


def test_nodes_that_run_as_one_have_one_line():
    pair = POINTWISE.replace("gelu() |> gelu()", "gelu()")
    module = lower(graph(pair))
    module.fuse = True
    (line,) = measure(module, SIZES, BATCH).lines
    assert line.nodes == tuple(x.node.path for x in module.steps)


def test_a_measured_module_computes_as_before(module):
    x = torch.randn(BATCH, 2, 100, generator=torch.Generator().manual_seed(0))
    before, units = module(x), module.units
    measure(module, SIZES, BATCH)
    assert module.units == units
    assert torch.equal(module(x), before)


def test_a_model_on_a_grid_can_be_measured(module):
    assert measurable(module)
