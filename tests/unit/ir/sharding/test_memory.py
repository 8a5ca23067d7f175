"""The predicted peak memory of a process against the tensors that torch allocates."""

import pytest
import torch

from opdsl.compiler import load
from opdsl.ir.sharding.memory import rank_memory
from opdsl.ir.sharding.plan import plan_sharding
from opdsl.lower.module import lower
from tests.step_memory import step_memory

UNO = """edition 2026
from std.fourier import FourierLayer
from std.pointwise import Lift, Project
model U {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 36)
  input a : D -> R^1
  output u : D -> R^1
  u = a |> Lift(out = 24)
    |> FourierLayer(modes = 6, to = D / 2, out = 32)
    |> norm()
    |> FourierLayer(modes = 6, to = D)
    |> Project(out = 1, hidden = 32)
}
"""
TRANSOLVER = """edition 2026
model T {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 36)
  input a : D -> R^1
  output u : D -> R^1
  u = a |> linear(out = 32)
    |> residual { norm(kind = layer) |> slice_attention(slices = 32, heads = 2) }
    |> residual { norm(kind = layer) |> mlp(widths = [64, 32]) }
    |> linear(out = 1)
}
"""


BOX = """edition 2026
from std.fourier import FNOBlock
from std.pointwise import Lift, Project
model B {
  domain D = grid(x: 0..1, y: 0..1, z: 0..1, boundary = periodic, min = 7)
  input a : D -> R^1
  output u : D -> R^1
  u = a |> Lift(out = 12) |> repeat 2 { FNOBlock(modes = 3) } |> Project(out = 1, hidden = 24)
}
"""
GATES = """edition 2026
model G {
  domain D = grid(x: 0..1, boundary = periodic, min = 36)
  input a : D -> R^1
  output u : D -> R^8
  output v : D -> R^8
  h = a |> linear(out = 8)
  g = apply(h, sigmoid)
  d = difference_conv(h, kernel = 3)
  u = g * h |> linear(out = 8) |> apply(tanh) |> linear(out = 8)
  v = d + h
}
"""
WALLS = """edition 2026
from std.pointwise import Lift, Project
model W {
  domain D = grid(x: 0..1, boundary = dirichlet, min = 20)
  input a : D -> R^1
  output u : D -> R^1
  u = concat(a, coords(D)) |> Lift(out = 24)
    |> repeat 3 { spectral_conv(modes = 12, basis = auto) |> gelu() }
    |> Project(out = 1, hidden = 48)
}
"""


@pytest.mark.parametrize(
    ("program", "size", "batch"),
    [(BOX, 12, 2), (WALLS, 512, 4), (UNO, 36, 4), (TRANSOLVER, 36, 4), (GATES, 512, 4)],
    ids=["box", "walls", "uno", "transolver", "gates"],
)
def test_the_peak_of_one_process_is_predicted_within_a_tenth(program, size, batch):
    graph = load(program)
    sizes = {x.name: (size,) * x.dims for x in graph.domains}
    predicted = rank_memory(plan_sharding(graph, 1, "auto", sizes, batch))
    module = lower(graph)
    module.fuse, module.force_kernel = False, "dft"
    inputs = [torch.randn(batch, x.space.channels, *x.space.domain.at(sizes)) for x in graph.inputs]
    assert predicted.total == pytest.approx(step_memory(module, inputs), rel=0.1)


def test_a_part_of_the_grid_needs_a_part_of_the_memory():
    graph = load(BOX)
    sizes = {"D": (16, 16, 16)}
    one, two, four = (rank_memory(plan_sharding(graph, x, "x", sizes, 4)) for x in (1, 2, 4))
    assert two.weights == one.weights
    # one process does not copy its input of one channel, which is 2 % here
    assert two.functions == pytest.approx(one.functions / 2, rel=0.03)
    assert four.functions == pytest.approx(two.functions / 2, rel=0.02)
    assert two.whole == one.whole  # inputs and outputs are whole on each process


def test_weights_that_outweigh_functions_peak_in_their_update():
    graph = load(BOX)
    memory = rank_memory(plan_sharding(graph, 1, "x", {"D": (7, 7, 7)}, 1))
    assert memory.moment == "the update of the weights"
    assert memory.gradients > memory.weights == memory.moments / 2
