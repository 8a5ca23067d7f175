"""Derivatives on grids: exact for functions of the basis, of the stated order for others."""

import math

import pytest
import torch

from opdsl.diagnostics import OpError
from opdsl.sampling import positions
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.physics.differences import difference, stencil
from opdsl.train.physics.grid import GridCalculus

LENGTHS = (2.0, 3.0, 0.5)


def points(sampling, n, length):
    return torch.tensor(positions(sampling, n), dtype=torch.float64) * length


def periodic(dims, order=None):
    return GridCalculus(GridAxes((True,) * dims, LENGTHS[:dims]), order)


def axes(dims, sizes, sampling="lower"):
    lines = [points(sampling, n, length) for n, length in zip(sizes, LENGTHS[:dims], strict=True)]
    return torch.meshgrid(*lines, indexing="ij")


def field(x):
    return x[None, None]


def test_stencils_are_those_of_the_tables():
    assert stencil((-1.0, 0.0, 1.0), 1) == pytest.approx((-0.5, 0, 0.5))
    fourth = (-1 / 12, 4 / 3, -5 / 2, 4 / 3, -1 / 12)
    assert stencil((-2.0, -1.0, 0.0, 1.0, 2.0), 2) == pytest.approx(fourth)
    assert stencil((0.0, 1.0, 2.0, 3.0), 1) == pytest.approx((-11 / 6, 3, -3 / 2, 1 / 3))


@pytest.mark.parametrize("n", [15, 16])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_wave_derivatives_of_resolved_waves_are_exact(n, times):
    x = points("lower", n, 2.0)
    k = math.pi * 3
    u = field((k * x + 0.3).sin())
    phases = ((k * x + 0.3).sin(), (k * x + 0.3).cos())
    expected = (phases[1], -phases[0], -phases[1])[times - 1] * k**times
    found = periodic(1).d(u, 0, times)[0, 0]
    assert torch.allclose(found, expected, rtol=0, atol=1e-9 * k**times)


def test_vector_operators_have_closed_forms():
    x, y = axes(2, (16, 12))
    a, b = math.pi, 2 * math.pi / 3
    u = (a * x).sin() * (b * y).cos()
    ux, uy = a * (a * x).cos() * (b * y).cos(), -b * (a * x).sin() * (b * y).sin()
    calculus = periodic(2)
    gradient = calculus.grad(field(u))
    assert torch.allclose(gradient[0], torch.stack([ux, uy]), atol=1e-12)
    assert torch.allclose(calculus.div(gradient)[0, 0], -(a * a + b * b) * u, atol=1e-11)
    assert torch.allclose(calculus.laplace(field(u))[0, 0], -(a * a + b * b) * u, atol=1e-11)
    assert calculus.curl(gradient).abs().max() < 1e-11
    turned = torch.stack([-uy, ux])[None]
    assert torch.allclose(calculus.curl(turned)[0, 0], -(a * a + b * b) * u, atol=1e-11)


def test_curl_in_three_dimensions_has_three_components():
    x, y, z = axes(3, (10, 10, 10))
    a, b, c = (2 * math.pi / length for length in LENGTHS)
    v = torch.stack([(b * y).sin(), (c * z).sin(), (a * x).sin()])[None]
    expected = torch.stack([-c * (c * z).cos(), -a * (a * x).cos(), -b * (b * y).cos()])
    calculus = periodic(3)
    assert torch.allclose(calculus.curl(v)[0], expected, atol=1e-11)
    assert calculus.div(calculus.curl(v)).abs().max() < 1e-10


def test_channels_of_vectors_lie_behind_each_other():
    u = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    calculus = periodic(2)
    gradient = calculus.grad(u)
    assert gradient.shape == (2, 6, 8, 8)
    assert torch.equal(gradient[:, 2], calculus.d(u[:, 1:2], 0)[:, 0])
    assert torch.equal(gradient[:, 3], calculus.d(u[:, 1:2], 1)[:, 0])


def rate(errors, sizes):
    return math.log(errors[0] / errors[-1]) / math.log(sizes[-1] / sizes[0])


@pytest.mark.parametrize("order", [2, 4, 6])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("wraps", [True, False])
@pytest.mark.parametrize("sampling", ["lower", "both", "centres"])
def test_differences_have_their_stated_order_up_to_the_ends(order, times, wraps, sampling):
    if wraps and sampling == "both":
        pytest.skip("a ring has no two ends")
    sizes, errors = (48, 96), []
    for n in sizes:
        x = points(sampling, n, 2.0)
        u = (math.pi * x).sin().exp()
        d = math.pi * (math.pi * x).cos() * u
        d2 = (math.pi * (math.pi * x).cos()) ** 2 * u - math.pi**2 * (math.pi * x).sin() * u
        calculus = GridCalculus(GridAxes((wraps,), (2.0,), (sampling,)), order)
        found = calculus.d(field(u), 0, times)[0, 0]
        errors.append(float((found - (d, d2)[times - 1]).abs().max()))
    assert order - 0.5 < rate(errors, sizes) < order + 1.5


def test_the_default_order_of_axes_with_ends_is_four():
    u = torch.randn(1, 1, 20, dtype=torch.float64)
    grid = GridAxes((False,), (1.0,))
    assert torch.equal(GridCalculus(grid).d(u, 0), GridCalculus(grid, 4).d(u, 0))


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_few_points_give_the_derivative_of_their_polynomial(n):
    x = torch.linspace(0, 1, n, dtype=torch.float64)
    found = difference(x ** (n - 1), 0, times=1, order=6, step=1 / (n - 1), periodic=False)
    assert torch.allclose(found, (n - 1) * x ** (n - 2), atol=1e-12)


def test_too_few_points_are_refused():
    with pytest.raises(OpError, match="OP0720"):
        GridCalculus(GridAxes.unit((False,))).d(torch.zeros(1, 1, 1), 0)


@pytest.mark.parametrize("ends", [("dirichlet", "dirichlet"), ("neumann", "neumann")])
@pytest.mark.parametrize("sampling", ["both", "centres"])
@pytest.mark.parametrize("times", [1, 2])
def test_half_waves_of_the_declared_conditions_are_exact(ends, sampling, times):
    x = points(sampling, 12, 2.0)
    k = math.pi / 2 * 3
    waves = [(k * x).sin(), (k * x).cos(), -(k * x).sin(), -(k * x).cos()]
    shift = ends[0] == "neumann"
    calculus = GridCalculus(GridAxes((False,), (2.0,), (sampling,), (ends,)), "spectral")
    found = calculus.d(field(waves[shift]), 0, times)[0, 0]
    assert torch.allclose(found, waves[shift + times] * k**times, atol=1e-9)


@pytest.mark.parametrize("wraps", [True, False])
def test_diffusion_is_of_second_order_and_agrees_with_the_product_rule(wraps):
    sizes, errors = (64, 128), []
    for n in sizes:
        x = points("lower" if wraps else "both", n, 2.0)
        a, da = 2 + (math.pi * x).sin(), math.pi * (math.pi * x).cos()
        u, du = (math.pi * x).cos(), -math.pi * (math.pi * x).sin()
        expected = da * du - a * math.pi**2 * u
        calculus = GridCalculus(GridAxes((wraps,), (2.0,)))
        found = calculus.diffusion(field(a), field(u))[0, 0]
        errors.append(float((found - expected).abs().max()))
    assert 1.7 < rate(errors, sizes) < 2.5


def test_diffusion_of_a_coefficient_that_jumps_between_points_is_exact():
    # -(a u')' = 0 with a = 1 left and 5 right of 0.5: u is linear on both sides, a u' constant
    n = 10
    x = points("both", n, 1.0)
    a = torch.where(x < 0.5, 1.0, 5.0).double()
    u = torch.where(x < 0.5, x, 0.5 + (x - 0.5) / 5)
    residual = GridCalculus(GridAxes((False,), (1.0,))).diffusion(field(a), field(u))
    assert residual.abs().max() < 1e-11


def test_means_and_integrals_use_quadrature_weights():
    x = points("both", 65, 2.0)
    calculus = GridCalculus(GridAxes((False,), (2.0,)))
    assert float(calculus.mean(field(x))[0, 0]) == pytest.approx(1.0)
    assert float(calculus.integrate(field(x))[0, 0]) == pytest.approx(2.0)
    assert float(calculus.integrate(field(x * x))[0, 0]) == pytest.approx(8 / 3, rel=1e-3)


@pytest.mark.parametrize("order", [None, 2, 4, "spectral"])
def test_derivatives_have_gradients(order):
    grid = GridAxes((True, False), (1.0, 2.0), None, (None, ("dirichlet", "dirichlet")))
    calculus = GridCalculus(grid, order)
    u = torch.randn(1, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    a = torch.rand(1, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(calculus.laplace, (u,))
    assert torch.autograd.gradcheck(lambda a, u: calculus.diffusion(a + 1, u), (a, u))


def test_the_velocity_of_a_vorticity_has_its_curl_and_no_divergence():
    x, y = axes(2, (16, 15))
    a, b = math.pi, 2 * math.pi / 3
    psi = (a * x).sin() * (2 * b * y + 0.2).cos() + (b * y).sin()
    w = psi * (a * a + 4 * b * b) + (b * b - a * a - 4 * b * b) * (b * y).sin()
    calculus = periodic(2)
    v = calculus.velocity(field(w))
    assert torch.allclose(calculus.curl(v)[0, 0], w, atol=1e-10)
    assert calculus.div(v).abs().max() < 1e-10
    expected = torch.stack([calculus.d(field(psi), 1), -calculus.d(field(psi), 0)], 1)
    assert torch.allclose(v, expected.flatten(1, 2), atol=1e-10)


def test_vectors_of_space_leave_the_axis_of_time_out():
    t, x, y = axes(3, (9, 10, 12))
    calculus = GridCalculus(GridAxes((False, True, True), LENGTHS), None, (1, 2))
    plane = GridCalculus(GridAxes((True, True), LENGTHS[1:]))
    u = field(t * (2 * math.pi / 3 * x).sin() * (4 * math.pi * y).cos())
    assert calculus.grad(u).shape == (1, 2, 9, 10, 12)
    slices = u[0].movedim(1, 0)  # times as samples
    for name in ("grad", "laplace"):
        found = getattr(calculus, name)(u)[0].movedim(1, 0)
        assert torch.allclose(found, getattr(plane, name)(slices), atol=1e-10)
    v = calculus.velocity(u)
    assert torch.allclose(calculus.curl(v), u, atol=1e-10)
    found = calculus.diffusion(1 + u**2, u)[0].movedim(1, 0)
    assert torch.allclose(found, plane.diffusion(1 + slices**2, slices), atol=1e-10)


@pytest.mark.parametrize("wraps", [(True,), (True, False)])
def test_walls_have_no_stream_function(wraps):
    with pytest.raises(OpError, match="OP0720"):
        GridCalculus(GridAxes.unit(wraps)).velocity(torch.zeros(1, 1, *[8] * len(wraps)))
