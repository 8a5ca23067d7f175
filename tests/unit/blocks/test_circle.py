"""`coords(D, kind = circle)`: the place on an axis that closes on itself, without a jump."""

import math

import pytest
import torch

import opdsl
from opdsl.compiler import check

PROGRAM = """
edition 2026

model Where {{
  domain D = grid(x: -1..3, y: 0..2, min = 4{boundary})
  input a : D -> R^1
  output w : D -> R^{channels}

  w = concat(a, coords(D, kind = circle))
}}
"""
PERIODIC = PROGRAM.format(boundary=", boundary = periodic", channels=5)
ENDS = PROGRAM.format(boundary="", channels=3)


def test_each_periodic_axis_has_cosine_and_sine_of_the_turn():
    w = opdsl.compile(PERIODIC).double()(torch.zeros(2, 1, 8, 6, dtype=torch.float64))
    x = -1 + 4 * torch.arange(8, dtype=torch.float64) / 8
    y = 2 * torch.arange(6, dtype=torch.float64) / 6
    turns = (2 * math.pi * (x + 1) / 4)[:, None].expand(8, 6), (math.pi * y).expand(8, 6)
    wanted = torch.stack([f(t) for t in turns for f in (torch.cos, torch.sin)])
    torch.testing.assert_close(w[:, 1:], wanted.expand(2, 4, 8, 6))


def test_a_circle_needs_an_axis_that_closes():
    (found,) = check(ENDS, levels={"OP0405": "allow"}).errors
    assert found.code == "OP0208"
    assert "no such axis" in str(found)


@pytest.mark.parametrize("n", [4, 5, 64])
def test_neighbours_on_a_circle_are_equally_far_apart_also_over_the_seam(n):
    w = opdsl.compile(PERIODIC).double()(torch.zeros(1, 1, n, 4, dtype=torch.float64))[0, 1:3, :, 0]
    far = (w - w.roll(1, -1)).norm(dim=0)
    torch.testing.assert_close(far, torch.full((n,), 2 * math.sin(math.pi / n)).double())
