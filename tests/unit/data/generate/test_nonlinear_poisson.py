"""Nonlinear Poisson: known solutions, the maximum principle, shapes that triangles fill."""

import numpy as np
import pytest

from opdsl.data.generate.sampling.draws import normals
from opdsl.data.generate.sampling.star import (
    NUMBERS,
    Star,
    Triangles,
    fills,
    smallest_angle,
    triangulate,
)
from opdsl.data.generate.solvers import nonlinear_poisson as npo

SHAPE = Star.of(normals(3, 4, NUMBERS))
DISC = Star(np.zeros((2, 6)))


def rms(x):
    return np.sqrt(np.mean(x**2))


def order(errors):
    """With the width halved from one to the next."""
    return np.log2(errors[0] / errors[-1]) / (len(errors) - 1)


# --- shapes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("edges", [4, 9, 17])
def test_triangles_fill_a_shape_and_none_is_thin(index, edges):
    mesh = triangulate(Star.of(normals(1, index, NUMBERS)), 1 / edges)
    assert fills(mesh)
    assert smallest_angle(mesh) > 18
    assert np.linalg.norm(mesh.points, axis=1).max() <= 1 + 1e-12


def test_a_mesh_with_a_triangle_missing_does_not_fill_its_shape():
    mesh = triangulate(SHAPE, 0.1)
    assert not fills(Triangles(mesh.points, mesh.cells[1:], mesh.edge))
    assert not fills(Triangles(mesh.points, mesh.cells[:, ::-1], mesh.edge))


def test_the_boundary_is_met_at_equal_distances():
    mesh = triangulate(SHAPE, 0.05)
    edge = mesh.points[: mesh.edge]
    assert np.hypot(*edge.T) == pytest.approx(SHAPE.radius(np.arctan2(*edge.T[::-1])))
    steps = np.linalg.norm(edge - np.roll(edge, 1, 0), axis=1)
    assert steps.max() < 1.05 * steps.min()
    assert steps.mean() == pytest.approx(0.05, rel=0.02)


def test_the_area_of_a_disc_is_met():
    mesh = triangulate(DISC, 0.06)
    assert len(mesh.points) == pytest.approx(np.pi / (0.06**2 * 3**0.5 / 2), rel=0.05)


def test_numbers_are_normal_and_depend_on_seed_and_index_alone():
    many = normals(5, 2, 20000)
    assert abs(many.mean()) < 0.03
    assert many.std() == pytest.approx(1, abs=0.02)
    assert np.array_equal(normals(5, 2, 10), many[:10])
    assert not np.array_equal(normals(5, 3, 10), many[:10])
    # fixed for ever: the bits of Philox and the inverse normal distribution
    assert normals(0, 0, 2) == pytest.approx([-2.2718841483, -0.7013279206], abs=1e-9)


# --- the equation -------------------------------------------------------------------------------


def test_a_known_solution_is_met_with_order_two():
    errors = []
    for n in (6, 12, 24):
        mesh = triangulate(SHAPE, 1 / n)
        u, f = npo.manufactured(mesh.points)
        got, residual = npo.solve(mesh, f, npo.extend(mesh, u[: mesh.edge]))
        assert residual < 1e-11
        errors.append(rms(got - u))
    assert order(errors) == pytest.approx(2, abs=0.2)
    assert errors[-1] < 1e-3 * rms(u)


def test_the_source_of_the_known_solution_is_that_of_the_equation():
    """By central differences: div((1 + u^2 / 10) grad u) = f."""
    x, h = np.array([[0.3, -0.4], [-0.2, 0.1]]), 1e-3
    e = h * np.eye(2)

    def u(p):
        return npo.manufactured(p)[0]

    def flux(p, a):
        return (1 + u(p) ** 2 / 10) * (u(p + e[a] / 2) - u(p - e[a] / 2)) / h

    div = sum((flux(x + e[a] / 2, a) - flux(x - e[a] / 2, a)) / h for a in (0, 1))
    assert div == pytest.approx(npo.manufactured(x)[1], rel=1e-4)


def test_both_ways_to_the_solution_meet_with_order_two():
    gaps = []
    for n in (6, 12, 24):
        mesh = triangulate(SHAPE, 1 / n)
        f, g = 20 * np.cos(3 * mesh.points[:, 0]), np.sin(2 * mesh.points[:, 1])
        u, _ = npo.solve(mesh, f, g)
        gaps.append(rms(u - npo.kirchhoff(mesh, f, g)[1]))
    assert order(gaps) == pytest.approx(2, abs=0.4)


def test_the_way_back_inverts_the_cubic():
    u = np.linspace(-40, 40, 101)
    assert npo.back(u + u**3 / 30) == pytest.approx(u, abs=1e-11)


def test_a_source_that_is_radial_on_a_disc_has_its_closed_form():
    """Laplace w = 8 with w = 0 at the edge is w = 2 (|x|^2 - 1), and u solves u + u^3 / 30 = w."""
    mesh = triangulate(DISC, 0.04)
    u, _ = npo.solve(mesh, np.full(len(mesh.points), 8.0), np.zeros(len(mesh.points)))
    want = npo.back(2 * ((mesh.points**2).sum(1) - 1))
    assert u == pytest.approx(want, abs=4e-3)


def test_without_a_source_the_solution_keeps_between_its_boundary_values():
    mesh = triangulate(SHAPE, 0.06)
    g = 5 * np.cos(4 * np.arctan2(*mesh.points.T))
    u, _ = npo.solve(mesh, np.zeros(len(g)), g)
    inner, edge = u[mesh.edge :], g[: mesh.edge]
    assert edge.min() <= inner.min() <= inner.max() <= edge.max()
    assert u[: mesh.edge] == pytest.approx(edge, abs=0)


@pytest.mark.parametrize("seed", range(5))
def test_the_bounds_hold_for_any_source(seed):
    mesh = triangulate(Star.of(normals(seed, 0, NUMBERS)), 0.08)
    f, g = 30 * np.random.default_rng(seed).normal(size=(2, len(mesh.points)))
    u, _ = npo.solve(mesh, f, g / 30)
    low, high = npo.bounds(f, g / 30, mesh.edge)
    assert low <= u.min() <= u.max() <= high


@pytest.mark.parametrize("f", [8.0, -8.0])
def test_the_bounds_are_met_by_a_disc_under_an_even_source(f):
    low, high = npo.bounds(np.full(9, f), np.zeros(9), 5)
    end = float(npo.back(np.array(-f / 4)))
    assert [low, high] == pytest.approx(sorted((0.0, end)), abs=1e-12)


def test_boundary_values_are_continued_harmonically():
    mesh = triangulate(SHAPE, 0.05)
    x, y = mesh.points.T
    want = x**2 - y**2 + 3 * x
    assert npo.extend(mesh, want[: mesh.edge]) == pytest.approx(want, abs=1e-3)


def test_a_strong_source_is_solved_too():
    mesh = triangulate(SHAPE, 0.06)
    u, residual = npo.solve(mesh, np.full(len(mesh.points), -3000.0), np.zeros(len(mesh.points)))
    assert residual < 1e-10
    assert u.max() > 10
