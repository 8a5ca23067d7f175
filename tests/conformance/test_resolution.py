"""One set of weights, one operator: the same function of the same input at every resolution.

The input is a sum of a few Fourier modes, known in closed form at any point. Where nothing bends
(no activation) the operator is a multiplier on those modes, and its result is known at any point
too, so all resolutions must agree to rounding. Behind an activation the result has all frequencies,
and coarse grids fold those that they cannot hold: there the difference must fall with the grid.
"""

import math

import pytest
import torch

import opdsl

SIZES = (15, 16, 31, 32, 64, 421)
TOLERANCE = 1e-5  # relative, float32
MODES = ((0, 0), (1, 2), (-3, 1), (2, 0), (0, 3))

LINEAR = """
edition 2026

model Linear {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 15)
  input a : D -> R^2
  output u : D -> R^3

  h = spectral_conv(a, modes = (7, 5), out = 4) + linear(a, out = 4)
  u = spectral_conv(h, modes = 3, out = 3) + linear(h, out = 3)
}
"""
FNO = """
edition 2026

from std.fourier import FNOBlock
from std.pointwise import Lift, Project

model FNO {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 15)
  input a : D -> R^2
  output u : D -> R^3

  u = a |> Lift(out = 8) |> repeat 2 { FNOBlock(modes = 5) } |> Project(out = 3, hidden = 8)
}
"""


def waves(*size: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """(1, 2, *size): two sums of the modes, with fixed amplitudes and phases."""
    x, y = (torch.arange(n, dtype=torch.float64) / n for n in size)
    phase = [2 * math.pi * (k[0] * x[:, None] + k[1] * y) + i for i, k in enumerate(MODES)]
    first = sum(torch.cos(p) / (i + 1) for i, p in enumerate(phase))
    second = sum(torch.sin(p) / (i + 2) for i, p in enumerate(phase))
    return torch.stack([first, second])[None].to(dtype)


def module(program: str, kernel: str) -> torch.nn.Module:
    torch.manual_seed(0)
    made = opdsl.compile(program)
    made.force_kernel = kernel
    return made.eval()


def common(u: torch.Tensor) -> torch.Tensor:
    """The Fourier coefficients |k| <= 3 of a function, which do not depend on its grid."""
    spectrum = torch.fft.fft2(u.double(), norm="forward")
    rows = torch.cat([spectrum[..., :4, :], spectrum[..., -3:, :]], -2)
    return torch.cat([rows[..., :4], rows[..., -3:]], -1)


def difference(u: torch.Tensor, v: torch.Tensor) -> float:
    return float((common(u) - common(v)).abs().norm() / common(v).abs().norm())


@pytest.mark.parametrize("kernel", ["fft", "dft"])
@pytest.mark.parametrize("n", SIZES)
def test_a_multiplier_is_the_same_at_every_resolution(n, kernel):
    operator = module(LINEAR, kernel)
    with torch.no_grad():
        assert difference(operator(waves(n, n)), operator(waves(64, 64))) < TOLERANCE


@pytest.mark.parametrize("size", [(15, 64), (64, 15), (31, 16), (16, 421)])
def test_a_multiplier_is_the_same_on_grids_that_are_not_square(size):
    operator = module(LINEAR, "fft")
    with torch.no_grad():
        assert difference(operator(waves(*size)), operator(waves(64, 64))) < TOLERANCE


def test_a_whole_model_converges_faster_than_any_power():
    """Of a smooth input: each third more points takes more of the error than the one before."""
    operator = module(FNO, "fft").double()
    with torch.no_grad():
        finest = operator(waves(128, 128, dtype=torch.float64))
        grids = [waves(n, n, dtype=torch.float64) for n in (15, 20, 27)]
        errors = [difference(operator(x), finest) for x in grids]
    assert errors[0] < TOLERANCE
    assert errors[1] < errors[0] / 20
    assert errors[2] < errors[1] / 200


@pytest.mark.parametrize("kernel", ["fft", "dft"])
@pytest.mark.parametrize("n", SIZES)
def test_a_whole_model_is_the_same_at_every_resolution(n, kernel):
    """Activations fold frequencies on coarse grids, here by less than the tolerance."""
    operator = module(FNO, kernel)
    with torch.no_grad():
        assert difference(operator(waves(n, n)), operator(waves(64, 64))) < TOLERANCE
