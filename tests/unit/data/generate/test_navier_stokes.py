"""Flow on a torus: against closed forms, convolutions of frequencies and laws of the equation."""

import h5py
import numpy as np
import pytest

from opdsl.data import open_dataset
from opdsl.data.generate.problems.navier_stokes import TorusFlow, forcing, generate, initial
from opdsl.data.generate.sampling.fourier import (
    coefficients_of,
    fourier_values,
    frequencies,
    gaussian_series,
    on_grid,
)
from opdsl.data.generate.solvers.vorticity import Torus, VorticitySolver
from opdsl.diagnostics import OpError

SMALL = {"resolution": 16, "samples": 2, "seed": 5, "time": 0.25, "fine": 64, "viscosity": 0.02}


def written(path, **changes):
    report = generate(**SMALL | {"out": path} | changes)
    with h5py.File(path) as f:
        return report, {k: x[()].astype(float) for k, x in f["t0_fields"].items()}


def random_vorticity(modes, seed=0):
    kx, ky = frequencies(modes, 2)
    return gaussian_series(seed, 0, np.exp(-(kx**2 + ky**2) / 4))


@pytest.mark.parametrize("length", [1.0, 2 * np.pi])
def test_a_taylor_green_vortex_decays_in_closed_form(length):
    torus = Torus(8, length)
    x = np.arange(20) / 20
    w = coefficients_of(np.outer(np.sin(2 * np.pi * x), np.cos(4 * np.pi * x)), 8, 2)
    *_, after = VorticitySolver(torus, -0.03 * torus.squared - 0.1).states(w, 0.2, 2)
    rate = 0.03 * 5 * (2 * np.pi / length) ** 2 + 0.1
    assert after == pytest.approx(w * np.exp(-0.4 * rate), abs=1e-13)


def test_advection_is_that_of_differences_of_the_velocity():
    torus = Torus(6, 3.0)
    w = random_vorticity(6)
    n = 512
    h = 3.0 / n

    def slopes(f):
        return ((np.roll(f, -1, a) - np.roll(f, 1, a)) / (2 * h) for a in (0, 1))

    values = on_grid(w, n, 2)
    u, v = (on_grid(x, n, 2) for x in torus.velocity(w))
    (ux, uy), (vx, vy), (wx, wy) = slopes(u), slopes(v), slopes(values)
    size = np.abs(values).max()
    assert np.abs(vx - uy - values).max() < 1e-2 * size
    assert np.abs(ux + vy).max() < 1e-2 * size
    expected = coefficients_of(-(u * wx + v * wy), 6, 2)
    assert np.abs(torus.advection(w) - expected).max() < 1e-2 * np.abs(expected).max()
    assert torus.vorticity(torus.velocity(w)) == pytest.approx(w, abs=1e-13)


def test_advection_equals_the_convolution_of_frequencies():
    # every pair of frequencies p + q = k, with the truncation and without aliasing
    torus, m = Torus(3), 3
    w = random_vorticity(m)
    ks = [(a, b) for a in range(-m, m + 1) for b in range(-m, m + 1)]

    def coefficient(a, b):
        return w[a, b] if b >= 0 else np.conj(w[-a, -b])

    expected = np.zeros_like(w)
    for a, b in ((a, b) for a, b in ks if b >= 0):
        for p, q in ks:
            r, s = a - p, b - q
            if (p, q) != (0, 0) and max(abs(r), abs(s)) <= m:
                # u . grad w with u = (q, -p) i / (2 pi (p^2 + q^2)) w
                cross = (q * r - p * s) / (p**2 + q**2)
                expected[a, b] += cross * coefficient(p, q) * coefficient(r, s)
    assert torus.advection(w) == pytest.approx(expected, abs=1e-12 * np.abs(expected).max())


def test_a_manufactured_flow_stays_where_its_forcing_holds_it():
    # w = cos x + 2 cos 2y: u = (psi_y, -psi_x), psi = cos x + cos(2y) / 2, so u = (-sin 2y, sin x)
    # and u . grad w = sin 2y sin x - 4 sin x sin 2y
    torus, nu, n = Torus(8, 2 * np.pi), 0.5, 32
    x, y = np.meshgrid(*[2 * np.pi * np.arange(n) / n] * 2, indexing="ij")
    w = np.cos(x) + 2 * np.cos(2 * y)
    f = -3 * np.sin(x) * np.sin(2 * y) + nu * (np.cos(x) + 8 * np.cos(2 * y))
    start, force = (coefficients_of(v, 8, 2) for v in (w, f))
    (after,) = VorticitySolver(torus, -nu * torus.squared, force).states(start, 1.0, 1)
    assert on_grid(after, n, 2) == pytest.approx(w, abs=1e-8)
    assert np.abs(force).max() > 0.5


@pytest.mark.slow
def test_errors_fall_with_order_four(monkeypatch):
    monkeypatch.setattr("opdsl.data.generate.solvers.vorticity.PER_TIME", 4)
    torus = Torus(8)
    solver = VorticitySolver(torus, -0.01 * torus.squared, forcing("diagonal", 4, 8))
    w = 8 * random_vorticity(8)
    *_, exact = solver.states(w, 0.25, 1, refine=32)
    errors = [np.linalg.norm(next(solver.states(w, 0.25, 1, refine=r)) - exact) for r in (1, 2, 4)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.5)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(4, abs=0.5)


def test_without_forcing_and_viscosity_energy_and_enstrophy_are_conserved():
    torus = Torus(10)
    w = 5 * random_vorticity(10)
    *_, after = VorticitySolver(torus, 0 * torus.squared).states(w, 0.25, 2)

    def invariants(w):
        velocities = on_grid(torus.velocity(w), 32, 2)
        return (velocities**2).sum(), (on_grid(w, 32, 2) ** 2).sum()

    assert invariants(after) == pytest.approx(invariants(w), rel=1e-4)
    assert np.abs(after - w).max() > 0.05 * np.abs(w).max()


def test_both_forcings_have_their_published_formula():
    n = 12
    x, y = np.meshgrid(*[np.arange(n) / n] * 2, indexing="ij")
    angle = 2 * np.pi * (x + y)
    diagonal = on_grid(forcing("diagonal", 4, 5), n, 2)
    assert diagonal == pytest.approx(0.1 * (np.sin(angle) + np.cos(angle)), abs=1e-14)
    kolmogorov = on_grid(forcing("kolmogorov", 4, 5), n, 2)
    assert kolmogorov == pytest.approx(-4 * np.cos(4 * 2 * np.pi * y), abs=1e-13)


def test_the_initial_vorticity_has_the_published_deviations():
    flow = TorusFlow("diagonal", 1e-3, 1.0, 1, 4, 0.0, 10)
    c = np.stack([initial(1, i, flow) for i in range(600)])[:, [1, 2, 0], [1, 0, 3]]
    squared = 4 * np.pi**2 * np.array([2, 4, 9])
    expected = 2 * 7.0**3 * (squared + 49) ** -2.5
    assert (np.abs(c) ** 2).mean(0) == pytest.approx(expected, rel=0.2)


def test_files_hold_the_states_at_their_times(tmp_path):
    _, pair = written(tmp_path / "a.h5")
    report, frames = written(tmp_path / "b.h5", frames=2, samples=1)
    w = frames["vorticity"]
    assert w.shape == (1, 3, 16, 16)
    assert np.array_equal(w[0, 0], pair["initial"][0, 0])
    assert w[0, -1] == pytest.approx(pair["final"][0, 0], abs=1e-6)
    start = initial(5, 0, TorusFlow("diagonal", 0.02, 0.25, 1, 4, 0.0, 21))
    assert w[0, 0] == pytest.approx(fourier_values(start, "lower", 16, 2), abs=1e-6)
    with h5py.File(tmp_path / "b.h5") as f:
        assert f["dimensions/time"][()] == pytest.approx([0, 0.125, 0.25])
        assert f["t0_fields/vorticity"].attrs["time_varying"]
        assert f["boundary_conditions/y_periodic"].attrs["bc_type"] == "PERIODIC"
    assert report.checks["decay"] < 1e-12
    assert open_dataset(tmp_path / "a.h5").roles == {"initial": "input", "final": "output"}


def test_the_kolmogorov_flow_has_its_own_torus(tmp_path):
    written(tmp_path / "k.h5", forcing="kolmogorov", samples=1, wave=2, drag=0.1, viscosity=0.1)
    with h5py.File(tmp_path / "k.h5") as f:
        assert f["dimensions/x"][()] == pytest.approx(2 * np.pi * np.arange(16) / 16)
        assert (f.attrs["wave"], f.attrs["drag"], f.attrs["forcing"]) == (2, 0.1, "kolmogorov")


def test_a_sample_depends_neither_on_their_number_nor_on_workers_and_resolution(tmp_path):
    _, few = written(tmp_path / "a.h5", samples=1, workers=1)
    _, many = written(tmp_path / "b.h5", samples=3, workers=3)
    _, fine = written(tmp_path / "c.h5", samples=1, resolution=32)
    for name, x in few.items():
        assert np.array_equal(x[0], many[name][0])
        assert x[0] == pytest.approx(fine[name][0][:, ::2, ::2], abs=1e-6)
        assert not np.array_equal(many[name][1], many[name][2])


def test_a_flow_that_the_solver_cannot_resolve_is_refused(tmp_path):
    with pytest.raises(OpError, match="OP0604") as caught:
        written(tmp_path / "a.h5", fine=16, viscosity=1e-4)
    (diagnostic,) = caught.value.diagnostics
    assert "--fine" in diagnostic.helps[0].text
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_solver_leaves_no_file(tmp_path, monkeypatch):
    true = Torus.advection
    monkeypatch.setattr(Torus, "advection", lambda self, w: true(self, w) + 1e-6)
    with pytest.raises(OpError, match="OP0617"):
        written(tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"viscosity": 0.0},
        {"viscosity": float("nan")},
        {"time": 0.0},
        {"frames": -1},
        {"wave": 0},
        {"drag": -1.0},
        {"fine": 3},
        {"forcing": "none"},
        {"sampling": "interior"},
        {"workers": 0},
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, wrong):
    with pytest.raises(OpError, match="OP0604"):
        written(tmp_path / "a.h5", **wrong)
