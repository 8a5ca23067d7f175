"""Derivatives on spheres against closed forms in colatitude and longitude."""

import math

import pytest
import torch

from opdsl.diagnostics import OpError
from opdsl.nn.sphere.sampling import latitudes
from opdsl.train.physics.sphere import SphereCalculus

SAMPLINGS = ("gauss_legendre", "lobatto", "equiangular", "centres")


def place(sampling, n=16):
    cos, _ = latitudes(n, sampling)
    theta = cos.clamp(-1, 1).acos()[:, None]
    phi = (torch.arange(2 * n, dtype=torch.float64) * (math.pi / n))[None]
    return torch.broadcast_tensors(theta, phi)


def field(x):
    return x[None, None]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_gradient_and_laplacian_of_a_harmonic_have_closed_forms(sampling):
    theta, phi = place(sampling)
    u = theta.sin() ** 2 * (2 * phi).cos()  # degree 2, order 2
    south = 2 * theta.sin() * theta.cos() * (2 * phi).cos()
    east = -2 * theta.sin() * (2 * phi).sin()
    calculus = SphereCalculus(sampling, radius=3.0)
    gradient = calculus.grad(field(u))
    assert torch.allclose(gradient[0], torch.stack([south, east]) / 3, atol=1e-10)
    assert torch.allclose(calculus.laplace(field(u))[0, 0], -6 * u / 9, atol=1e-10)
    assert torch.allclose(calculus.div(gradient)[0, 0], -6 * u / 9, atol=1e-10)
    assert calculus.curl(gradient).abs().max() < 1e-10


def test_the_vorticity_of_a_rotation_is_twice_its_rate_along_the_axis():
    theta, _ = place("gauss_legendre")
    rate, radius = 0.7, 2.0
    flow = torch.stack([torch.zeros_like(theta), rate * radius * theta.sin()])[None]
    calculus = SphereCalculus("gauss_legendre", radius)
    assert torch.allclose(calculus.curl(flow)[0, 0], 2 * rate * theta.cos(), atol=1e-10)
    assert calculus.div(flow).abs().max() < 1e-10


def test_channels_of_vectors_lie_behind_each_other():
    theta, phi = place("gauss_legendre")
    u = torch.stack([theta.cos(), theta.sin() * phi.cos()])[None]
    calculus = SphereCalculus("gauss_legendre")
    gradient = calculus.grad(u)
    assert torch.allclose(gradient[:, 2:], calculus.grad(u[:, 1:]), atol=1e-12)
    assert torch.allclose(calculus.div(gradient), -2 * u, atol=1e-10)


def test_diffusion_follows_the_product_rule():
    theta, _ = place("gauss_legendre")
    a, u = 2 + theta.cos(), theta.cos()
    # div(a grad u) = grad a . grad u + a laplace u
    expected = theta.sin() ** 2 - 2 * a * u
    found = SphereCalculus("gauss_legendre").diffusion(field(a), field(u))
    assert torch.allclose(found[0, 0], expected, atol=1e-10)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_integrals_are_those_of_the_area(sampling):
    theta, _ = place(sampling)
    calculus = SphereCalculus(sampling, radius=2.0)
    assert float(calculus.integrate(field(torch.ones_like(theta)))) == pytest.approx(16 * math.pi)
    assert float(calculus.mean(field(theta.cos() ** 2))) == pytest.approx(1 / 3)


def test_a_sphere_has_no_derivative_along_an_axis():
    with pytest.raises(OpError, match="OP0720"):
        SphereCalculus("gauss_legendre").d(torch.zeros(1, 1, 4, 8), 0)


def test_the_velocity_of_a_vorticity_is_that_of_its_rotation():
    theta, _ = place("gauss_legendre")
    flow = SphereCalculus("gauss_legendre", 2.0).velocity(field(1.4 * theta.cos()))
    expected = torch.stack([torch.zeros_like(theta), 0.7 * 2 * theta.sin()])
    assert torch.allclose(flow[0], expected, atol=1e-10)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_bands_by_degree_divide_the_root_mean_square(sampling):
    theta, phi = place(sampling)
    first, second = 3**0.5 * theta.cos(), 15**0.5 / 2 * theta.sin() ** 2 * (2 * phi).cos()
    u, calculus = torch.stack([2 + 0.5 * first, second])[None], SphereCalculus(sampling)
    assert calculus.band_rms(u, 0, 1) == pytest.approx(2 / 2**0.5)
    assert calculus.band_rms(u, 1, 2) == pytest.approx(0.5 / 2**0.5)
    assert calculus.band_rms(u, 2, math.inf) == pytest.approx(1 / 2**0.5)
    assert calculus.band_rms(u, 3, 5).abs() < 1e-12
    whole = calculus.mean(u**2).mean().sqrt()
    assert calculus.band_rms(u, 0, math.inf) == pytest.approx(float(whole))
