"""The projection on fields without divergence, at odd and even sizes, in two and three axes."""

import pytest
import torch

from opdsl import blocks
from opdsl.ir.axes import Axis
from opdsl.ir.block import Refusal
from opdsl.ir.spaces import Domain, Space
from opdsl.nn.spectral.divergence_free import DivergenceFree, wave_numbers

SIZES = [(15, 15), (15, 21), (16, 12), (16, 16), (7, 8, 9), (8, 8, 6)]
LENGTHS = (1.0, 2.0, 0.5)


def layer(size: tuple[int, ...]) -> DivergenceFree:
    return DivergenceFree(LENGTHS[: len(size)], (True,) * len(size))


def field(size: tuple[int, ...], fields: int = 1) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, *size, fields * len(size), dtype=torch.float64)


def divergence(v: torch.Tensor) -> torch.Tensor:
    """By derivatives of the interpolant, axis by axis."""
    size = tuple(v.shape[1:-1])
    total = torch.zeros(v.shape[:-1], dtype=v.dtype)
    for axis, n in enumerate(size):
        k = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
        k = torch.where(2 * k.abs() == n, 0.0, k) * (2j * torch.pi / LENGTHS[axis])
        shape = [1] * (axis + 1) + [n] + [1] * (len(size) - axis - 1)
        z = torch.fft.fft(v[..., axis], dim=axis + 1) * k.reshape(shape)
        total = total + torch.fft.ifft(z, dim=axis + 1).real
    return total


@pytest.mark.parametrize("size", SIZES)
def test_the_result_has_no_divergence(size):
    v = field(size)
    assert divergence(v).abs().max() > 1
    assert divergence(layer(size)(v)).abs().max() < 1e-11


@pytest.mark.parametrize("size", SIZES)
def test_it_is_an_orthogonal_projection(size):
    v, P = field(size), layer(size)
    w = P(v)
    torch.testing.assert_close(P(w), w)
    assert abs((w * (v - w)).sum()) < 1e-9 * (v * v).sum()


@pytest.mark.parametrize("size", SIZES)
def test_the_mean_flow_stays(size):
    v = field(size)
    axes = tuple(range(1, v.ndim - 1))
    torch.testing.assert_close(layer(size)(v).mean(axes), v.mean(axes))


def test_a_gradient_vanishes_and_a_curl_stays():
    x = torch.arange(12, dtype=torch.float64)[:, None] / 12
    y = torch.arange(15, dtype=torch.float64) / 15 * 2
    a, b = 2 * torch.pi * x + 0 * y, torch.pi * y + 0 * x
    gradient = torch.stack([2 * torch.pi * a.cos() * b.cos(), -torch.pi * a.sin() * b.sin()], -1)
    curl = torch.stack([-torch.pi * a.sin() * b.sin(), -2 * torch.pi * a.cos() * b.cos()], -1)
    P = DivergenceFree((1.0, 2.0), (True, True))
    assert P(gradient[None]).abs().max() < 1e-14
    torch.testing.assert_close(P(curl[None]), curl[None])


def test_several_fields_do_not_meet():
    v, P = field((8, 9), 3), layer((8, 9))
    torch.testing.assert_close(P(v)[..., 2:4], P(v[..., 2:4]))


def test_the_frequencies_are_those_of_the_transform():
    k = wave_numbers((4, 5), (1.0, 2.0), torch.zeros(1, dtype=torch.float64))
    assert k[..., 0, 0].tolist() == [0, 1, 0, -1]
    assert k[0, :, 1].tolist() == [0, 0.5, 1]


def test_an_axis_with_two_ends_closes_behind_its_last_point():
    v = field((9, 8))
    walls = DivergenceFree((1.0, 2.0), (False, True))(v)
    torch.testing.assert_close(walls, DivergenceFree((9 / 8, 2.0), (True, True))(v))


def test_other_channels_than_those_of_fields_are_refused():
    block = blocks.find("divergence_free")()
    torus = Domain(name="D", axes=tuple(Axis(name=x, boundary="periodic") for x in "xy"))
    with pytest.raises(Refusal, match="3 channels"):
        block.infer(Space(domain=torus, channels=3))
