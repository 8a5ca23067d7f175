"""The solver against closed forms: a Fourier series, a manufactured solution, a layered medium."""

import numpy as np
import pytest

from opdsl.data.generate.solvers.diffusion import five_points, solve


def nodes(n):
    line = np.linspace(0, 1, n)
    return np.meshgrid(line, line, indexing="ij")


def series(x, y, terms=101):
    """-Laplace u = 1, u = 0 on the boundary: u = 16 / pi^4 sum over odd k, l."""
    k = np.arange(1, terms, 2)
    weights = 16 / np.pi**4 / (np.outer(k, k) * (k[:, None] ** 2 + k[None, :] ** 2))
    sine_x, sine_y = np.sin(np.pi * np.outer(x, k)), np.sin(np.pi * np.outer(y, k))
    return np.einsum("pk,kl,pl->p", sine_x, weights, sine_y)


def order(errors):
    return -np.polyfit(np.arange(len(errors)), np.log2(errors), 1)[0]


def test_a_constant_coefficient_gives_the_fourier_series_with_order_two():
    errors = []
    for n in (17, 33, 65):
        x, y = nodes(n)
        exact = series(x.ravel(), y.ravel()).reshape(n, n)
        errors.append(np.abs(solve(np.ones((n, n)))[0] - exact).max())
    assert errors[-1] < 2e-5
    assert order(errors) == pytest.approx(2, abs=0.1)


def test_the_solution_scales_with_the_coefficient():
    ones = np.ones((33, 33))
    assert solve(4 * ones)[0] == pytest.approx(solve(ones)[0] / 4, rel=1e-12)


def manufactured(n):
    """a = 2 + sin(2 pi x) y, u = sin(pi x) sin(2 pi y); f = -(a_x u_x + a_y u_y + a Laplace u)."""
    x, y = nodes(n)
    p = np.pi
    a, a_x, a_y = 2 + np.sin(2 * p * x) * y, 2 * p * np.cos(2 * p * x) * y, np.sin(2 * p * x)
    u = np.sin(p * x) * np.sin(2 * p * y)
    u_x = p * np.cos(p * x) * np.sin(2 * p * y)
    u_y = 2 * p * np.sin(p * x) * np.cos(2 * p * y)
    return a, -(a_x * u_x + a_y * u_y - 5 * p**2 * a * u), u


def test_a_smooth_coefficient_gives_order_two():
    errors = []
    for n in (17, 33, 65, 129):
        a, f, u = manufactured(n)
        errors.append(np.abs(solve(a, f)[0] - u).max())
    assert errors[-1] < 5e-4
    assert order(errors) == pytest.approx(2, abs=0.1)


def test_the_matrix_is_symmetric_and_diagonally_dominant():
    a = np.random.default_rng(1).uniform(1, 9, (12, 12))
    matrix = five_points(a).toarray()
    assert np.array_equal(matrix, matrix.T)
    off = np.abs(matrix).sum(1) - 2 * np.diag(matrix)
    assert off.max() < 1e-9
    assert np.linalg.eigvalsh(matrix).min() > 0


def test_the_matrix_is_the_sum_of_the_fluxes_through_four_faces():
    a = np.random.default_rng(2).uniform(1, 9, (9, 9))
    u = np.zeros((9, 9))
    u[1:-1, 1:-1] = np.random.default_rng(3).random((7, 7))
    got = (five_points(a) @ u[1:-1, 1:-1].ravel()).reshape(7, 7)
    for i, j in ((1, 1), (4, 3), (7, 7), (1, 6)):
        flux = sum(
            (a[i, j] + a[p, q]) / 2 * (u[i, j] - u[p, q])
            for p, q in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1))
        )
        assert got[i - 1, j - 1] == pytest.approx(64 * flux, rel=1e-12)


def test_the_residual_is_that_of_the_returned_solution():
    a = np.where(np.random.default_rng(4).random((33, 33)) > 0.5, 12.0, 3.0)
    u, residual = solve(a)
    left = 1 - five_points(a) @ u[1:-1, 1:-1].ravel()
    assert residual == pytest.approx(np.linalg.norm(left) / 31, rel=1e-6)
    assert residual < 1e-12


def test_the_boundary_is_zero_and_the_inside_above():
    u, _ = solve(np.where(np.random.default_rng(5).random((33, 33)) > 0.5, 12.0, 3.0))
    assert not u[[0, -1]].any()
    assert not u[:, [0, -1]].any()
    assert u[1:-1, 1:-1].min() > 0
