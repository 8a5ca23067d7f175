"""Periodic Burgers data: against the transformation of Cole and Hopf, and laws of the equation."""

import h5py
import numpy as np
import pytest

from opdsl.data import open_dataset
from opdsl.data.generate.problems import burgers_periodic
from opdsl.data.generate.problems.burgers_periodic import BurgersFlow, final, generate, initial
from opdsl.data.generate.sampling.fourier import on_grid
from opdsl.data.generate.solvers.periodic_burgers import hopf, spectral
from opdsl.diagnostics import OpError
from opdsl.sampling import PERIODIC, positions


def written(path, **changes):
    settings = {"resolution": 32, "samples": 2, "seed": 5, "out": path, "time": 0.1}
    report = generate(**settings | changes)
    with h5py.File(path) as f:
        return report, *(f[f"t0_fields/{x}"][:, 0].astype(float) for x in ("initial", "final"))


def heat_quotient(c, nu, t, n):
    """u = -2 nu theta_x / theta of the heat equation for theta = exp(-U / 2 nu), U_x = u."""
    m = 8192
    k = 2 * np.pi * np.fft.rfftfreq(m, 1 / m)
    u = on_grid(c, m, 1)
    integral = np.fft.irfft(np.divide(np.fft.rfft(u), 1j * k, where=k > 0, out=0j * k), m)
    theta = np.fft.rfft(np.exp(-integral / (2 * nu))) * np.exp(-nu * k**2 * t)
    return (-2 * nu * np.fft.irfft(1j * k * theta, m) / np.fft.irfft(theta, m))[:: m // n]


@pytest.mark.parametrize(("viscosity", "time"), [(0.1, 1.0), (0.05, 0.2), (0.02, 1.0)])
def test_both_solutions_are_the_quotient_of_solutions_of_the_heat_equation(viscosity, time):
    c = initial(4, 0)
    expected = heat_quotient(c, viscosity, time, 16)
    u = on_grid(final(c, BurgersFlow(viscosity, time)), 2048, 1)[::128]
    size = np.abs(expected).max()
    assert np.abs(u - expected).max() < 1e-6 * size
    assert np.abs(hopf(c, viscosity, time, np.arange(16) / 16) - expected).max() < 1e-8 * size


def test_errors_fall_with_order_four():
    c = initial(4, 1)[:65] * np.exp(-np.arange(65) / 4)
    exact = spectral(c, 0.05, 0.5, 3200)
    errors = [np.abs(spectral(c, 0.05, 0.5, n) - exact).max() for n in (50, 100, 200)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.4)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(4, abs=0.4)


def test_the_initial_condition_has_the_published_covariance():
    k = 2 * np.pi * np.arange(1, 5)
    c = np.stack([initial(1, i)[1:5] for i in range(2000)])
    # of sqrt(2) cos and sqrt(2) sin: 25 / (k^2 + 25); c_k has half of both variances
    assert (np.abs(c) ** 2).mean(0) == pytest.approx((25 / (k**2 + 25)) ** 2, rel=0.1)


@pytest.mark.parametrize("sampling", PERIODIC)
def test_files_hold_the_functions_at_their_points(tmp_path, sampling):
    _, before, after = written(tmp_path / "b.h5", sampling=sampling, viscosity=0.05)
    x = np.array(positions(sampling, 32))
    for i in range(2):
        c = initial(5, i)
        waves = np.exp(2j * np.pi * np.outer(x, np.arange(1, len(c))))
        assert before[i] == pytest.approx(2 * (waves @ c[1:]).real, abs=1e-6)
        assert after[i] == pytest.approx(hopf(c, 0.05, 0.1, x), abs=1e-6)


def test_the_mean_stays_zero_and_energy_decays(tmp_path):
    _, before, after = written(tmp_path / "b.h5", resolution=2048, viscosity=0.01)
    assert np.abs(after.mean(1)).max() < 1e-7
    assert np.all((after**2).sum(1) < (before**2).sum(1))


def test_a_sample_depends_neither_on_their_number_nor_on_the_workers(tmp_path):
    _, *few = written(tmp_path / "a.h5", samples=1, workers=1)
    _, *many = written(tmp_path / "b.h5", samples=19, workers=3)
    for a, b in zip(few, many, strict=True):
        assert np.array_equal(a[0], b[0])
        assert len({x.tobytes() for x in b}) == 19


def test_the_file_is_periodic(tmp_path):
    report, *_ = written(tmp_path / "b.h5")
    assert report.checks["gap"] < 1e-6
    with h5py.File(tmp_path / "b.h5") as f:
        assert f["boundary_conditions/x_periodic"].attrs["bc_type"] == "PERIODIC"
        assert f["dimensions/x"][()] == pytest.approx(np.arange(32) / 32)
    data = open_dataset(tmp_path / "b.h5", resolution=8)
    assert data.roles == {"initial": "input", "final": "output"}
    assert data.layout == "periodic"


def test_a_wrong_solution_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(burgers_periodic, "final", lambda c, _: 1.001 * c)
    with pytest.raises(OpError, match="OP0617"):
        written(tmp_path / "b.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"viscosity": 0.0},
        {"viscosity": float("nan")},
        {"time": 3.0},
        {"workers": 0},
        {"sampling": "both"},
        {"resolution": 2},
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, wrong):
    with pytest.raises(OpError, match="OP0604"):
        written(tmp_path / "b.h5", **wrong)
