"""Diffusion on surfaces: the harmonics of a sphere, integrals, and surfaces that are closed."""

import numpy as np
import pytest

from opdsl.data.derive.distance import _unpaired
from opdsl.data.derive.simplices import sizes
from opdsl.data.generate.sampling.blob import NUMBERS, Blob
from opdsl.data.generate.sampling.draws import normals
from opdsl.data.generate.sampling.wave import count, wave
from opdsl.data.generate.solvers.surface_diffusion import LENGTH, integral, matrices, solve

SPHERE = Blob(np.zeros(0))

HARMONICS = {  # degree -> a polynomial that is one
    1: lambda p: p[2] + 2 * p[0],
    2: lambda p: p[0] * p[1] + p[2] ** 2 - 1 / 3,
    3: lambda p: p[2] * (5 * p[2] ** 2 - 3) + p[0] * p[1] * p[2],
    4: lambda p: p[0] ** 4 - 6 * p[0] ** 2 * p[1] ** 2 + p[1] ** 4,
}


@pytest.mark.parametrize("degree", HARMONICS)
def test_the_harmonics_of_a_sphere_are_divided_by_their_eigenvalue_with_order_two(degree):
    errors = []
    for n in (8, 16, 32):
        points, cells = SPHERE.triangulate(1 / n)
        f = HARMONICS[degree](points.T)
        u, residual = solve(points, cells, f)
        assert residual < 1e-12
        want = f / (1 + LENGTH * degree * (degree + 1))
        errors.append(np.linalg.norm(u - want) / np.linalg.norm(want))
    assert np.log2(errors[0] / errors[2]) / 2 == pytest.approx(2, abs=0.2)
    assert errors[2] < 2e-3


def test_a_constant_source_is_its_own_solution():
    points, cells = Blob.of(normals(1, 1, NUMBERS)).triangulate(0.1)
    u, _ = solve(points, cells, np.full(len(points), 3.0))
    assert u == pytest.approx(3, abs=1e-12)


def test_matrices_integrate_constants_and_linear_functions():
    points, cells = SPHERE.triangulate(0.1)
    stiff, mass = matrices(points, cells)
    one, z = np.ones(len(points)), points[:, 2]
    assert one @ mass @ one == pytest.approx(4 * np.pi, rel=1e-2)
    assert abs(stiff @ one).max() < 1e-12
    assert z @ mass @ z == pytest.approx(4 * np.pi / 3, rel=2e-2)
    # the gradient of z along the sphere has the square 1 - z^2
    assert z @ stiff @ z == pytest.approx(8 * np.pi / 3, rel=2e-2)
    assert integral(points, cells, z**2) == pytest.approx(4 * np.pi / 3, rel=2e-2)


@pytest.mark.parametrize("index", range(4))
def test_random_surfaces_are_closed_turn_outwards_and_fit_into_the_unit_sphere(index):
    points, cells = Blob.of(normals(2, index, NUMBERS)).triangulate(0.08)
    assert _unpaired(cells) == (0, True)
    assert len(points) - len(cells) / 2 == 2  # Euler
    assert np.linalg.norm(points, axis=1).max() <= 1.001
    a, b, c = points[cells].transpose(1, 0, 2)
    volume = (a * np.cross(b, c)).sum(1) / 6
    assert volume.min() > 0


def test_the_width_is_the_mean_length_of_edges():
    for width in (0.2, 0.05):
        points, cells = Blob.of(normals(2, 0, NUMBERS)).triangulate(width)
        edges = np.linalg.norm(points[cells] - points[np.roll(cells, 1, 1)], axis=2)
        assert edges.mean() == pytest.approx(width, rel=0.1)
        assert sizes(points, cells).min() > 0


@pytest.mark.parametrize("d", [2, 3])
def test_a_random_wave_has_deviation_one_at_every_point(d):
    x = np.array([[0.0] * d, [0.7] * d])
    many = np.array([wave(normals(0, i, count(2, d)), x, 2) for i in range(2000)])
    assert many.std(0) == pytest.approx(1, abs=0.05)
    assert abs(many.mean(0)).max() < 0.08


def test_a_random_wave_has_its_period():
    x = np.random.default_rng(0).random((5, 3))
    numbers = normals(0, 0, count(2, 3))
    assert wave(numbers, x + 2 * np.pi, 2) == pytest.approx(wave(numbers, x, 2), abs=1e-12)
