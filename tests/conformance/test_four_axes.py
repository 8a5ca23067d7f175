"""A model in four axes, as x, y, z and t: what holds in two holds there too."""

import math

import pytest
import torch

import opdsl
from opdsl import resources
from opdsl.summary import summarise

SPEC = resources.root("specs") / "fno_4d.op"
COARSE, FINE = (9, 10, 9, 10), (18, 20, 18, 20)

NORMALISED = """
edition 2026

from std.fourier import FNOBlock

model Four {{
  domain D = grid(x: 0..1, y: 0..1, z: -1..1, t: 0..2, boundary = periodic, min = 5)
  input a : D -> R^1
  output u : D -> R^4

  u = concat(a, coords(D, kind = {kind})) |> linear(out = 4)
    |> FNOBlock(modes = (2, 1, 2, 1), normalise = {normalise})
}}
"""


def waves(*size: int) -> torch.Tensor:
    """(1, 2, *size), float64: a wave over three axes, and one over two with a mean."""
    x, y, z, t = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float64) / n for n in size), indexing="ij"
    )
    first = torch.cos(2 * math.pi * (x + y - z))
    return torch.stack([first, torch.sin(2 * math.pi * (t - x)) + 1.0])[None]


@pytest.mark.parametrize("kernel", ["fft", "dft"])
def test_the_spec_is_one_operator_at_two_resolutions(kernel):
    torch.manual_seed(0)
    module = opdsl.compile(SPEC, width=4, modes=2, depth=1).double()
    module.force_kernel = kernel
    coarse, fine = (module(waves(*size)) for size in (COARSE, FINE))
    there = fine[..., ::2, ::2, ::2, ::2]
    assert coarse.shape == (1, 1, *COARSE)
    assert (coarse - there).norm() <= 1e-4 * there.norm()


@pytest.mark.parametrize("normalise", ["none", "instance", "group", "layer", "batch"])
def test_kernels_agree_under_every_norm(normalise):
    torch.manual_seed(0)
    module = opdsl.compile(NORMALISED.format(normalise=normalise, kind="position")).double()
    a = torch.randn(2, 1, 5, 6, 7, 5, dtype=torch.float64)
    found = []
    for kernel in ("fft", "dft"):
        module.force_kernel = kernel
        found.append(module(a))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("normalise", ["instance", "group", "layer"])
def test_norms_are_the_same_at_two_resolutions(normalise):
    """Of a function of few frequencies, without a seam."""
    torch.manual_seed(0)
    module = opdsl.compile(NORMALISED.format(normalise=normalise, kind="circle")).double()
    coarse, fine = (module(waves(*size)[:, :1]) for size in (COARSE, FINE))
    there = fine[..., ::2, ::2, ::2, ::2]
    assert (coarse - there).norm() <= 1e-3 * there.norm()


def test_the_summary_counts_the_weights_that_there_are():
    module = opdsl.compile(SPEC)
    assert summarise(opdsl.load(SPEC)).params == sum(p.numel() for p in module.parameters())
