"""Darcy flow on the interval and on the cube: exact integrals, manufactured solutions, files."""

import h5py
import numpy as np
import pytest
from scipy.integrate import quad

from opdsl.data import open_dataset
from opdsl.data.generate.problems import darcy
from opdsl.data.generate.sampling.random_field import CUBE_MODES, coefficients, field, series
from opdsl.data.generate.solvers.diffusion_cube import seven_points, solve_cube
from opdsl.data.generate.solvers.diffusion_line import (
    layered_solution,
    smooth_solution,
    solve_line,
)
from opdsl.diagnostics import OpError

P = np.pi


def order(errors):
    return -np.polyfit(np.arange(len(errors)), np.log2(errors), 1)[0]


def test_differences_on_the_line_have_order_two_for_a_manufactured_solution():
    errors = []
    for n in (33, 65, 129, 257):
        x = np.linspace(0, 1, n)
        a, slope = 2 + np.sin(2 * P * x), 2 * P * np.cos(2 * P * x)
        f = P**2 * a * np.sin(P * x) - slope * P * np.cos(P * x)
        errors.append(np.abs(solve_line(a, f)[0] - np.sin(P * x)).max())
    assert errors[-1] < 1e-4
    assert order(errors) == pytest.approx(2, abs=0.05)


def quadrature(a, points, x):
    """u of -(a u')' = 1 by adaptive quadrature."""

    def upto(g, z):
        return quad(lambda s: g(s) / a(s), 0, z, points=points, epsabs=1e-13, limit=200)[0]

    def one(_):
        return 1.0

    def first(s):
        return s

    c = upto(first, 1.0) / upto(one, 1.0)
    return np.array([c * upto(one, z) - upto(first, z) for z in x])


def test_the_smooth_formula_is_that_of_adaptive_quadrature_with_order_four():
    expected = quadrature(lambda s: np.exp(np.sin(5 * s)), None, [0.25, 0.5, 0.75])
    errors = []
    for n in (17, 33, 65):
        u = smooth_solution(np.exp(np.sin(5 * np.linspace(0, 1, n))))
        errors.append(np.abs(u[:: (len(u) - 1) // 4][1:4] - expected).max())
    assert order(errors) == pytest.approx(4, abs=0.3)
    assert errors[-1] < 1e-7


def test_the_layered_formula_is_exact_and_differences_tend_to_it():
    edges, values = np.array([0.0, 0.3, 0.55, 1.0]), np.array([12.0, 3.0, 12.0])

    def a(s):
        return values[np.searchsorted(edges, s) - 1]

    x = np.array([0.0, 0.1, 0.3, 0.4, 0.9, 1.0])
    expected = quadrature(a, [0.3, 0.55], x)
    assert layered_solution(edges, values, x) == pytest.approx(expected, abs=1e-12)
    errors = []
    for n in (101, 401, 1601):  # the jumps are at nodes
        x = np.linspace(0, 1, n)
        u, _ = solve_line(np.where((x < 0.3 - 1e-9) | (x > 0.55 + 1e-9), 12.0, 3.0))
        errors.append(np.abs(u - layered_solution(edges, values, x)).max())
    assert order(errors) / 2 == pytest.approx(1, abs=0.1)


def manufactured(n):
    """a = 2 + sin(2 pi x) y z, u = sin(pi x) sin(2 pi y) sin(pi z)."""
    line = np.linspace(0, 1, n)
    x, y, z = np.meshgrid(line, line, line, indexing="ij")
    a = 2 + np.sin(2 * P * x) * y * z
    u = np.sin(P * x) * np.sin(2 * P * y) * np.sin(P * z)
    flux = (
        2 * P * np.cos(2 * P * x) * y * z * P * np.cos(P * x) * np.sin(2 * P * y) * np.sin(P * z)
        + np.sin(2 * P * x) * z * 2 * P * np.sin(P * x) * np.cos(2 * P * y) * np.sin(P * z)
        + np.sin(2 * P * x) * y * P * np.sin(P * x) * np.sin(2 * P * y) * np.cos(P * z)
    )
    return a, 6 * P**2 * a * u - flux, u


def test_conjugate_gradients_have_order_two_for_a_manufactured_solution():
    errors = []
    for n in (9, 17, 33):
        a, f, u = manufactured(n)
        found, residual = solve_cube(a, f)
        assert residual < 1e-11
        errors.append(np.abs(found - u).max())
    assert errors[-1] < 1e-2
    assert order(errors) == pytest.approx(2, abs=0.15)


def test_the_matrix_of_the_cube_is_the_sum_of_the_fluxes_through_six_faces():
    random = np.random.default_rng(2)
    a = random.uniform(1, 9, (7, 7, 7))
    u = np.zeros((7, 7, 7))
    u[1:-1, 1:-1, 1:-1] = random.random((5, 5, 5))
    matrix = seven_points(a)
    found = (matrix @ u[1:-1, 1:-1, 1:-1].ravel()).reshape(5, 5, 5)
    for place in ((1, 1, 1), (3, 2, 4), (5, 5, 5), (1, 5, 3)):
        flux = 0.0
        for axis in range(3):
            for step in (-1, 1):
                other = list(place)
                other[axis] += step
                other = tuple(other)
                flux += (a[place] + a[other]) / 2 * (u[place] - u[other])
        assert found[tuple(i - 1 for i in place)] == pytest.approx(36 * flux, rel=1e-12)
    assert np.array_equal(matrix.toarray(), matrix.toarray().T)


@pytest.mark.parametrize("dims", [1, 3])
def test_the_field_on_other_axes_is_the_sum_of_its_cosines(dims):
    c = coefficients(3, 5, dims)
    x = np.linspace(0, 1, 9)
    cosines = np.cos(P * np.outer(x, np.arange(len(c))))
    expected = c
    for _ in range(dims):
        expected = np.tensordot(expected, cosines, (0, 1))
    assert field(c, 9) == pytest.approx(expected, abs=1e-13)
    assert field(c, 17)[(slice(None, None, 2),) * dims] == pytest.approx(expected, abs=1e-13)
    if dims == 1:
        assert series(c, x) == pytest.approx(expected, abs=1e-13)
    else:
        assert c.shape == (CUBE_MODES,) * 3


def test_the_variance_of_the_modes_is_that_of_the_covariance_on_three_axes():
    drawn = np.stack([coefficients(1, i, 3)[:2, :2, :2] for i in range(600)])
    k = np.arange(2)
    double = np.where(k > 0, 2.0, 1.0)
    squared = k[:, None, None] ** 2 + k[:, None] ** 2 + k**2
    norms = double[:, None, None] * double[:, None] * double
    expected = norms * 3 / (P**2 * squared + 9) ** 2
    expected[0, 0, 0] = 0
    assert drawn.var(0) == pytest.approx(expected, rel=0.25)


def written(path, dims, **changes):
    settings = {"resolution": 9, "samples": 2, "seed": 5, "out": path, "workers": 1, "dims": dims}
    report = darcy.generate(**settings | changes)
    with h5py.File(path) as f:
        return report, f["t0_fields/coefficient"][:, 0], f["t0_fields/pressure"][:, 0]


@pytest.mark.parametrize("kind", ["piecewise", "lognormal"])
def test_files_on_the_line_have_exact_solutions(tmp_path, kind):
    report, a, u = written(tmp_path / "a.h5", 1, kind=kind)
    _, finer_a, finer_u = written(tmp_path / "b.h5", 1, kind=kind, resolution=17, samples=1)
    assert np.array_equal(a[:1], finer_a[:, ::2])
    assert np.array_equal(u[:1], finer_u[:, ::2])
    assert report.checks["gap"] < darcy.CLOSE[kind]
    n = 80000
    middle = (np.arange(n) + 0.5) / n
    psi = series(coefficients(5, 1, 1), middle)
    dense = np.exp(psi) if kind == "lognormal" else np.where(psi >= 0, 12.0, 3.0)
    one, first = np.cumsum(1 / dense) / n, np.cumsum(middle / dense) / n
    expected = first[-1] / one[-1] * one - first
    assert u[1, 1:-1] == pytest.approx(expected[n // 8 - 1 : -1 : n // 8], rel=2e-5)
    assert open_dataset(tmp_path / "a.h5").resolution == (9,)


def test_files_on_the_cube_satisfy_the_equation(tmp_path, monkeypatch):
    monkeypatch.setattr(darcy, "CUBE_REFINED", darcy.CUBE_REFINED[:-1])
    report, a, u = written(tmp_path / "a.h5", 3, fine=9, kind="lognormal")
    left = seven_points(a[1].astype(float)) @ u[1, 1:-1, 1:-1, 1:-1].ravel().astype(float)
    assert left == pytest.approx(1, abs=1e-4)
    assert report.size == {"resolution": 9, "fine": 9}
    held = open_dataset(tmp_path / "a.h5")
    assert held.resolution == (9, 9, 9)
    assert not u[:, 0].any()
    assert not u[..., -1].any()


@pytest.mark.parametrize("wrong", [{"dims": 4}, {"dims": 0}, {"dims": 3, "scale": 0.1}])
def test_wrong_axes_are_refused(tmp_path, wrong):
    with pytest.raises(OpError, match="OP0604"):
        written(tmp_path / "a.h5", **{"dims": 2} | wrong)


def test_a_cube_that_does_not_fit_into_memory_is_refused(tmp_path):
    with pytest.raises(OpError, match="the free memory is too small"):
        written(tmp_path / "a.h5", 3, fine=8 * 512 + 1)


def test_a_line_that_differs_from_exact_integrals_leaves_no_file(tmp_path, monkeypatch):
    true = darcy.solve_line
    monkeypatch.setattr(darcy, "solve_line", lambda a: (1.01 * true(a)[0], 0.0))
    with pytest.raises(OpError, match="OP0617"):
        written(tmp_path / "a.h5", 1)
    assert list(tmp_path.iterdir()) == []
