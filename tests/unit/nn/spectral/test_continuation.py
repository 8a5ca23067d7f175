"""Functions led on until they close: values, smoothness, the same operator at every resolution."""

import math

import pytest
import torch

import opdsl
from opdsl.nn.grid.pad import Pad
from opdsl.nn.spectral.continuation import (
    POINTS_PER_END,
    FourierContinuation,
    continuation_matrix,
    node_stride,
)

KINDS = ("legendre", "gram")
CPU = torch.device("cpu")


def line(spacings: int) -> torch.Tensor:
    """Points of [0, 1], both ends."""
    return torch.arange(spacings + 1, dtype=torch.float64) / spacings


def led_on(kind: str, values: torch.Tensor, added: int, sides: str = "end") -> torch.Tensor:
    x = values[None, :, None]
    return FourierContinuation(kind, sides)(x, (len(values) + added,))[0, :, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_function_itself_stays(kind):
    v = torch.exp(line(32))
    for sides, start in (("end", 0), ("both", 5)):
        torch.testing.assert_close(led_on(kind, v, 11, sides)[start : start + 33], v)


@pytest.mark.parametrize("kind", KINDS)
def test_both_sides_are_the_same_ring_turned(kind):
    v = torch.exp(line(32))
    end, both = (led_on(kind, v, 11, sides) for sides in ("end", "both"))
    torch.testing.assert_close(both, end.roll(5))


def test_legendre_is_the_polynomial_through_the_points_of_both_ends():
    """numpy's polynomial through the same eight points."""
    import numpy as np

    v, added = torch.sin(5 * line(32)), 15
    step = node_stride(33, added)
    inner = [32 - i * step for i in range(POINTS_PER_END)]
    outer = [48 + i * step for i in range(POINTS_PER_END)]
    values = v[inner + [i * step for i in range(POINTS_PER_END)]]
    fit = np.polynomial.Polynomial.fit(inner + outer, values.numpy(), 7)
    wanted = torch.from_numpy(fit(np.arange(33, 48)))
    torch.testing.assert_close(led_on("legendre", v, added)[33:], wanted)


def test_gram_leads_on_a_cubic_and_fades_into_the_other_end():
    x = line(32)
    v = 1 + x - 2 * x**3
    added = led_on("gram", v, 15)[33:]
    t = torch.arange(1, 16, dtype=torch.float64) / 16
    fade = torch.sigmoid(1 / t - 1 / (1 - t))
    there, back = 1 + t / 2, -(1 - t) / 2  # as x goes on from 1, and up to 0
    right = 1 + there - 2 * there**3
    left = 1 + back - 2 * back**3
    there_right = 1 + (1 + t / 2) - 2 * (1 + t / 2) ** 3
    torch.testing.assert_close(right, there_right)
    torch.testing.assert_close(added, fade * right + (1 - fade) * left)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_stays_constant(kind):
    assert (led_on(kind, torch.ones(20, dtype=torch.float64), 9) - 1).abs().max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_a_finer_grid_has_the_same_continuation(kind):
    coarse = led_on(kind, torch.exp(line(32)), 15)
    fine = led_on(kind, torch.exp(line(128)), 63)
    torch.testing.assert_close(fine[::4], coarse)


@pytest.mark.parametrize("kind", KINDS)
def test_the_derivative_of_the_ring_is_that_of_the_function(kind):
    """By Fourier series; with zeros the jump rings through the whole interval."""
    gaps = {}
    for name, layer in (("zero", Pad("end")), (kind, FourierContinuation(kind, "end"))):
        v = layer(torch.exp(line(128))[None, :, None], (192,))[0, :, 0]
        k = torch.fft.rfftfreq(192, 1 / 128, dtype=torch.float64)
        slope = torch.fft.irfft(torch.fft.rfft(v) * 2j * math.pi * k, n=192)
        gaps[name] = (slope[8:121] - torch.exp(line(128))[8:121]).abs().max()
    assert gaps[kind] < 0.05
    assert gaps["zero"] > 20 * gaps[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_no_value_is_amplified_beyond_measure(kind):
    """So float32 is enough; with neighbours for points it would not be on fine grids."""
    sums = [
        continuation_matrix(kind, n + 1, n // 4 - 1, torch.float64, CPU).abs().sum(1).max()
        for n in (32, 128, 1024)
    ]
    assert max(sums) < 60


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_right_on_two_axes(kind):
    x = torch.randn(1, 9, 8, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: FourierContinuation(kind, "both")(x, (13, 8)), x)


def test_a_program_says_how_its_extension_is_filled():
    program = """
edition 2026

model Continued {
  domain D = grid(x: 0..1, min = 33)
  domain E = extend(D, fraction = 1/4, kind = KIND)
  input v : D -> R^2
  output w : E -> R^2

  w = pad(v, to = E)
}
"""
    v = torch.randn(1, 2, 33)
    found = {k: opdsl.compile(program.replace("KIND", k))(v) for k in ("zero", *KINDS)}
    assert {tuple(x.shape) for x in found.values()} == {(1, 2, 40)}
    assert not found["zero"][..., 33:].any()
    for kind in KINDS:
        wanted = FourierContinuation(kind, "end")(v.movedim(1, -1), (40,)).movedim(-1, 1)
        torch.testing.assert_close(found[kind], wanted)
    faults = opdsl.check(program.replace("KIND", "smooth")).diagnostics
    assert [x.code for x in faults] == ["OP0208"]
