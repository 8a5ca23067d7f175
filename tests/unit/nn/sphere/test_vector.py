"""Tangent fields on the sphere: closed forms, there and back, divergence and curl."""

import math

import pytest
import torch

from opdsl.nn.sphere.harmonics import inverse_sht, legendre, sht
from opdsl.nn.sphere.sampling import latitudes
from opdsl.nn.sphere.vector import inverse_vector_sht, legendre_derivatives, vector_sht

SAMPLINGS = ("gauss_legendre", "lobatto", "equiangular", "centres")


def spectrum(lmax: int) -> torch.Tensor:
    """Coefficients of two real functions without mean."""
    z = torch.randn(1, lmax + 1, lmax + 1, 2, dtype=torch.complex128)
    z = z * torch.ones(lmax + 1, lmax + 1).tril()[..., None]
    z[:, :, 0] = z[:, :, 0].real.to(z.dtype)
    z[:, 0] = 0
    return z


@pytest.mark.parametrize("lmax", [1, 6, 63])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_there_and_back_is_exact(sampling, lmax):
    torch.manual_seed(0)
    S, T = spectrum(lmax), spectrum(lmax)
    # one degree more than for functions: the field of degree l times a gradient
    u = inverse_vector_sht(S, T, (2 * lmax + 4, 2 * lmax + 2), sampling)
    found = vector_sht(u, lmax, sampling)
    torch.testing.assert_close(found, (S, T), rtol=1e-11, atol=1e-11)


def test_slopes_are_derivatives_of_the_legendre_functions():
    theta = torch.linspace(0.2, 2.9, 7, dtype=torch.float64)
    slope, turn = legendre_derivatives(legendre(13, theta.cos()))
    h = 1e-6
    wanted = (legendre(12, (theta + h).cos()) - legendre(12, (theta - h).cos())) / (2 * h)
    torch.testing.assert_close(slope, wanted, rtol=0, atol=1e-8)
    m = torch.arange(13.0)[:, None, None]
    torch.testing.assert_close(turn * theta.sin(), m * legendre(12, theta.cos()))


def test_solid_rotation_is_the_curl_of_the_height():
    """u = (0, sin theta) = r x grad(-cos theta), also at the poles."""
    cos, _ = latitudes(9, "lobatto")
    sin = (1 - cos**2).clamp(min=0).sqrt()
    east = sin[:, None].expand(9, 10)
    u = torch.stack([torch.zeros_like(east), east], -1)[None, :, :, None]
    S, T = vector_sht(u, 4, "lobatto")
    height = sht(-cos[:, None].expand(9, 10)[None, ..., None], 4, "lobatto")
    torch.testing.assert_close(T, height)
    assert S.abs().max() < 1e-14


def test_a_gradient_has_the_divergence_of_its_function():
    """div grad f = -l (l + 1) f for a harmonic f, by differences of the field itself."""
    torch.manual_seed(0)
    S = torch.zeros(1, 5, 5, 1, dtype=torch.complex128)
    S[0, 4, 2] = 1.0
    n, eps = 400, 2 * math.pi / 1600
    u = inverse_vector_sht(S, 0 * S, (n, 1600), "gauss_legendre")[0, :, :, 0]
    cos, _ = latitudes(n, "gauss_legendre")
    theta, sin = cos.arccos(), (1 - cos**2).sqrt()
    row, column = 170, 100
    step = theta[row + 1] - theta[row - 1]
    flux = sin[:, None] * u[..., 0]
    south = (flux[row + 1, column] - flux[row - 1, column]) / step
    east = (u[row, column + 1, 1] - u[row, column - 1, 1]) / (2 * eps)
    f = inverse_sht(S, (n, 1600), "gauss_legendre")[0, row, column, 0]
    torch.testing.assert_close((south + east) / sin[row], -20 * f, rtol=1e-3, atol=0)


@pytest.mark.parametrize("sampling", ["gauss_legendre", "equiangular"])
def test_both_transforms_are_those_of_torch_harmonics(sampling):
    theirs = pytest.importorskip("torch_harmonics", reason="torch_harmonics is not importable here")
    torch.manual_seed(0)
    grid = {"gauss_legendre": "legendre-gauss", "equiangular": "equiangular"}[sampling]
    x = torch.randn(1, 12, 24, 1, dtype=torch.float64)
    scalar = theirs.RealSHT(12, 24, lmax=6, mmax=6, grid=grid).double()
    torch.testing.assert_close(sht(x, 5, sampling)[..., 0], scalar(x[..., 0]))
    u = torch.randn(1, 12, 24, 1, 2, dtype=torch.float64)
    vector = theirs.RealVectorSHT(12, 24, lmax=6, mmax=6, grid=grid).double()
    S, T = vector_sht(u, 5, sampling)
    found = vector(u[0, ..., 0, :].permute(2, 0, 1))
    torch.testing.assert_close(S[0, ..., 0], found[0])
    torch.testing.assert_close(T[0, ..., 0].abs(), found[1].abs())
