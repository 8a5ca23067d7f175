"""Modes of one axis at a time, `axis_conv`; the network for all modes, `spectral_mlp`."""

import pytest
import torch

from opdsl.nn.spectral.axes import AxisConv
from opdsl.nn.spectral.conv import SpectralConv
from opdsl.nn.spectral.mode_mlp import SpectralMLP


@pytest.mark.parametrize("n", [9, 12])
def test_on_one_axis_it_is_the_spectral_convolution(n):
    ours, whole = AxisConv(3, 2, (4,)), SpectralConv(3, 2, (4,), bias=False)
    with torch.no_grad():
        whole.weight.copy_(ours.weights[0])
    x = torch.randn(2, n, 3)
    torch.testing.assert_close(ours(x), whole(x))


def test_a_wave_along_both_axes_meets_the_matrices_of_both():
    """exp(i (2 x + 3 y)) is an eigenfunction: R_x(2) + R_y(3)."""
    layer = AxisConv(1, 1, (3, 4)).double()
    x = torch.arange(12, dtype=torch.float64) * (2 * torch.pi / 12)
    y = torch.arange(15, dtype=torch.float64) * (2 * torch.pi / 15)
    phase = 2 * x[:, None] + 3 * y
    a, b = (torch.view_as_complex(layer.weights[i][k, 0, 0]) for i, k in ((0, 2), (1, 3)))
    wanted = ((a + b) * torch.exp(1j * phase)).real
    torch.testing.assert_close(layer(phase.cos()[None, ..., None])[0, ..., 0], wanted)


def test_a_frequency_above_the_modes_of_both_axes_is_cut():
    layer = AxisConv(1, 1, (2, 2)).double()
    x = torch.arange(12, dtype=torch.float64) * (2 * torch.pi / 12)
    wave = torch.cos(3 * x[:, None] + 4 * x)[None, ..., None]
    assert layer(wave).abs().max() < 1e-14


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="needs at least 7"):
        AxisConv(1, 1, (3,))(torch.randn(1, 6, 1))


def test_the_network_is_the_same_for_every_coefficient():
    torch.manual_seed(0)
    net = SpectralMLP(4, 2, 3, 0.01)
    s = torch.randn(2, 5, 3, 4, dtype=torch.complex64)
    shuffled = s.flatten(1, 2)[:, torch.randperm(15)].reshape(s.shape)
    both = [net(x).flatten(1, 2) for x in (s, shuffled)]
    order = [x.real.sum(-1).argsort(1)[..., None].expand_as(x) for x in both]
    torch.testing.assert_close(*(x.gather(1, i) for x, i in zip(both, order, strict=True)))


def test_blocks_do_not_mix_and_small_results_vanish():
    net = SpectralMLP(4, 2, 1, 0.0)
    s = torch.randn(1, 3, 4, dtype=torch.complex64)
    other = s.clone()
    other[..., 2:] = 0
    torch.testing.assert_close(net(s)[..., :2], net(other)[..., :2])
    assert not SpectralMLP(4, 2, 1, 100.0)(s).any()


@pytest.mark.parametrize("kernel", ["fft", "dft"])
def test_on_three_axes_a_wave_of_one_axis_passes_the_others_by_their_means(kernel):
    """exp(2 i y) is constant along x and z: R_x(0) + R_y(2) + R_z(0)."""
    layer = AxisConv(1, 1, (2, 3, 1)).double()
    y = torch.arange(10, dtype=torch.float64) * (2 * torch.pi / 10)
    wave = (1j * 2 * y)[:, None].exp().expand(7, 10, 4)
    R = [torch.view_as_complex(x)[..., 0, 0] for x in layer.weights]
    # the mean of a real function is real, and so is what a matrix makes of it
    wanted = (R[1][2] * wave).real + (R[0][0].real + R[2][0].real) * wave.real
    torch.testing.assert_close(layer(wave.real[None, ..., None], kernel)[0, ..., 0], wanted)


def test_matrices_of_both_kernels_are_wide_where_in_and_out_differ():
    layer = AxisConv(3, 5, (2, 3)).double()
    x = torch.randn(2, 6, 7, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x, "dft"), layer(x, "fft"))
