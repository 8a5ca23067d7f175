"""The predicted memory of a process against the tensors that torch allocates in it."""

from collections.abc import Mapping

import pytest
import torch

from opdsl.compiler import load
from opdsl.lower.module import lower
from opdsl.lower.sharded.running import shard
from opdsl.parallel.mesh import ProcessMesh
from opdsl.workflow.plans import plan_processes
from tests.step_memory import step_memory
from tests.worlds import run_world

BOX = """edition 2026
from std.fourier import FourierLayer
from std.pointwise import Lift, Project
model Box {
  domain D = grid(x: 0..1, y: 0..1, z: 0..1, boundary = periodic, min = 9)
  input a : D -> R^1
  output u : D -> R^1
  u = a |> Lift(out = 12) |> repeat 2 { FourierLayer(modes = 4) } |> Project(out = 1, hidden = 24)
}
"""
WALLS = """edition 2026
from std.pointwise import Lift, Project
model Walls {
  domain D = grid(x: 0..1, y: 0..1, boundary = dirichlet, min = 20)
  input a : D -> R^1
  output u : D -> R^1
  u = concat(a, coords(D)) |> Lift(out = 16)
    |> repeat 2 { spectral_conv(modes = 8, basis = auto) |> gelu() }
    |> Project(out = 1, hidden = 32)
}
"""
UNO = """edition 2026
from std.fourier import FourierLayer
from std.pointwise import Lift, Project
model U {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 36)
  input a : D -> R^1
  output u : D -> R^1
  e = a |> Lift(out = 8)
  d = spectral_conv(e, modes = 5, out = 16, to = D / 2)
    |> apply(gelu)
    |> spectral_conv(modes = 5, out = 8, to = D)
    |> apply(gelu)
  u = concat(d, e) |> FourierLayer(modes = 6, out = 8) |> Project(out = 1)
}
"""
SLICES = """edition 2026
model S {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 36)
  input a : D -> R^1
  output u : D -> R^1
  u = a |> linear(out = 32)
    |> repeat 2 { residual { norm(kind = layer) |> slice_attention(slices = 32, heads = 4) } }
    |> residual { norm(kind = layer) |> mlp(widths = [64, 32]) }
    |> linear(out = 1)
}
"""
CASES = {
    "box": (BOX, (20, 18, 18), 2),
    "walls": (WALLS, (48, 40), 2),
    "uno": (UNO, (72, 72), 4),
    "slices": (SLICES, (40, 36), 4),
}


def peaks(cases: Mapping[str, tuple[str, tuple[int, ...], int]]) -> dict[str, int]:
    """The most bytes of tensors in a step of this process, for each case."""
    return {name: peak(*case) for name, case in cases.items()}


def peak(program: str, size: tuple[int, ...], batch: int) -> int:
    module = lower(load(program))
    shard(module, ProcessMesh.of_world(2), "x")
    return step_memory(module, [torch.randn(batch, 1, *size)])


@pytest.mark.slow
def test_the_peak_of_each_of_two_processes_is_predicted_within_a_tenth():
    measured = run_world(2, peaks, CASES)
    for name, (program, size, batch) in CASES.items():
        predicted = plan_processes(load(program), {"D": size}, batch, 2, "x=2").memory.total
        most = max(x[name] for x in measured)
        assert predicted == pytest.approx(most, rel=0.1), name
