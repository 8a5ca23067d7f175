"""Differences tend to derivatives and local kernels to integrals, whatever the grid."""

import math
from itertools import pairwise

import pytest
import torch

from opdsl import blocks
from opdsl.blocks.local.disco_conv import least_points
from opdsl.ir.axes import Axis
from opdsl.ir.block import Refusal
from opdsl.ir.spaces import Domain, Space
from opdsl.nn.grid.difference import DifferenceConv, with_halo
from opdsl.nn.grid.disco import DiscoConv, basis_size, hat_basis, stencil
from opdsl.nn.sphere.disco import DiscoConv as SphericalDiscoConv
from opdsl.nn.sphere.harmonics import inverse_sht, sht

CPU = torch.device("cpu")


def plane(size: tuple[int, int], length: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of a periodic box, 1 times `length`."""
    x, y = (torch.arange(n, dtype=torch.float64) / n for n in size)
    first, second = torch.meshgrid(x, y * length, indexing="ij")
    return first, second


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("aspect", [1, 2, 4])
@torch.no_grad()
def test_differences_tend_to_the_same_derivative_on_every_grid(kernel, aspect):
    torch.manual_seed(0)
    layer = DifferenceConv(
        1, 1, kernel, lengths=(1.0, 2.0), widths=(0.1, 0.1), closed=(True, True),
        edges=("wrap", "wrap"),
    ).double()  # fmt: skip
    W = layer.weight[0, 0]
    j = torch.arange(kernel, dtype=torch.float64) - kernel // 2
    gaps = []
    for n in (32, 64, 128):
        x, y = plane((n, aspect * n))
        v = torch.sin(2 * math.pi * x) * torch.cos(math.pi * y)
        by_x = 2 * math.pi * torch.cos(2 * math.pi * x) * torch.cos(math.pi * y)
        by_y = -math.pi * torch.sin(2 * math.pi * x) * torch.sin(math.pi * y)
        wanted = 0.1 * ((W.sum(1) * j).sum() * by_x + (W.sum(0) * j).sum() * by_y)
        found = layer(v[None, ..., None])[0, ..., 0]
        gaps.append(float((found - wanted).norm() / wanted.norm()))
    assert gaps[-1] < 0.15
    assert all(1.6 < a / b < 4.2 for a, b in pairwise(gaps))


@pytest.mark.parametrize("edges", ["wrap", "replicate", "reflect"])
def test_a_constant_has_no_difference(edges):
    layer = DifferenceConv(
        2, 3, 3, lengths=(1.0,), widths=(0.1,), closed=(edges == "wrap",), edges=(edges,)
    )
    assert layer(torch.ones(1, 9, 2)).abs().max() < 1e-5


@pytest.mark.parametrize("edges", ["replicate", "reflect"])
@torch.no_grad()
def test_between_ends_differences_tend_to_the_derivative_inside_and_in_the_mean(edges):
    """Beyond an end no difference is known, so the mean square is of order 1/2."""
    gaps, inner = slopes_between_ends(edges)
    assert all(1.8 < a / b < 2.2 for a, b in pairwise(inner))
    assert all(1.3 < a / b < 1.5 for a, b in pairwise(gaps))


@torch.no_grad()
def test_zeros_beyond_an_end_leave_no_limit():
    gaps, inner = slopes_between_ends("zeros")
    assert all(1.8 < a / b < 2.2 for a, b in pairwise(inner))
    assert all(b > 1.3 * a for a, b in pairwise(gaps))
    line = Space(domain=Domain(name="D", axes=(Axis(name="x"),)), channels=1)
    block = blocks.find("difference_conv")
    assert block(edges="zeros").diverges(line)
    assert block().diverges(line) is None


def slopes_between_ends(edges):
    """Errors on 33, 65, 129 points of an axis with ends: of all points, and of those inside."""
    torch.manual_seed(0)
    layer = DifferenceConv(
        1, 1, 3, lengths=(1.0,), widths=(0.1,), closed=(False,), edges=(edges,)
    ).double()
    W, gaps, inner = layer.weight[0, 0], [], []
    for n in (33, 65, 129):
        x = torch.linspace(0, 1, n, dtype=torch.float64)
        by_x = x.exp() * (torch.cos(3 * x) - 3 * torch.sin(3 * x))
        wanted = 0.1 * (W[2] - W[0]) * by_x
        found = layer((x.exp() * torch.cos(3 * x))[None, :, None])[0, :, 0]
        gap, scale = found - wanted, wanted.square().mean().sqrt()
        gaps.append(float(gap.square().mean().sqrt() / scale))
        inner.append(float(gap[1:-1].abs().max() / scale))
    return gaps, inner


@torch.no_grad()
def test_autocast_leaves_differences_alone():
    """A difference of neighbours is lost in eight bits."""
    torch.manual_seed(0)
    layer = DifferenceConv(
        1, 2, 3, lengths=(1.0,), widths=(1 / 32,), closed=(True,), edges=("wrap",)
    )
    x = torch.arange(512) / 512
    v = 1 + torch.sin(2 * math.pi * x)[None, :, None]
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(v)
    torch.testing.assert_close(found, layer(v), rtol=0, atol=0)


def test_equal_spacings_make_one_stencil():
    """As torch's own convolution, less its sum at the middle."""
    layer = DifferenceConv(
        3, 2, 3, lengths=(1.0, 1.0), widths=(1 / 8, 1 / 8), closed=(True, True),
        edges=("wrap", "wrap"),
    )  # fmt: skip
    x = torch.randn(2, 8, 8, 3)
    u = torch.nn.functional.pad(x.movedim(-1, 1), (1, 1, 1, 1), mode="circular")
    middle = layer.weight.sum((2, 3), keepdim=True)
    wanted = torch.nn.functional.conv2d(u, layer.weight) - torch.nn.functional.conv2d(
        x.movedim(-1, 1), middle
    )
    torch.testing.assert_close(layer(x), wanted.movedim(1, -1))


def disco(shape, radius=0.15, lengths=(1.0, 2.0), channels=(1, 1)) -> DiscoConv:
    return DiscoConv(
        *channels, shape=shape, radius=radius, lengths=lengths, closed=(True, True),
        edges=("wrap", "wrap"), bias=False,
    ).double()  # fmt: skip


@pytest.mark.parametrize("shape", [(3, 1), (3, 4), (4, 4)])
@pytest.mark.parametrize("aspect", [1, 2])
@torch.no_grad()
def test_a_plane_wave_meets_the_transform_of_the_kernel(shape, aspect):
    """The factor is the integral of k(z) exp(-i k z) over the disc, here by a fine sum."""
    torch.manual_seed(0)
    layer = disco(shape)
    x, y = plane((128, 256 * aspect))
    wave = 2 * math.pi * (2 * x + 3 * y / 2)
    found = layer(torch.cos(wave)[None, ..., None])[0, ..., 0]
    fine = torch.linspace(-0.15, 0.15, 601, dtype=torch.float64)
    a, b = torch.meshgrid(fine, fine, indexing="ij")
    psi = hat_basis(shape, (a**2 + b**2).sqrt() / 0.15, torch.atan2(a, b))
    psi = psi / psi.sum((1, 2), keepdim=True)
    phase = torch.exp(-2j * math.pi * (2 * a + 3 * b / 2))
    factor = ((psi * phase).sum((1, 2)) * layer.weight[:, 0, 0]).sum()
    wanted = (factor * torch.exp(1j * wave)).real
    assert (found - wanted).norm() < 1e-2 * wanted.norm()


@pytest.mark.parametrize("rings", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("angles", [1, 4, 5, 6, 8, 12])
def test_at_the_least_resolution_each_function_of_the_kernel_meets_a_point(rings, angles):
    shape, radius = (rings, angles), 0.1
    n = least_points(shape, 2, radius)
    values = stencil(shape, radius, (1 / n, 1 / n), torch.float64, CPU)
    torch.testing.assert_close(values.sum((1, 2)), torch.ones(basis_size(shape)).double())


@pytest.mark.parametrize("shape", [(5, 4), (3, 8), (7, 4), (4, 4)])
def test_far_below_it_some_function_does_not(shape):
    n = int(0.9 * least_points(shape, 2, 0.1))
    assert stencil(shape, 0.1, (1 / n, 1 / n), torch.float64, CPU).sum((1, 2)).min() == 0


@pytest.mark.parametrize(
    ("boundary", "edges", "refused"),
    [("periodic", "replicate", True), ("none", "reflect", True), ("none", "replicate", False),
     ("periodic", "zeros", False)],
)  # fmt: skip
def test_beyond_an_end_an_axis_stands_only_once(boundary, edges, refused):
    line = Space(domain=Domain(name="D", axes=(Axis(name="x", boundary=boundary),)), channels=1)
    block = blocks.find("disco_conv")(radius=1.2, shape=(3, 1), edges=edges)
    if refused:
        with pytest.raises(Refusal) as caught:
            block.infer(line)
        assert caught.value.code == "OP0208"
    else:
        assert block.lower(line)(torch.ones(1, 16, 1)).shape == (1, 16, 1)


@pytest.mark.parametrize(("boundary", "edges"), [("periodic", "replicate"), ("none", "reflect")])
def test_a_frozen_stencil_fits_on_the_least_grid_and_on_none_below(boundary, edges):
    line = Space(domain=Domain(name="D", axes=(Axis(name="x", boundary=boundary),)), channels=1)
    block = blocks.find("disco_conv")(radius=0.5, shape=(3, 1), edges=edges, frozen=33)
    (bound,) = block.bounds(line)
    layer = block.lower(line)
    assert layer(torch.ones(1, bound.points, 1)).shape == (1, bound.points, 1)
    with pytest.raises(RuntimeError):
        layer(torch.ones(1, bound.points - 1, 1))


def test_a_constant_is_multiplied_by_the_sum_of_the_weights():
    layer = disco((3, 4), channels=(2, 3))
    found = layer(torch.ones(1, 20, 30, 2, dtype=torch.float64))
    torch.testing.assert_close(found[0, 3, 4], layer.weight.sum((0, 1)))


def test_both_ways_to_convolve_are_equal():
    layer = disco((3, 4), channels=(3, 2))
    v = torch.randn(1, 40, 48, 3, dtype=torch.float64)
    psi = stencil((3, 4), 0.15, (1 / 40, 2 / 48), torch.float64, CPU)
    for axis in (1, 2):
        v = with_halo(v, axis, psi.shape[axis] // 2, "wrap")
    torch.testing.assert_close(layer._direct(v, psi), layer._by_transforms(v, psi))


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (3, 1), (3, 4), (4, 3), (5, 6)])
def test_the_functions_add_up_to_one_near_the_middle(shape):
    """Up to the outermost ring they are a partition of unity; each has its number in `count`."""
    r = torch.linspace(0, 1 - 2 / (shape[0] + 1), 50, dtype=torch.float64)
    theta = torch.linspace(-3, 9, 50, dtype=torch.float64)
    values = hat_basis(shape, r, theta)
    assert len(values) == basis_size(shape)
    if shape[0] % 2 or shape[1] > 1:
        torch.testing.assert_close(values.sum(0), torch.ones(50, dtype=torch.float64))


def test_a_frozen_stencil_is_that_of_its_grid_on_every_grid():
    frozen = DiscoConv(
        1, 1, shape=(3, 1), radius=0.2, lengths=(1.0,), closed=(True,), edges=("zeros",),
        frozen=(16,),
    )  # fmt: skip
    x = torch.randn(1, 40, 1)
    padded = torch.nn.functional.pad(x, (0, 0, 5, 9))
    torch.testing.assert_close(frozen(padded)[:, 5:45], frozen(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sampling", ["gauss_legendre", "lobatto", "equiangular", "centres"])
@torch.no_grad()
def test_rings_on_the_sphere_scale_each_degree(sampling):
    """Funk-Hecke: 2 pi times the integral of k(theta) P_l(cos theta) sin theta."""
    layer = SphericalDiscoConv(1, 1, shape=(3, 1), radius=0.5, sampling=sampling, bias=False)
    layer.double()
    z = torch.zeros(1, 5, 5, 1, dtype=torch.complex128)
    z[0, 4, 2] = 1.0
    size = (96, 192)
    found = sht(layer(inverse_sht(z, size, sampling)), 4, sampling)
    t = torch.linspace(0, 0.5, 4001, dtype=torch.float64)
    psi = hat_basis((3, 1), t / 0.5, 0 * t) * t.sin()
    x = t.cos()
    legendre = (35 * x**4 - 30 * x**2 + 3) / 8
    factor = ((psi * legendre).sum(1) / psi.sum(1) * layer.weight[:, 0, 0]).sum()
    torch.testing.assert_close(found[0, 4, 2, 0].real, factor, rtol=1e-2, atol=1e-3)
    found[0, 4, 2] = 0
    assert found.abs().max() < 2e-3


def test_the_sphere_may_be_turned_about_its_axis():
    torch.manual_seed(0)
    layer = SphericalDiscoConv(2, 3, shape=(3, 4), radius=0.6, sampling="lobatto").double()
    x = torch.randn(1, 9, 16, 2, dtype=torch.float64)
    torch.testing.assert_close(layer(x.roll(5, 2)), layer(x).roll(5, 2))


def test_a_finer_sphere_gives_the_same_operator():
    torch.manual_seed(0)
    layer = SphericalDiscoConv(1, 1, shape=(3, 4), radius=0.4, sampling="equiangular", bias=False)
    layer.double()
    z = torch.randn(1, 6, 6, 1, dtype=torch.complex128) * torch.ones(6, 6).tril()[..., None]
    z[:, :, 0] = z[:, :, 0].real + 0j
    grids = ((n, 2 * n) for n in (24, 48, 96))
    with torch.no_grad():
        found = [sht(layer(inverse_sht(z, s, "equiangular")), 5, "equiangular") for s in grids]
    gaps = [float((x - found[-1]).norm() / found[-1].norm()) for x in found[:-1]]
    assert gaps[1] < 5e-3
    assert gaps[0] > 4 * gaps[1]
