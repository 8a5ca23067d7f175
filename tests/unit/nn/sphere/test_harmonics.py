"""Spherical harmonics against scipy, quadrature identities, rotations and other resolutions."""

import math

import numpy as np
import pytest
import torch
from scipy.special import lpmv

import opdsl
from opdsl.nn.sphere.harmonics import SphericalConv, inverse_sht, legendre, sht
from opdsl.nn.sphere.sampling import latitudes

SAMPLINGS = ("gauss_legendre", "lobatto", "equiangular", "centres")


def rows(lmax: int, sampling: str) -> int:
    return {"gauss_legendre": lmax + 1, "lobatto": lmax + 2}.get(sampling, 2 * lmax + 1)


def test_legendre_functions_are_those_of_scipy():
    x = torch.linspace(-0.99, 0.99, 23, dtype=torch.float64)
    found = legendre(40, x)
    for n, m in ((0, 0), (1, 0), (1, 1), (5, 3), (17, 2), (40, 0), (40, 12), (30, 30)):
        ratio = math.exp(math.lgamma(n - m + 1) - math.lgamma(n + m + 1))
        norm = math.sqrt((2 * n + 1) / (4 * math.pi) * ratio)
        np.testing.assert_allclose(found[m, n].numpy(), norm * lpmv(m, n, x.numpy()), atol=1e-11)


def test_legendre_functions_stay_orthonormal_at_great_degrees():
    x, w = latitudes(301, "gauss_legendre")
    p = legendre(300, x)
    for m in (0, 1, 150, 299):
        gram = 2 * math.pi * torch.einsum("lj,kj,j->lk", p[m, m:], p[m, m:], w)
        torch.testing.assert_close(gram, torch.eye(len(gram), dtype=gram.dtype), atol=1e-9, rtol=0)


def harmonics(lmax: int, *lead: int) -> torch.Tensor:
    """Coefficients of real functions."""
    z = torch.randn(*lead, lmax + 1, lmax + 1, 2, dtype=torch.complex128)
    z = z * torch.ones(lmax + 1, lmax + 1).tril()[..., None]
    z[..., 0, :] = z[..., 0, :].real.to(z.dtype)
    return z


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("lmax", [4, 9])
def test_there_and_back_is_exact_at_the_smallest_grid(sampling, lmax):
    torch.manual_seed(0)
    z, size = harmonics(lmax, 2), (rows(lmax, sampling), 2 * lmax + 1)
    torch.testing.assert_close(sht(inverse_sht(z, size, sampling), lmax, sampling), z)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_energy_is_the_same_on_both_sides(sampling):
    z, size = harmonics(4, 1), (2 * rows(4, sampling), 21)
    x = inverse_sht(z, size, sampling)
    _, w = latitudes(size[0], sampling)
    energy = torch.einsum("bjkc,j->bc", x**2, w) * (2 * math.pi / size[1])
    both = torch.cat((z[:, :, :1], math.sqrt(2) * z[:, :, 1:]), 2)
    torch.testing.assert_close(energy, both.abs().square().sum((1, 2)))


def points(size: tuple[int, int], sampling: str) -> torch.Tensor:
    cos, _ = latitudes(size[0], sampling)
    sin = (1 - cos**2).sqrt()
    phi = torch.arange(size[1], dtype=torch.float64) * (2 * math.pi / size[1])
    x, y = sin[:, None] * phi.cos(), sin[:, None] * phi.sin()
    return torch.stack([x, y, cos[:, None].expand_as(x)], -1)


def test_the_convolution_commutes_with_any_rotation():
    """P_l(x . a) is the harmonic of degree l around the axis a: R_l scales it, whatever a is."""
    torch.manual_seed(0)
    conv = SphericalConv(1, 1, 6, sampling="gauss_legendre", bias=False).double()
    grid = points((7, 13), "gauss_legendre")
    for degree in (1, 3, 6):
        axis = torch.nn.functional.normalize(torch.randn(3, dtype=torch.float64), dim=0)
        series = np.zeros(degree + 1)
        series[degree] = 1
        values = torch.from_numpy(np.polynomial.legendre.legval((grid @ axis).numpy(), series))
        found = conv(values[None, ..., None], (7, 13))[0, ..., 0]
        torch.testing.assert_close(found, conv.weight[degree, 0, 0] * values)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_same_weights_are_the_same_operator_at_another_resolution(sampling):
    torch.manual_seed(0)
    conv = SphericalConv(2, 3, 4, sampling=sampling).double()
    z = harmonics(4, 2)
    sizes = [(rows(4, sampling), 9), (rows(4, sampling) + 3, 16)]
    coarse, fine = (conv(inverse_sht(z, s, sampling), s) for s in sizes)
    torch.testing.assert_close(sht(coarse, 4, sampling), sht(fine, 4, sampling))
    across = conv(inverse_sht(z, sizes[1], sampling), sizes[0])
    torch.testing.assert_close(across, coarse)


def test_the_forecast_model_runs_at_two_resolutions():
    net = opdsl.compile("tests/data/language/sfno.op", width=8)
    for size in ((64, 128), (66, 130)):
        x, fields = (
            torch.randn(1, 4, *size),
            {k: torch.rand(size) for k in ("orography", "land_mask")},
        )
        y = net(x, **fields)
        assert y.shape == x.shape
    y.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    assert net.rollout(2, x, **fields).shape == (1, 2, 4, 66, 130)


# --- great degrees, rotations, other weights ------------------------------------------------


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_there_and_back_is_exact_to_degree_255(sampling):
    torch.manual_seed(0)
    z, size = harmonics(255, 1)[..., :1], (rows(255, sampling), 511)
    found = sht(inverse_sht(z, size, sampling), 255, sampling)
    assert (found - z).abs().max() <= 1e-12 * z.abs().max()


@pytest.mark.parametrize("n", [2, 3, 8, 257])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_quadrature_is_exact_for_every_polynomial_that_it_promises(sampling, n):
    x, w = latitudes(n, sampling)
    exact = {"gauss_legendre": 2 * n - 1, "lobatto": 2 * n - 3}.get(sampling, n - 1)
    values = np.polynomial.legendre.legvander(x.numpy(), exact)
    integrals = w.numpy() @ values
    np.testing.assert_allclose(integrals, [2.0, *[0.0] * exact], atol=1e-13)


@pytest.mark.parametrize("by", ["degree", "mode", "all"])
def test_a_turned_input_gives_a_turned_output(by):
    """About the axis, by one longitude, and by an angle between them through the coefficients."""
    torch.manual_seed(0)
    conv = SphericalConv(2, 3, 5, sampling="lobatto", by=by, real=False).double()
    x = torch.randn(1, 8, 12, 2, dtype=torch.float64)
    turned = conv(x.roll(1, 2), (8, 12))
    torch.testing.assert_close(turned, conv(x, (8, 12)).roll(1, 2))
    phase = torch.exp(-0.37j * torch.arange(6.0, dtype=torch.float64))[:, None]
    z = harmonics(5, 1)
    torch.testing.assert_close(conv.mix(z * phase), conv.mix(z) * phase)


@pytest.mark.parametrize("factor", ["dense", "tucker"])
@pytest.mark.parametrize("by", ["degree", "mode", "all"])
def test_gradients_of_the_convolution_are_right(by, factor):
    axes = {"degree": (4,), "mode": (4, 3), "all": ()}[by]
    more = {"factor": factor, "ranks": (2,) * (2 + len(axes))} if factor == "tucker" else {}
    conv = SphericalConv(
        2, 3, 3, sampling="gauss_legendre", by=by, orders=2, real=False, **more
    ).double()
    x = torch.randn(1, 5, 7, 2, dtype=torch.float64, requires_grad=True)
    weights = list(conv.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: conv(x, (4, 7)), (x, *weights))


@pytest.mark.parametrize("factor", ["dense", "cp", "tucker", "tt"])
def test_fresh_weights_keep_the_variance_of_a_coefficient_however_they_are_kept(factor):
    torch.manual_seed(0)
    ranks = {"cp": (40,), "tucker": (12, 12, 6), "tt": (12, 6)}.get(factor, ())
    spread = []
    for _ in range(8):
        conv = SphericalConv(16, 16, 11, sampling="lobatto", real=False, factor=factor, ranks=ranks)
        spread.append(conv._matrices(torch.float64).abs().square().mean())
    assert 0.7 < torch.stack(spread).mean() * 16 < 1.4


def test_few_orders_are_a_low_pass_along_longitudes():
    conv = SphericalConv(1, 1, 6, sampling="gauss_legendre", orders=2, bias=False).double()
    with torch.no_grad():
        conv.weight.fill_(1.0)
    z = harmonics(6, 1)[..., :1]
    found = sht(conv(inverse_sht(z, (9, 15), "gauss_legendre"), (9, 15)), 6, "gauss_legendre")
    z[:, :, 3:] = 0
    torch.testing.assert_close(found, z)


def test_a_table_that_inference_has_made_serves_training():
    layer = SphericalConv(1, 1, 3, sampling="gauss_legendre")
    x = torch.randn(1, 5, 11, 1)  # a size that no other test has
    with torch.inference_mode():
        layer(x, size=(5, 11))
    layer(x, size=(5, 11)).sum().backward()
    assert layer.weight.grad is not None
