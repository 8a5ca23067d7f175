import time

import pytest
import torch

from opdsl.lower.module import lower
from opdsl.lower.plan.measure import measurable, measure
from opdsl.nn.kernels.fourier_layer import kernels_available
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


# ------------------------------------------------------------------ what was not chosen

LAYER = """edition 2026

from std.fourier import FourierLayer

model M {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 12)
  input a : D -> R^4
  output u : D -> R^4
  u = a |> FourierLayer(modes = 3, act = tanh) |> linear(out = 8) |> gelu() |> linear(out = 4)
}
"""
PLANE = {"D": (16, 12)}
needs_kernels = pytest.mark.skipif(not kernels_available(), reason="no C++ compiler here")


def ways(fuse, kernel=None, text=LAYER):
    module = lower(graph(text))
    module.fuse, module.force_kernel = fuse, kernel
    found = measure(module, PLANE, BATCH)
    assert (module.fuse, module.force_kernel) == (fuse, kernel)
    return found.lines


@needs_kernels
def test_every_way_but_the_one_that_ran_is_told():
    layer, _, network = ways(fuse=True)
    assert set(layer.others) == {"fft", "dft"}
    assert set(network.others) == {"plain"}


@needs_kernels
@pytest.mark.parametrize(("kernel", "other"), [("fft", "dft"), ("dft", "fft")])
def test_a_kernel_that_is_forced_is_not_among_the_others(kernel, other):
    line, *_ = ways(fuse=None, kernel=kernel)
    assert set(line.others) == {other, "fused"}
    assert not line.fused


@needs_kernels
def test_another_way_keeps_what_it_keeps_where_it_is_the_chosen_one():
    pair = LAYER.replace("FourierLayer(modes = 3, act = tanh) |> ", "")
    (one,), (many,) = ways(fuse=True, text=pair), ways(fuse=False, text=pair)
    assert one.others["plain"].saved == many.saved
    assert many.others["fused"].saved == one.saved
    # as one it keeps what it takes; one by one both products and the activation do
    points = BATCH * 16 * 12
    assert (one.saved, many.saved) == (NUMBER * points * 4, NUMBER * points * (4 + 8 + 8))


def test_a_node_with_one_way_has_no_others(module):
    assert not any(x.others for x in measure(module, SIZES, BATCH).lines[1:2])
